// Every story, killed at every commit, and on PostgreSQL at every seventh.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { crashPoints, every, filesOf, sweep } from './support/crashes.js';
import { Postgres } from './support/postgres.js';

let server: Postgres;
before(async () => {
  server = await Postgres.start();
});
after(() => server?.end());

for (const point of crashPoints) {
  test(`killed at each pass of ${point}`, async (t) => {
    assert.ok((await sweep(filesOf(t), point, every(1))) >= 20);
  });
  // rule: 1
  test(`on PostgreSQL, killed at passes of ${point}`, async () => {
    assert.ok((await sweep(() => server.emptyUrl(), point, every(7))) >= 5);
  });
}
