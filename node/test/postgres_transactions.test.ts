// What handlers, servers and connections do to a transaction on a real PostgreSQL, and what then is told.
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import type { Knex } from 'knex';
import {
  createActionRegistry,
  getWorkflowRuntime,
  NonRetryableError,
  openSqliteKnex,
  TransactionIsolationLevel,
} from 'pawl';
import { openBank, registerMove, type Bank } from './support/bank.js';
import { Postgres } from './support/postgres.js';
import { temporaryFolder } from './support/runtime.js';

const tenant = 'acme';
const { READ_COMMITTED, REPEATABLE_READ, SERIALIZABLE } = TransactionIsolationLevel;

let server: Postgres;
before(async () => {
  server = await Postgres.start();
});
after(() => server?.end());

async function outcomes({ database }: Bank): Promise<(string | null)[]> {
  if (!(await database.schema.hasTable('pawl_action_results'))) return [];
  return database('pawl_action_results').pluck('result');
}

// rule: 14
test('a query that nobody awaits and that fails before the commit is a failure, and nothing is told to be done', async (t) => {
  const bank = await openBank(t, server);
  registerMove(bank, async (_, { transaction }) => {
    await transaction('accounts').where('id', 'a').decrement('cents', 100);
    // The second is sent while the outcome is kept, and so comes between that and COMMIT.
    void transaction.raw('SELECT 1').then(() => transaction.raw('SELECT 1 / 0')).catch(() => {});
    return 'done';
  }, { maxAttempts: 1 });
  const { status, error } = await bank.run();
  assert.equal(status, 'failed');
  assert.match(error.message, /division by zero/);
  assert.equal(await bank.balance(), 500);
  assert.deepEqual(await outcomes(bank), []);
});

// rule: 14
test('a handler that ends its transaction by SQL is refused', async (t) => {
  const bank = await openBank(t, server);
  registerMove(bank, async ({ sql }, { transaction }) => {
    await transaction('accounts').where('id', 'a').decrement('cents', 100);
    await transaction.raw(sql);
    return 'done';
  });
  for (const sql of ['ROLLBACK', 'ROLLBACK AND CHAIN', 'COMMIT', 'COMMIT; BEGIN']) {
    const { status, error } = await bank.run({ sql });
    assert.equal(status, 'failed', sql);
    assert.equal(error.name, 'TransactionEndedError', `${sql}: ${error.message}`);
  }
  // What it committed itself can't be taken back.
  assert.equal(await bank.balance(), 300);
  assert.deepEqual(await outcomes(bank), [null, null]);
});

// rules: 14, 15
test('an attempt whose time is up before it has a connection calls no handler', async (t) => {
  const bank = await openBank(t, await server.database({ min: 0, max: 1 }));
  let calls = 0;
  registerMove(bank, () => ++calls, { timeout: 200, maxAttempts: 1 });
  const held = await bank.database.transaction();
  const { error } = await bank.run();
  assert.equal(error.name, 'TimeoutError');
  await held.rollback();
  await bank.balance();
  await new Promise((resolve) => setTimeout(resolve, 50));
  assert.equal(calls, 0);
});

// rules: 14, 15
test('an attempt whose time is up while it waits for another one calls no handler', async (t) => {
  const bank = await openBank(t, server);
  const calls: number[] = [];
  registerMove(bank, async (_, { attempt }) => {
    calls.push(attempt);
    return attempt;
  }, { timeout: 400, maxAttempts: 3 });
  await bank.registry.executeAction('move', { tenant, idempotencyKey: 'first' });
  // As an attempt in another process would have it.
  const other = await bank.database.transaction();
  const row = { tenant, idempotency_key: 'k', action_name: 'move', execution_id: '' };
  await other('pawl_action_results').insert(row);
  const asked = bank.registry.executeAction('move', { tenant, idempotencyKey: 'k' });
  await new Promise((resolve) => setTimeout(resolve, 600));
  await other.rollback();
  assert.equal(await asked, 2);
  await new Promise((resolve) => setTimeout(resolve, 100));
  assert.deepEqual(calls, [1, 2]);
});

