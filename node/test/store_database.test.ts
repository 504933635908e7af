// Database actions on the store's own database: what they write and their results are one commit, on the real
// engine and a real file.
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import {
  createActionRegistry,
  defineWorkflow,
  openSqliteKnex,
  TransactionIsolationLevel,
  type DatabaseActionContext,
  type WorkflowContext,
} from 'pawl';
import { countUnderKills } from './support/killed_counter.js';
import { setUp, temporaryFolder, until, type Setting } from './support/runtime.js';

const tenant = 'acme';
const { SERIALIZABLE } = TransactionIsolationLevel;

/** A store with one invoice, and a workflow that pays it by the action Pay. */
async function withInvoice(t: Parameters<typeof setUp>[0], limits?: { transactionMsMax: number }) {
  const setting = setUp(t, limits === undefined ? {} : { limits });
  await setting.runtime.database.schema.createTable('invoices', (table) => {
    table.string('id').primary();
    table.integer('cents').notNullable();
    table.string('status').notNullable();
  });
  await setting.runtime.database('invoices').insert({ id: 'inv-1', cents: 500, status: 'open' });
  setting.runtime.registerWorkflow(
    defineWorkflow('Pay', async ({ actions, input }: WorkflowContext) => actions['pay']!(input)),
  );
  return setting;
}

function registerPay(
  { registry }: Setting,
  handler: (params: any, context: DatabaseActionContext) => unknown,
  options: { timeout?: number; maxAttempts?: number } = {},
): void {
  const { maxAttempts = 3, ...rest } = options;
  registry.registerAction(
    {
      name: 'Pay',
      isolation: SERIALIZABLE,
      unknown: 'allow',
      retry: { maxAttempts, initialInterval: 1 },
      ...rest,
    },
    handler,
  );
}

const invoice = ({ runtime }: Setting) => runtime.database('invoices').where('id', 'inv-1').first();

async function run({ runtime }: Setting, input: unknown = {}) {
  const id = await runtime.startWorkflow('Pay', { tenant, initialData: input });
  return runtime.waitForWorkflowCompletion(id, tenant);
}

// rule: 14
test('what it writes is there when its workflow is told', async (t) => {
  const setting = await withInvoice(t);
  setting.registry.registerDatabaseAction(
    'Pay', '', [{ name: 'cents', type: 'number', required: true }], SERIALIZABLE,
    async ({ cents }, { transaction, tenant: of }) => {
      const changed = await transaction('invoices').where('id', 'inv-1').update({ status: `paid by ${of}` });
      await transaction('invoices').where({ id: 'inv-1' }).decrement('cents', cents);
      return { changed, left: (await transaction('invoices').where({ id: 'inv-1' }).first()).cents };
    },
  );
  assert.equal(setting.registry.getActionMetadata('pay')!.isolation, SERIALIZABLE);
  assert.deepEqual((await run(setting, { cents: 200 })).result, { changed: 1, left: 300 });
  assert.deepEqual(await invoice(setting), { id: 'inv-1', cents: 300, status: 'paid by acme' });
  assert.deepEqual((await setting.runtime.checkIntegrity()).findings, []);
});

// rules: 14, 15
test('a failure writes nothing, and the next attempt begins anew', async (t) => {
  const setting = await withInvoice(t);
  registerPay(setting, async (_, { transaction, attempt }) => {
    await transaction('invoices').decrement('cents', 100);
    if (attempt < 3) throw new Error('not yet');
    return attempt;
  });
  assert.equal((await run(setting)).result, 3);
  assert.equal((await invoice(setting)).cents, 400);
});

// rule: 14
test('a result that can not be recorded, or does not have its shape, rolls back', async (t) => {
  const setting = await withInvoice(t);
  const results: unknown[] = [() => {}, Number.NaN, 'x'.repeat(3_000_000)];
  registerPay(setting, async (_, { transaction }) => {
    await transaction('invoices').decrement('cents', 100);
    return results.shift();
  }, { maxAttempts: 1 });
  for (const expected of [/function/, /NaN/, /payload_bytes_max/]) {
    const { status, error } = await run(setting);
    assert.equal(status, 'failed');
    assert.match(error!.message, expected);
  }
  assert.equal((await invoice(setting)).cents, 500);
});

