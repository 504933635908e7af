// Database actions on the application's own database: a real PostgreSQL, beside a store in a file.
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import knexModule, { type Knex } from 'knex';
import {
  createActionRegistry,
  getWorkflowRuntime,
  openSqliteKnex,
  TransactionIsolationLevel,
} from 'pawl';
import { openBank, registerMove } from './support/bank.js';
import { CuttingProxy } from './support/cutting_proxy.js';
import { Postgres } from './support/postgres.js';
import { countUnderKills } from './support/killed_counter.js';
import { setUp, temporaryFolder } from './support/runtime.js';

const tenant = 'acme';
const { READ_UNCOMMITTED, READ_COMMITTED, REPEATABLE_READ, SERIALIZABLE } = TransactionIsolationLevel;

let server: Postgres;
before(async () => {
  server = await Postgres.start();
});
after(() => server?.end());

// rule: 14
test('what it writes and its result are one commit, and a failure is none', async (t) => {
  const bank = await openBank(t, server);
  registerMove(bank, async ({ how }, { transaction, attempt }) => {
    await transaction('accounts').where('id', 'a').decrement('cents', 100);
    if (how === 'fail' && attempt < 3) throw new Error('not yet');
    if (how === 'bad') return () => {};
    return attempt;
  });
  assert.equal((await bank.run()).result, 1);
  assert.equal((await bank.run({ how: 'fail' })).result, 3);
  assert.equal(await bank.balance(), 300);
  const { status, error } = await bank.run({ how: 'bad' });
  assert.equal(status, 'failed');
  assert.match(error.message, /function/);
  assert.equal(await bank.balance(), 300);
  const rows = await bank.database('pawl_action_results').select('action_name', 'result').orderBy('result');
  assert.deepEqual(rows, [{ action_name: 'move', result: '1' }, { action_name: 'move', result: '3' }]);
});

// rule: 14
test('each isolation level is that of the transaction', async (t) => {
  const bank = await openBank(t, server);
  const levels: string[] = [];
  for (const [index, isolation] of [READ_UNCOMMITTED, READ_COMMITTED, REPEATABLE_READ, SERIALIZABLE].entries()) {
    bank.registry.registerDatabaseAction(`Level${index}`, '', [], isolation, async (_, { transaction }) => {
      levels.push((await transaction.raw('SHOW transaction_isolation')).rows[0].transaction_isolation);
    });
    await bank.registry.executeAction(`Level${index}`, { tenant, idempotencyKey: `level-${index}` });
  }
  assert.deepEqual(levels, ['read uncommitted', 'read committed', 'repeatable read', 'serializable']);
});

// rules: 14, 15
test('write skew is found by SERIALIZABLE and done again, until both fit', async (t) => {
  const bank = await openBank(t, server);
  let calls = 0;
  let waiting: (() => void)[] = [];
  // Each takes 700 from its own account, if both together have that much.
  registerMove(bank, async ({ id }, { transaction }) => {
    calls++;
    const accounts = await transaction('accounts').select('cents');
    const sum = accounts.reduce((all: number, { cents }: { cents: number }) => all + cents, 0);
    if (calls <= 2) {
      await new Promise<void>((resolve) => {
        waiting.push(resolve);
        if (waiting.length === 2) for (const go of waiting) go();
      });
    }
    if (sum < 700) return 'refused';
    await transaction('accounts').where({ id }).decrement('cents', 700);
    return 'paid';
  }, { isolation: SERIALIZABLE, maxAttempts: 1 });
  const ended = await Promise.all([bank.run({ id: 'a' }), bank.run({ id: 'b' })]);
  assert.deepEqual(ended.map(({ result }) => result).sort(), ['paid', 'refused']);
  assert.equal(calls, 3);
  assert.equal((await bank.balance('a')) + (await bank.balance('b')), 300);
});