// rules: 14, 15
test('a statement that goes on when its time is up is broken off, and the next attempt does not wait for it', async (t) => {
  const bank = await openBank(t, server);
  registerMove(bank, async (_, { transaction, attempt }) => {
    await transaction('accounts').where('id', 'a').decrement('cents', 100);
    if (attempt === 1) await transaction.raw('SELECT pg_sleep(20)');
    return attempt;
  }, { timeout: 1000, maxAttempts: 2 });
  const began = Date.now();
  assert.equal((await bank.run()).result, 2);
  assert.ok(Date.now() - began < 5000);
  assert.equal(await bank.balance(), 400);
  // The connection is as good as new.
  const { rows } = await bank.database.raw("SELECT count(*)::int AS n FROM pg_stat_activity WHERE query LIKE '%pg_sleep(20)%' AND state = 'active' AND pid <> pg_backend_pid()");
  assert.equal(rows[0].n, 0);
});

// rules: 14, 15
test('a deadlock or a conflict that the handler hides or wraps is done again as a whole', async (t) => {
  const bank = await openBank(t, server);
  let calls = 0;
  registerMove(bank, async ({ how }, { transaction }) => {
    calls++;
    await transaction('accounts').where('id', 'a').decrement('cents', 100);
    if (calls % 3 === 0) return calls;
    const failed = transaction.raw("DO $$ BEGIN RAISE EXCEPTION 'made up' USING ERRCODE = '40001'; END $$");
    if (how === 'hidden') await failed.catch(() => {});
    else if (how === 'wrapped') await failed.catch((cause: Error) => Promise.reject(new Error('no luck', { cause })));
    else if (how === 'replaced') await failed.catch(() => Promise.reject(new NonRetryableError('no luck')));
    return 'never';
  }, { maxAttempts: 1 });
  for (const how of ['hidden', 'wrapped', 'replaced']) {
    assert.equal((await bank.run({ how })).status, 'completed', how);
  }
  assert.equal(calls, 9);
  assert.equal(await bank.balance(), 200);
});

// rules: 14, 15
test('conflicts without end are contention, after six calls', async (t) => {
  const bank = await openBank(t, server);
  let calls = 0;
  registerMove(bank, async (_, { transaction }) => {
    calls++;
    await transaction.raw("DO $$ BEGIN RAISE EXCEPTION 'made up' USING ERRCODE = '40P01'; END $$");
  }, { maxAttempts: 2 });
  await assert.rejects(bank.registry.executeAction('move', { tenant, idempotencyKey: 'k' }), (error: any) => {
    assert.equal(error.failureClass, 'contention');
    return true;
  });
  assert.equal(calls, 12);
});

// rules: 14, 15
test('a failed statement that the handler hides fails the action for what it was', async (t) => {
  const bank = await openBank(t, server);
  registerMove(bank, async (_, { transaction }) => {
    await transaction('accounts').insert({ id: 'a', cents: 1 }).catch(() => {});
    return 'done';
  });
  await assert.rejects(bank.registry.executeAction('move', { tenant, idempotencyKey: 'k' }), (error: any) => {
    assert.equal(error.failureClass, 'consistency');
    assert.match(error.message, /duplicate key/);
    return true;
  });
});

// rule: 14
test('a nested transaction that is left open fails the action', async (t) => {
  const bank = await openBank(t, server);
  registerMove(bank, async (_, { transaction }) => {
    const nested = await transaction.transaction();
    await nested('accounts').where('id', 'a').decrement('cents', 100);
  });
  const { status, error } = await bank.run();
  assert.deepEqual([status, error.name], ['failed', 'NestedTransactionOpenError']);
  assert.equal(await bank.balance(), 500);
  assert.deepEqual(await outcomes(bank), []);
});

// rules: 14, 15
test('what the commit refuses is not done', async (t) => {
  const bank = await openBank(t, server);
  await bank.database.raw('CREATE TABLE owners(account text REFERENCES accounts DEFERRABLE INITIALLY DEFERRED)');
  registerMove(bank, async (_, { transaction }) => {
    await transaction('accounts').where('id', 'a').decrement('cents', 100);
    await transaction('owners').insert({ account: 'nobody' });
  });
  await assert.rejects(bank.registry.executeAction('move', { tenant, idempotencyKey: 'k' }), (error: any) => {
    assert.equal(error.failureClass, 'consistency');
    return true;
  });
  assert.equal(await bank.balance(), 500);
  assert.deepEqual(await outcomes(bank), []);
});

