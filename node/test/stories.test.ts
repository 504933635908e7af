// Every story ends the same way: live, out of memory after each step, in a process that opens anew
// after each step, and killed before and after commits. stories.long.test.ts kills at every commit.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { crashPoints, every, expectEndings, filesOf, sweep, tellStories } from './support/crashes.js';

for (const mode of ['evicted', 'restarted']) {
  // rule: 2
  test(`${mode}: as live`, async (t) => {
    const stores = filesOf(t);
    const live = await tellStories(await stores('live'), 'live');
    assert.deepEqual(await tellStories(await stores('other'), mode), live);
    expectEndings(live);
  });
}

test('a workflow with a memory beside its history is found out, except live', async (t) => {
  const stores = filesOf(t);
  for (const mode of ['live', 'evicted', 'restarted']) {
    const { planted } = await tellStories(await stores(mode), mode, 'planted');
    assert.equal(planted!.status, mode === 'live' ? 'completed' : 'stuck', mode);
  }
});

for (const [i, point] of crashPoints.entries()) {
  // rule: 1
  test(`killed at ${point}: as if nothing had happened`, async (t) => {
    assert.ok((await sweep(filesOf(t), point, every(14, 2 + 4 * i))) >= 2);
  });
}