// rules: 14, 15
test('a deadlock is broken by the server, and the one that lost is done again', async (t) => {
  const bank = await openBank(t, server);
  let calls = 0;
  const waiting: (() => void)[] = [];
  registerMove(bank, async ({ from, to }, { transaction }) => {
    const first = ++calls <= 2;
    await transaction('accounts').where({ id: from }).decrement('cents', 100);
    if (first) {
      await new Promise<void>((resolve) => {
        waiting.push(resolve);
        if (waiting.length === 2) for (const go of waiting) go();
      });
    }
    await transaction('accounts').where({ id: to }).increment('cents', 100);
  }, { maxAttempts: 1 });
  const ended = await Promise.all([bank.run({ from: 'a', to: 'b' }), bank.run({ from: 'b', to: 'a' })]);
  assert.deepEqual(ended.map(({ status }) => status), ['completed', 'completed']);
  assert.equal(calls, 3);
  assert.deepEqual([await bank.balance('a'), await bank.balance('b')], [500, 500]);
});

// rules: 14, 15
test('an attempt that ran out of time writes nothing, though its handler goes on', async (t) => {
  const bank = await openBank(t, server);
  registerMove(bank, async (_, { transaction, attempt, signal }) => {
    await transaction('accounts').where('id', 'a').decrement('cents', 100);
    if (attempt === 1) await new Promise((resolve) => signal.addEventListener('abort', resolve));
    return attempt;
  }, { timeout: 300 });
  assert.equal((await bank.run()).result, 2);
  assert.equal(await bank.balance(), 400);
});

// rule: 14
test('a handler can not end its transaction', async (t) => {
  const bank = await openBank(t, server);
  registerMove(bank, async ({ how }, { transaction }) => {
    await transaction('accounts').where('id', 'a').decrement('cents', 100);
    await (transaction as any)[how]();
  });
  for (const how of ['commit', 'rollback']) {
    const { status, error } = await bank.run({ how });
    assert.equal(status, 'failed');
    assert.equal(error.name, 'TransactionEndedError');
  }
  assert.equal(await bank.balance(), 500);
});

// rule: 14
test('nested transactions, and a failed statement that the handler hides, are as PostgreSQL has them', async (t) => {
  const bank = await openBank(t, server);
  registerMove(bank, async ({ how }, { transaction }) => {
    const step = (nested: Knex.Transaction) => nested('accounts').insert({ id: 'a', cents: 1 });
    if (how === 'nested') await transaction.transaction(step).catch(() => {});
    else await step(transaction).catch(() => {});
    return transaction('accounts').where('id', 'a').decrement('cents', 100).catch(() => 'hidden');
  }, { maxAttempts: 1 });
  assert.equal((await bank.run({ how: 'nested' })).status, 'completed');
  assert.equal((await bank.run({ how: 'flat' })).status, 'failed');
  assert.equal(await bank.balance(), 400);
});

// rule: 14
test('outside of workflows it runs once under a key, from whichever process', async (t) => {
  const bank = await openBank(t, server);
  let calls = 0;
  registerMove(bank, async (_, { transaction }) => {
    calls++;
    return transaction('accounts').where('id', 'a').decrement('cents', 100);
  });
  const ask = () => bank.registry.executeAction('move', { tenant, idempotencyKey: 'k', parameters: {} });
  assert.deepEqual(await Promise.all([ask(), ask()]), [1, 1]);
  // A process that has the same database and another store.
  await bank.runtime.close();
  const other = getWorkflowRuntime(bank.registry, {
    store: `sqlite:${join(temporaryFolder(t), 'other.db')}`, database: bank.database, log: () => {},
  });
  t.after(() => other.close({ drain: 0 }));
  assert.equal(await ask(), 1);
  assert.equal(calls, 1);
  assert.equal(await bank.balance(), 400);
});

// rules: 14, 15
test('a server that goes down in the middle loses nothing', async (t) => {
  const bank = await openBank(t, server);
  registerMove(bank, async (_, { transaction, attempt }) => {
    await transaction('accounts').where('id', 'a').decrement('cents', 100);
    if (attempt === 1) {
      server.stop('immediate');
      server.begin();
    }
    return attempt;
  }, { maxAttempts: 8 });
  const { status, result } = await bank.run();
  assert.equal(status, 'completed');
  assert.ok(result > 1);
  assert.equal(await bank.balance(), 400);
});

