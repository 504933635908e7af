// Random workflows, told through the npm package: whatever is put out of memory, restarted or killed, each
// comes to what a second reading of its steps, which knows no engine, says. PAWL_SEED=n repeats one.
import assert from 'node:assert/strict';
import { randomInt } from 'node:crypto';
import { test } from 'node:test';
import { randomStory } from './programs/random_story.js';
import { crashPoints, filesOf, tellStories, type Endings } from './support/crashes.js';
import { Postgres } from './support/postgres.js';
import { Program } from './support/program.js';

const given = process.env['PAWL_SEED'];
const seeds =
  given === undefined ? Array.from({ length: 8 }, () => randomInt(1, 1_000_000)) : [Number(given)];
const names = ['sequence', ...seeds.map((seed) => `random-${seed}`)];

function expectAsTold(endings: Endings, how: string): void {
  for (const seed of seeds) {
    const { status, result, gapless } = endings[`random-${seed}`]!;
    const message = `PAWL_SEED=${seed}, ${how}`;
    assert.equal(status, 'completed', message);
    assert.deepEqual(result, randomStory(seed).expected, message);
    assert.ok(gapless, message);
  }
}

for (const mode of ['live', 'crowd', 'evicted', 'restarted']) {
  // rule: 2
  test(`random workflows, ${mode}: as a reading without an engine has it`, async (t) => {
    const endings = await tellStories(await filesOf(t)('told'), mode, ...names);
    expectAsTold(endings, mode);
  });
}

async function tellUnderKills(store: string): Promise<void> {
  let kills = 0;
  for (let n = 0; n < 6; n++) {
    const point = `${crashPoints[randomInt(crashPoints.length)]}:${randomInt(1, 40)}`;
    const program = Program.run('stories', [store, n % 2 === 0 ? 'crowd' : 'live', ...names], {
      PAWL_CRASH_POINT: point,
    });
    const { code, signal } = await program.ended();
    if (code === 0) break;
    assert.equal(signal, 'SIGKILL', `killed at ${point}: ${program.output}`);
    kills++;
  }
  assert.ok(kills > 0);
  expectAsTold(await tellStories(store, 'live', ...names), `killed ${kills} times`);
}

// rule: 1
test('random workflows, killed again and again: as if nothing had happened', async (t) =>
  tellUnderKills(await filesOf(t)('told')));

// rules: 1, 2
test('random workflows on PostgreSQL: the same, killed and restarted', async () => {
  const server = await Postgres.start();
  try {
    await tellUnderKills(await server.emptyUrl());
    expectAsTold(await tellStories(await server.emptyUrl(), 'restarted', ...names), 'restarted');
  } finally {
    server.end();
  }
});