// rule: 14
test('a handler may change where tables are looked for', async (t) => {
  const bank = await openBank(t, server);
  await bank.database.raw('CREATE SCHEMA acme; CREATE TABLE acme.accounts(id text PRIMARY KEY, cents int)');
  await bank.database.raw("INSERT INTO acme.accounts VALUES ('a', 7)");
  registerMove(bank, async ({ set }, { transaction }) => {
    await transaction.raw(`${set} search_path = acme`);
    return transaction('accounts').where('id', 'a').decrement('cents', 1);
  });
  for (const set of ['SET LOCAL', 'SET', 'SET']) assert.equal((await bank.run({ set })).result, 1, set);
  const { rows } = await bank.database.raw('SELECT cents FROM acme.accounts');
  assert.deepEqual(rows, [{ cents: 4 }]);
  assert.equal(Number((await bank.database('public.pawl_action_results').count())[0]!['count']), 3);
});

// rule: 14
test('a key that another action has in the database is refused', async (t) => {
  const bank = await openBank(t, server);
  registerMove(bank, async () => 'moved');
  bank.registry.registerDatabaseAction('Look', '', [], READ_COMMITTED, async () => 'seen');
  const ask = (name: string) => bank.registry.executeAction(name, { tenant, idempotencyKey: 'k' });
  assert.equal(await ask('move'), 'moved');
  // A process that has the same database and another store.
  await bank.runtime.close();
  const other = getWorkflowRuntime(bank.registry, {
    store: `sqlite:${join(temporaryFolder(t), 'other.db')}`, database: bank.database, log: () => {},
  });
  t.after(() => other.close({ drain: 0 }));
  await assert.rejects(ask('look'), /'k'.*'Move'/);
});

// rule: 14
test('names in code that are not those in the database', async (t) => {
  const [{ current_database: name }] = (await (await own(t)).raw('SELECT current_database()')).rows;
  const camel = (text: string) => text.replace(/_([a-z])/g, (_, letter: string) => letter.toUpperCase());
  const mapped = server.connect(name, { min: 0, max: 4 }, 'pawl', server.port, {
    wrapIdentifier: (text, quote) => quote(text === '*' ? text : text.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)),
    postProcessResponse: (result: any) =>
      Array.isArray(result)
        ? result.map((row) => (typeof row === 'object' ? mapKeys(row, camel) : row))
        : result !== null && typeof result === 'object' && Array.isArray(result.rows)
          ? { ...result, rows: result.rows.map((row: object) => mapKeys(row, camel)) }
          : result !== null && typeof result === 'object'
            ? mapKeys(result, camel)
            : result,
  });
  const bank = await openBank(t, mapped);
  registerMove(bank, async (_, { transaction, attempt }) => {
    await transaction('accounts').where('id', 'a').decrement('cents', 100);
    return attempt;
  });
  const ask = () => bank.registry.executeAction('move', { tenant, idempotencyKey: 'k' });
  assert.equal(await ask(), 1);
  await bank.reopen({ store: `sqlite:${join(temporaryFolder(t), 'other.db')}` });
  assert.equal(await ask(), 1);
  assert.equal(await bank.balance(), 400);
});

function mapKeys(row: object, map: (key: string) => string): object {
  return Object.fromEntries(Object.entries(row).map(([key, value]) => [map(key), value]));
}

async function own(t: { after(fn: () => unknown): void }): Promise<Knex> {
  const database = await server.database();
  t.after(() => database.destroy());
  return database;
}

// rule: 14
test('a commit whose answer is an error of the connection is looked up, whatever its code', async (t) => {
  const bank = await openBank(t, server);
  let calls = 0;
  registerMove(bank, async ({ code }, { transaction }) => {
    calls++;
    await transaction('accounts').where('id', 'a').decrement('cents', 100);
    const connection = await transaction.client.acquireConnection();
    const query = connection.query;
    connection.query = function (what: { text?: string }, done: (error: unknown, answer?: unknown) => void) {
      if (what.text !== 'COMMIT;') return query.call(connection, what, done);
      connection.query = query;
      return query.call(connection, what, () => done(Object.assign(new Error('lost'), { code })));
    };
    return calls;
  }, { maxAttempts: 1 });
  for (const code of ['EPIPE', 'ECONNRESET', '57P01', '08006', 'XX000', '40003', undefined]) {
    const { status, error } = await bank.run({ code });
    assert.equal(status, 'completed', `${code}: ${error?.message}`);
  }
  assert.equal(calls, 7);
  assert.equal(await bank.balance(), -200);
});

