// Database actions in processes that are killed again and again, on each kind of database.
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { countUnderKills, countWhileWorkersLose } from './support/killed_counter.js';
import { Postgres } from './support/postgres.js';
import { temporaryFolder } from './support/runtime.js';

const kills = 1000;

let server: Postgres;
before(async () => {
  server = await Postgres.start();
});
after(() => server?.end());

// rule: 14
test('a counter in the store is what the executions say', (t) =>
  countUnderKills(`sqlite:${join(temporaryFolder(t), 'counters.db')}`, kills));

// rule: 14
test('a counter in PostgreSQL is what the executions say', async (t) =>
  countUnderKills(`sqlite:${join(temporaryFolder(t), 'store.db')}`, kills, await server.emptyUrl()));

// rule: 14
test('a counter in the database of a store in PostgreSQL is what the executions say, whatever its workers lose', async () =>
  countWhileWorkersLose(await server.emptyUrl(), kills));