// rule: 14
test('where the answer to a commit is lost, what became of it is found out', async (t) => {
  const direct = await server.database();
  t.after(() => direct.destroy());
  const proxy = await CuttingProxy.to(server.port);
  t.after(() => proxy.close());
  const [{ current_database: name }] = (await direct.raw('SELECT current_database()')).rows;
  const bank = await openBank(t, server.connect(name, { min: 0, max: 2 }, 'pawl', proxy.port));
  let calls = 0;
  registerMove(bank, async ({ delivered }, { transaction }) => {
    calls++;
    await transaction('accounts').where('id', 'a').decrement('cents', 100);
    if (calls <= 2) proxy.cutAt('COMMIT', delivered);
    return calls;
  });
  assert.equal((await bank.run({ delivered: true })).result, 1);
  assert.equal(proxy.cuts, 1);
  assert.equal(await bank.balance(), 400);
  // It is not: the transaction is rolled back with its connection, and the next attempt does it, once it is.
  const ended = bank.run({ delivered: false });
  assert.equal((await ended).status, 'completed');
  assert.ok(calls >= 3);
  assert.ok(proxy.cuts >= 2);
  assert.equal(await bank.balance(), 300);
});

test('a table that can not be created is asked for, with what creates it', async (t) => {
  const admin = await server.database();
  t.after(() => admin.destroy());
  const [{ current_database: name }] = (await admin.raw('SELECT current_database()')).rows;
  await admin.raw("DO $$ BEGIN IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'guest') THEN CREATE ROLE guest LOGIN; END IF; END $$");
  const guest = server.connect(name, { min: 0, max: 2 }, 'guest');
  t.after(() => guest.destroy());
  const { registry } = setUp(t, { database: guest });
  registry.registerDatabaseAction('Look', '', [], READ_COMMITTED, () => 'seen');
  await assert.rejects(registry.executeAction('look', { tenant, idempotencyKey: 'k' }), /CREATE TABLE IF NOT EXISTS pawl_action_results/);
});

test('two processes may create the table at once', async (t) => {
  const database = await server.database();
  t.after(() => database.destroy());
  const { KnexDatabase } = await import('../src/knex_database.js');
  const one = (i: number) =>
    new KnexDatabase(database, 'x').attempt(
      {
        id: 1, tenant, executionId: '', action: 'a', attempt: 1, idempotencyKey: `k${i}`, isolation: SERIALIZABLE,
        signal: new AbortController().signal, row: [],
      },
      async () => `${i}`,
    );
  assert.deepEqual(await Promise.all([0, 1, 2, 3].map(one)), ['0', '1', '2', '3']);
});

test('what is no database is refused', () => {
  const mysql = knexModule({ client: class extends (knexModule as any).Client {} as any });
  for (const database of [{} as Knex, 'postgres://' as unknown as Knex, mysql]) {
    assert.throws(
      () => getWorkflowRuntime(createActionRegistry(), { store: 'sqlite:never.db', database }),
      /must be a Knex for PostgreSQL/,
    );
  }
});

// rules: 14, 15
test('a statement on an SQLite file that goes on when its time is up is broken off, again and again', async (t) => {
  const bank = await openBank(t, openSqliteKnex(join(temporaryFolder(t), 'bank.db')));
  registerMove(bank, async (_, { transaction, attempt }) => {
    await transaction('accounts').where('id', 'a').decrement('cents', 100);
    if (attempt < 6) await transaction.raw('WITH RECURSIVE r(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM r) SELECT count(*) FROM r');
    return attempt;
  }, { isolation: SERIALIZABLE, timeout: 200, maxAttempts: 6 });
  assert.equal((await bank.run()).result, 6);
  assert.equal(await bank.balance(), 400);
});

// rule: 14
test('an SQLite file of the application keeps its outcomes too', async (t) => {
  const bank = await openBank(t, openSqliteKnex(join(temporaryFolder(t), 'bank.db')));
  registerMove(bank, async (_, { transaction, attempt }) => {
    await transaction('accounts').where('id', 'a').decrement('cents', 100);
    if (attempt === 1) throw new Error('not yet');
    return attempt;
  }, { isolation: SERIALIZABLE });
  assert.equal((await bank.run()).result, 2);
  assert.equal(await bank.balance(), 400);
});

// rule: 14
test('killed between any two steps, a counter in PostgreSQL is what the executions say', async (t) =>
  countUnderKills(`sqlite:${join(temporaryFolder(t), 'store.db')}`, 15, await server.emptyUrl()));
