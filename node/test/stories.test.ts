// Every story ends the same way: live, out of memory after each step, in a process that opens anew
// after each step, and killed before and after commits. stories.long.test.ts kills at every commit.
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { crashPoints, every, sweep, tellStories } from './support/crashes.js';
import { temporaryFolder } from './support/runtime.js';

for (const mode of ['evicted', 'restarted']) {
  // rule: 2
  test(`${mode}: as live`, async (t) => {
    const folder = temporaryFolder(t);
    const live = await tellStories(`sqlite:${join(folder, 'live.db')}`, 'live');
    assert.deepEqual(await tellStories(`sqlite:${join(folder, 'other.db')}`, mode), live);
    for (const [name, { status, gapless }] of Object.entries(live)) {
      const expected: Record<string, string> = {
        breaks: 'failed',
        cleanup: 'failed',
        cancelled: 'cancelled',
        compensated: 'cancelled',
      };
      assert.equal(status, expected[name] ?? 'completed', name);
      assert.ok(gapless, name);
    }
  });
}

test('a workflow with a memory beside its history is found out, except live', async (t) => {
  const folder = temporaryFolder(t);
  for (const mode of ['live', 'evicted', 'restarted']) {
    const { planted } = await tellStories(`sqlite:${join(folder, `${mode}.db`)}`, mode, 'planted');
    assert.equal(planted!.status, mode === 'live' ? 'completed' : 'stuck', mode);
  }
});

for (const [i, point] of crashPoints.entries()) {
  // rule: 1
  test(`killed at ${point}: as if nothing had happened`, async (t) => {
    assert.ok((await sweep(t, point, every(14, 2 + 4 * i))) >= 2);
  });
}
