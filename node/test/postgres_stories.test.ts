// The stories of stories.test.ts on a store in PostgreSQL: each ends as it does live, and as it does on SQLite.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { crashPoints, every, expectEndings, filesOf, sweep, tellStories } from './support/crashes.js';
import { Postgres } from './support/postgres.js';

let server: Postgres;
before(async () => {
  server = await Postgres.start();
});
after(() => server?.end());
const stores = () => server.emptyUrl();

// rule: 2
test('live, evicted and restarted: as on SQLite', async (t) => {
  const onSqlite = await tellStories(await filesOf(t)('live'), 'live');
  for (const mode of ['live', 'crowd', 'evicted', 'restarted']) {
    const endings = await tellStories(await stores(), mode);
    assert.deepEqual(endings, onSqlite, mode);
    expectEndings(endings);
  }
});

test('a workflow with a memory beside its history is found out', async () => {
  const { planted } = await tellStories(await stores(), 'restarted', 'planted');
  assert.equal(planted!.status, 'stuck');
});

for (const [i, point] of crashPoints.entries()) {
  // rule: 1
  test(`killed at ${point}: as if nothing had happened`, async () => {
    assert.ok((await sweep(stores, point, every(29, 2 + 9 * i))) >= 2);
  });
}