// rule: 14
test('a handler that ends its transaction itself is refused, and nothing is recorded', async (t) => {
  const setting = await withInvoice(t);
  registerPay(setting, async ({ how }, { transaction }) => {
    await transaction('invoices').decrement('cents', 100);
    if (how === 'commit') await transaction.commit().catch(() => {});
    if (how === 'rollback') await transaction.rollback();
    if (how === 'raw') await transaction.raw('COMMIT');
    if (how === 'raw rollback') await transaction.raw('ROLLBACK');
    if (how === 'and again') await transaction.raw('rollback;').then(() => transaction('invoices').del()).catch(() => {});
    return how;
  });
  for (const how of ['commit', 'rollback', 'raw', 'raw rollback', 'and again']) {
    const { status, error } = await run(setting, { how });
    assert.equal(status, 'failed', how);
    assert.match(error!.message, /ended its transaction itself|committed when its handler has returned/, how);
  }
  assert.equal((await invoice(setting)).cents, 500);
});

// rules: 14, 15
test('an attempt that ran out of time writes nothing, though its handler goes on', async (t) => {
  const setting = await withInvoice(t);
  const late: unknown[] = [];
  registerPay(setting, async (_, { transaction, attempt, signal }) => {
    await transaction('invoices').decrement('cents', 100);
    if (attempt > 1) return attempt;
    await new Promise((resolve) => signal.addEventListener('abort', resolve));
    await transaction('invoices').decrement('cents', 100).catch((error: unknown) => late.push(error));
    return 'late';
  }, { timeout: 50 });
  assert.equal((await run(setting)).result, 2);
  assert.equal((await invoice(setting)).cents, 400);
  assert.equal(late.length, 1);
});

const endless = 'WITH RECURSIVE r(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM r) SELECT count(*) FROM r';

// rules: 14, 15
test('a statement that goes on when its time is up is broken off, and others go on at once', async (t) => {
  const setting = await withInvoice(t);
  registerPay(setting, async (_, { transaction, attempt }) => {
    await transaction('invoices').decrement('cents', 100);
    if (attempt === 1) await transaction.raw(endless);
    return attempt;
  }, { timeout: 300, maxAttempts: 2 });
  setting.registry.registerDatabaseAction('Note', '', [], SERIALIZABLE, async (_, { transaction }) => {
    await transaction('invoices').insert({ id: 'other', cents: 0, status: 'x' });
  });
  const paid = run(setting);
  await setting.registry.executeAction('note', { tenant, idempotencyKey: 'n', parameters: {} });
  const { result, executionId: id } = (await paid) as any;
  assert.equal(result, 2);
  assert.equal((await invoice(setting)).cents, 400);
  const failed = (await setting.runtime.getHistory(id, tenant)).find(({ type }) => type === 'ActionAttemptFailed');
  assert.equal((failed!.payload as { name: string }).name, 'TimeoutError');
});

// rule: 26
test('no statement keeps the write lock longer than a transaction may, whoever waits', async (t) => {
  const setting = await withInvoice(t, { transactionMsMax: 100 });
  registerPay(setting, async (_, { transaction, attempt }) => {
    await transaction('invoices').decrement('cents', 100);
    if (attempt === 1) await transaction.raw(endless);
    return attempt;
  });
  const { database } = setting.runtime;
  const paid = run(setting);
  const alone = database.raw(`INSERT INTO invoices SELECT 'x', 1, count(*) FROM (${endless})`);
  await Promise.all([
    assert.rejects(alone, { code: 'transaction_lost' }),
    database('invoices').insert({ id: 'other', cents: 0, status: 'x' }),
    assert.rejects(
      database.transaction(async (transaction) => {
        await transaction('invoices').del();
        await transaction.raw(endless);
      }),
      { code: 'transaction_lost' },
    ),
  ]);
  assert.equal((await paid).result, 2);
  assert.equal((await database('invoices')).length, 2);
});

// rule: 14
test('a nested transaction that is left open fails the action', async (t) => {
  const setting = await withInvoice(t);
  const left: unknown[] = [];
  registerPay(setting, async ({ how }, { transaction }) => {
    const nest = async (nested: any) => {
      await nested('invoices').decrement('cents', 100);
      if (how !== 'fine') await new Promise((resolve) => left.push(resolve));
    };
    if (how === 'begun') await (await transaction.transaction())('invoices').decrement('cents', 100);
    else if (how === 'not awaited') void transaction.transaction(nest).catch(() => {});
    else if (how === 'savepoint') void transaction.savepoint(nest).catch(() => {});
    else await transaction.transaction(nest);
    if (how === 'fine') await (await transaction.transaction()).rollback();
    return how;
  });
  for (const how of ['begun', 'not awaited', 'savepoint']) {
    const { status, error } = await run(setting, { how });
    assert.equal(status, 'failed', how);
    assert.equal(error!.name, 'NestedTransactionOpenError');
  }
  assert.equal((await run(setting, { how: 'fine' })).result, 'fine');
  assert.equal((await invoice(setting)).cents, 400);
});