// rule: 14
test('two attempts at once, at each level: the second gets what the first has committed', async (t) => {
  const bank = await openBank(t, server);
  const { KnexDatabase } = await import('../src/knex_database.js');
  // As two processes have one each.
  const [one, other] = [new KnexDatabase(bank.database, 'x'), new KnexDatabase(bank.database, 'x')];
  let calls = 0;
  const task = (idempotencyKey: string, isolation: TransactionIsolationLevel) => ({
    id: 1, tenant, executionId: '', action: 'a', attempt: 1, idempotencyKey, isolation,
    signal: new AbortController().signal, row: [],
  });
  for (const isolation of [READ_COMMITTED, REPEATABLE_READ, SERIALIZABLE]) {
    for (let i = 0; i < 10; i++) {
      const work = async (transaction: Knex.Transaction) => {
        await transaction('accounts').where('id', 'a').decrement('cents', 1);
        await new Promise((resolve) => setTimeout(resolve, 5));
        return String(++calls);
      };
      const key = `${isolation} ${i}`;
      const [first, second] = await Promise.all([one, other].map((database) => database.attempt(task(key, isolation), work)));
      assert.equal(first, second);
    }
  }
  assert.equal(calls, 30);
  assert.equal(await bank.balance(), 470);
});

// rule: 14
test('more executions than connections: each is done once', async (t) => {
  const bank = await openBank(t, await server.database({ min: 0, max: 2 }));
  registerMove(bank, async (_, { transaction }) => transaction('accounts').where('id', 'a').decrement('cents', 1));
  const ended = await Promise.all(Array.from({ length: 200 }, () => bank.run()));
  assert.ok(ended.every(({ status }) => status === 'completed'));
  assert.equal(await bank.balance(), 300);
});

// rule: 14
test('an action may have a database of its own', async (t) => {
  const bank = await openBank(t, server);
  const [ledger, file] = [await own(t), openSqliteKnex(join(temporaryFolder(t), 'ledger.db'))];
  t.after(() => file.destroy());
  for (const [name, database] of Object.entries({ note: ledger, jot: file })) {
    await database.schema.createTable('lines', (table) => void table.string('text'));
    bank.registry.registerAction(
      { name, isolation: SERIALIZABLE, database, parameters: [{ name: 'text', type: 'string', required: true }] },
      async ({ text }, { transaction }) => {
        await transaction('lines').insert({ text });
        return (await transaction('lines')).length;
      },
    );
  }
  registerMove(bank, async (_, { transaction }) => transaction('accounts').where('id', 'a').decrement('cents', 1));
  const ask = (name: string, idempotencyKey: string, parameters = {}) =>
    bank.registry.executeAction(name, { tenant, idempotencyKey, parameters });
  assert.equal(await ask('move', '1'), 1);
  for (const name of ['note', 'jot']) {
    assert.equal(await ask(name, `${name} 1`, { text: 'x' }), 1);
    assert.equal(await ask(name, `${name} 2`, { text: 'y' }), 2);
    assert.equal(await ask(name, `${name} 1`, { text: 'x' }), 1);
  }
  for (const database of [ledger, file]) {
    assert.equal((await database('lines')).length, 2);
    assert.equal((await database('pawl_action_results')).length, 2);
  }
  assert.equal((await outcomes(bank)).length, 1);
  assert.equal(bank.registry.getActionMetadata('note')?.isolation, SERIALIZABLE);
});

test('the database of an action is refused where it makes no sense', async (t) => {
  const registry = createActionRegistry();
  const add = (options: object) => registry.registerAction({ name: 'x', ...options } as never, () => 1);
  const database = await own(t);
  assert.throws(() => add({ database }), /'x' has a database and no isolation/);
  assert.throws(() => add({ database: {}, isolation: SERIALIZABLE }), /Action 'x': its database must be a Knex for PostgreSQL/);
  assert.equal(registry.getActionMetadata('x'), undefined);
});

test('a transaction is no database', async (t) => {
  const database = await own(t);
  const transaction = await database.transaction();
  const refused = /must be a Knex for PostgreSQL.*not a transaction/;
  const store = 'sqlite:never.db';
  try {
    assert.throws(() => getWorkflowRuntime(createActionRegistry(), { store, database: transaction }), refused);
  } finally {
    await transaction.rollback();
  }
});