// rule: 26
test('a transaction that waits for the runtime is rolled back when its time is up, and says why', async (t) => {
  const setting = await withInvoice(t, { transactionMsMax: 100 });
  registerPay(setting, async ({ idle }, { transaction, attempt }) => {
    if (idle) return 'idle';
    await transaction('invoices').decrement('cents', 100);
    // The engine can't commit the start before this transaction has ended.
    if (attempt === 1) await setting.runtime.startWorkflow('Pay', { tenant, executionId: 'other', initialData: { idle: true } });
    return (await transaction('invoices').first()).cents;
  });
  assert.equal((await run(setting)).result, 400);
  const executions = (await setting.runtime.listExecutions({ tenant })).executions;
  const other = await setting.runtime.waitForWorkflowCompletion('other', tenant);
  assert.equal(executions.length, 2);
  assert.equal(other.result, 'idle');
  const first = executions.find(({ executionId }) => executionId !== 'other')!;
  const failed = (await setting.runtime.getHistory(first.executionId, tenant)).find(({ type }) => type === 'ActionAttemptFailed');
  assert.match((failed!.payload as { message: string }).message, /limits\.transactionMsMax/);
});

// rule: 14
test('many at once add up, while the engine commits', async (t) => {
  const setting = await withInvoice(t);
  registerPay(setting, async (_, { transaction }) => {
    const { cents } = await transaction('invoices').first();
    await transaction('invoices').update({ cents: cents - 1 });
  });
  const ended = await Promise.all(Array.from({ length: 100 }, () => run(setting)));
  assert.ok(ended.every(({ status }) => status === 'completed'));
  assert.equal((await invoice(setting)).cents, 400);
});

// rule: 14
test('outside of workflows it runs once under a key, whoever asks', async (t) => {
  const setting = await withInvoice(t);
  registerPay(setting, async (_, { transaction }) => transaction('invoices').decrement('cents', 100));
  const ask = () => setting.registry.executeAction('pay', { tenant, idempotencyKey: 'pay-1', parameters: {} });
  assert.deepEqual(await Promise.all([ask(), ask(), ask()]), [1, 1, 1]);
  await setting.reopen();
  assert.equal(await ask(), 1);
  assert.equal((await invoice(setting)).cents, 400);
});

test("transactions nest, and Pawl's own tables can be read and not be written", async (t) => {
  const setting = await withInvoice(t);
  registerPay(setting, async (_, { transaction }) => {
    await transaction.transaction(async (nested) => {
      await nested('invoices').decrement('cents', 100);
    });
    await transaction
      .transaction(async (nested) => {
        await nested('invoices').decrement('cents', 100);
        throw new Error('not this');
      })
      .catch(() => {});
    const refused: string[] = [];
    for (const query of [
      transaction('workflow_events').del(),
      transaction('workflow_executions').update({ status: 'failed' }),
      transaction.raw('PRAGMA journal_mode = DELETE'),
      transaction.raw("ATTACH 'other.db' AS other"),
    ]) {
      await query.then(() => assert.fail('it was done'), (error: Error & { code: string }) => refused.push(error.code));
    }
    const { length } = await transaction('workflow_executions').select('execution_id');
    return [length, refused];
  });
  assert.deepEqual((await run(setting)).result, [1, Array(4).fill('SQLITE_AUTH')]);
  assert.equal((await invoice(setting)).cents, 400);
});

test('runtime.database is a Knex on the same file, with errors and values as Knex has them', async (t) => {
  const setting = await withInvoice(t);
  const { database } = setting.runtime;
  await assert.rejects(database('invoices').insert({ id: 'inv-1', cents: 1, status: 'x' }), {
    name: 'SqliteError',
    code: 'SQLITE_CONSTRAINT_UNIQUE'.replace('UNIQUE', 'PRIMARYKEY'),
  });
  await assert.rejects(database('nothing'), { code: 'SQLITE_ERROR' });
  await database.schema.createTable('things', (table) => {
    table.increments('id');
    table.binary('bytes');
    table.bigInteger('big');
    table.dateTime('at');
    table.boolean('yes');
  });
  const at = new Date(1_700_000_000_000);
  const [id] = await database('things').insert({ bytes: Buffer.from([0, 255]), big: 2n ** 60n, at, yes: true });
  assert.deepEqual(await database('things').where({ id }).first(), {
    id: 1, bytes: Buffer.from([0, 255]), big: 2n ** 60n, at: at.valueOf(), yes: 1,
  });
  assert.deepEqual(await database('things').insert({ yes: false }).returning('id'), [{ id: 2 }]);
  assert.equal(await database('things').where('id', '>', 0).del(), 2);
  assert.deepEqual(Object.keys(await database('things').columnInfo()), ['id', 'bytes', 'big', 'at', 'yes']);
  await assert.rejects(database('things').insert({ big: Number.NaN }), /parameter .* is nothing that SQL has/);
  await assert.rejects(
    database.transaction(async (transaction) => {
      await transaction('invoices').del();
      throw new Error('changed my mind');
    }),
    /changed my mind/,
  );
  assert.equal(await database.transaction(async (transaction) => (await transaction('invoices')).length), 1);
  assert.ok(await database.schema.hasTable('workflow_events'));
});

test('closing waits for the transactions that are open, and then says so', async (t) => {
  const setting = await withInvoice(t);
  const { database } = setting.runtime;
  const printed: unknown[] = [];
  const { warn, error } = console;
  console.warn = console.error = (...texts) => void printed.push(texts);
  t.after(() => Object.assign(console, { warn, error }));
  const begun = await database.transaction();
  await begun('invoices').update({ cents: 7 });
  const all = Array.from({ length: 6 }, () => database('invoices'));
  const closing = setting.runtime.close();
  await assert.rejects(database('invoices').del(), { code: 'closed' });
  await begun('invoices').update({ status: 'late' });
  await begun.commit();
  await closing;
  for (const { status, reason } of (await Promise.allSettled(all)) as any[]) {
    assert.ok(status === 'fulfilled' || reason.code === 'closed', reason);
  }
  for (const query of [database('invoices'), database.transaction(), database.schema.hasTable('invoices')]) {
    await assert.rejects(async () => query, { code: 'closed' });
  }
  await setting.reopen();
  const { cents, status } = await invoice(setting);
  assert.deepEqual([cents, status], [7, 'late']);
  // One that does not end is rolled back.
  const hung = await setting.runtime.database.transaction();
  await hung('invoices').update({ cents: 8 });
  await setting.runtime.close({ drain: 50 });
  await assert.rejects(async () => hung('invoices').update({ cents: 9 }));
  await setting.reopen();
  assert.equal((await invoice(setting)).cents, 7);
  assert.deepEqual(printed, []);
});

test('openSqliteKnex opens any file, and creates it', async (t) => {
  const file = join(temporaryFolder(t), 'shop.db');
  for (const expected of [0, 1]) {
    const shop = openSqliteKnex(file);
    if (expected === 0) await shop.schema.createTable('orders', (table) => table.increments('id'));
    assert.equal((await shop('orders')).length, expected);
    await shop.transaction(async (transaction) => transaction('orders').insert({}));
    await shop.destroy();
  }
  assert.throws(() => openSqliteKnex(''), /path of a file/);
});

test('bad registrations are refused', () => {
  const registry = createActionRegistry();
  assert.throws(
    () => registry.registerDatabaseAction('Pay', '', [], 'SNAPSHOT' as TransactionIsolationLevel, () => {}),
    /isolation level can be one of .*READ COMMITTED.*not SNAPSHOT/,
  );
  assert.throws(() => registry.registerDatabaseAction('Pay', '', [], SERIALIZABLE, undefined!), /needs a function/);
});

// rules: 1, 14
test('closed in the middle of a transaction, it is done once by the next process', async (t) => {
  const setting = await withInvoice(t);
  let entered = false;
  const keys: string[] = [];
  registerPay(setting, async (_, { transaction, idempotencyKey }) => {
    keys.push(idempotencyKey);
    await transaction('invoices').decrement('cents', 100);
    entered = true;
    if (keys.length === 1) await new Promise(() => {});
    return 'done';
  });
  const id = await setting.runtime.startWorkflow('Pay', { tenant, initialData: {} });
  await until(() => entered, Boolean);
  await setting.reopen();
  setting.runtime.registerWorkflow(
    defineWorkflow('Pay', async ({ actions, input }: WorkflowContext) => actions['pay']!(input)),
  );
  const { result } = await setting.runtime.waitForWorkflowCompletion(id, tenant);
  assert.equal(result, 'done');
  assert.equal(keys.length, 2);
  assert.equal(keys[0], keys[1]);
  assert.equal((await invoice(setting)).cents, 400);
});

// rule: 14
test('killed between any two steps, a counter is what the executions say', (t) =>
  countUnderKills(`sqlite:${join(temporaryFolder(t), 'counters.db')}`, 15));
