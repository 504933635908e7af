// A runtime on a store in PostgreSQL, on a real server: how it opens, what it refuses, and what the server's end and
// the process's leave of it.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { after, before, test, type TestContext } from 'node:test';
import {
  createActionRegistry,
  defineWorkflow,
  getWorkflowRuntime,
  openClient,
  checkStore,
  TransactionIsolationLevel,
  type RuntimeOptions,
  type WorkflowContext,
} from 'pawl';
import { countWhileWorkersLose } from './support/killed_counter.js';
import { closedPort } from './support/ports.js';
import { Postgres } from './support/postgres.js';
import { Program } from './support/program.js';
import { setUp, temporaryFolder, until, type Setting } from './support/runtime.js';

const tenant = 'acme';
const secret = 'geheim%2Fnis';
const secretRead = 'geheim/nis';

let server: Postgres;
before(async () => {
  server = await Postgres.start();
  await server.addUser('guarded', secretRead);
});
after(() => server?.end());

const echoing = defineWorkflow('Echoing', async ({ actions, events, setState }: WorkflowContext) => {
  setState('waiting');
  const { payload } = await events.waitFor('Say');
  return actions['echo']!({ payload });
});

/** With a workflow that says what it is told. */
async function open(t: TestContext, options: RuntimeOptions = {}): Promise<Setting> {
  const setting = setUp(t, { store: await server.emptyUrl(), lease: '1s', ...options });
  setting.registry.registerAction({ name: 'Echo', unknown: 'allow' }, ({ payload }) => payload);
  setting.runtime.registerWorkflow(echoing);
  return setting;
}

/** Of a call; nothing that it says has the password. */
async function refusalOf(call: () => unknown): Promise<{ name: string; code: string; message: string }> {
  try {
    await call();
  } catch (error) {
    const { name, code, message, stack } = error as Error & { code: string };
    assert.doesNotMatch(`${message} ${stack}`, /geheim/);
    return { name, code, message };
  }
  assert.fail('it is not refused');
}

async function say({ runtime }: Setting, executionId: string, payload: unknown) {
  await runtime.startWorkflow(echoing, { tenant, executionId, initialData: undefined });
  await runtime.submitEvent({
    execution_id: executionId, event_name: 'Say', payload, tenant, idempotency_key: executionId,
  });
  return (await runtime.waitForWorkflowCompletion(executionId, tenant)).result;
}

test('begins with startWorker; what came before was durable', async (t) => {
  const setting = await open(t);
  const { runtime } = setting;
  const started = runtime.startWorkflow('Echoing', { tenant, executionId: 'e-0' });
  assert.deepEqual((await runtime.listExecutions({ tenant })).executions, []);
  assert.equal((await runtime.counters()).commits, 0);
  await runtime.startWorker();
  assert.equal(await started, 'e-0');
  await runtime.terminateWorkflow('e-0', tenant);
  await runtime.startWorker();
  assert.equal(await say(setting, 'e-1', 'word'), 'word');
  const history = await runtime.getHistory('e-1', tenant);
  assert.deepEqual(history.map(({ sequence }) => sequence), history.map((_, i) => i + 1));
  const { executions } = await runtime.listExecutions({ tenant });
  assert.deepEqual(executions.map(({ executionId }) => executionId).sort(), ['e-0', 'e-1']);
  await setting.reopen();
  setting.runtime.registerWorkflow(echoing);
  await setting.runtime.startWorker();
  assert.equal((await setting.runtime.getExecutionState('e-1', tenant)).result, 'word');
});

test('startWorker is harmless on SQLite, and the lease too', async (t) => {
  const setting = await open(t, { store: `sqlite:${join(temporaryFolder(t), 'pawl.db')}` });
  await setting.runtime.startWorker();
  assert.equal(await say(setting, 'e-1', 1), 1);
});

test('options that make no sense are refused, without the password', async (t) => {
  const registry = createActionRegistry();
  for (const lease of ['99ms', '2h', 'soon'] as const) {
    await assert.rejects(async () => getWorkflowRuntime(registry, { store: 'postgresql:///x', lease }), /lease/);
  }
  for (const partitions of [0, 1_025, 1.5, '16' as unknown as number]) {
    await assert.rejects(async () => getWorkflowRuntime(registry, { store: 'postgresql:///x', partitions }), /1 to 1024/);
  }
  for (const store of ['mysql://me:geheim@there/x', 'postgresql:me:geheim@there', 'host=x password=geheim', 'there']) {
    const { code, message } = await refusalOf(() => getWorkflowRuntime(registry, { store }));
    assert.equal(code, 'invalid_argument');
    assert.match(message, /'sqlite:FILE' or 'postgresql:/);
  }
  const { runtime } = await open(t, { store: server.url('postgres', 'me:geheim') });
  const other = await refusalOf(() => getWorkflowRuntime(undefined, { store: server.url('other', 'me:geheim') }));
  assert.match(other.message, /me:…@/);
  assert.equal((await refusalOf(() => getWorkflowRuntime(undefined, { lease: '7s' }))).code, 'already_exists');
  for (const call of [
    () => openClient(server.url('postgres', 'me:geheim')),
    () => checkStore(server.url('postgres', 'me:geheim')),
  ]) {
    assert.match((await refusalOf(call)).message, /sqlite:FILE/);
  }
  await runtime.close();
});

test('an address that leads nowhere says so, and what to do, without the password', async (t) => {
  const silent = createServer((socket) => socket.end('what do you want?\n')).listen(0, '127.0.0.1');
  t.after(() => silent.close());
  await new Promise((resolve) => silent.once('listening', resolve));
  const { port } = silent.address() as { port: number };
  const cases: [store: string, code: string, says: RegExp][] = [
    [`postgresql://me:${secret}@127.0.0.1:${await closedPort()}/x`, 'store_unavailable', /refused.*me:…@.*Start the/s],
    [`postgresql://me:${secret}@127.0.0.1:${port}/x`, 'store_unavailable', /protocol|unexpected|invalid|lost/],
    [`postgresql://me:${secret}@nowhere.invalid/x`, 'store_unavailable', /name of the host/],
    [server.url('postgres', 'guarded:geheimer'), 'store_unavailable', /password authentication failed.*Check its user/s],
    [server.url('postgres', 'guarded'), 'store_unavailable', /password.*Check its user/s],
    [server.url('missing', `pawl:${secret}`), 'store_unavailable', /"missing" does not exist.*Create the database/s],
    [server.url('postgres', 'pawl:geheim%zz'), 'invalid_argument', /%25/],
    [`${server.url('postgres', `pawl:${secret}`)}?nonsense=1`, 'invalid_argument', /nonsense/],
    [`${server.url('postgres', `pawl:${secret}`)}?sslmode=require`, 'store_unavailable', /SSL.*sslmode/s],
  ];
  for (const [store, code, says] of cases) {
    const { runtime, lines } = await open(t, { store });
    const refusal = await refusalOf(() => runtime.startWorker());
    assert.equal(refusal.code, code, refusal.message);
    assert.match(refusal.message, says);
    await runtime.close();
    assert.doesNotMatch(JSON.stringify(lines), /geheim/);
  }
});

test('a password in the address opens the door; whoever may create nothing is told', async (t) => {
  const database = (await server.emptyUrl()).split('/').at(-1)!;
  const admin = server.connect(database);
  t.after(() => admin.destroy());
  await admin.raw('REVOKE CREATE ON SCHEMA public FROM PUBLIC');
  const setting = await open(t, { store: server.url(database, `guarded:${secret}`) });
  const { code, message } = await refusalOf(() => setting.runtime.startWorker());
  assert.equal(code, 'store_unavailable');
  assert.match(message, /permission denied.*Give this user CREATE/s);
  await admin.raw('GRANT CREATE ON SCHEMA public TO guarded');
  // The same runtime tries again.
  await setting.runtime.startWorker();
  assert.equal(await say(setting, 'e-1', 1), 1);
});

test('a server that is down at the start: refused, and opened once it is there', async (t) => {
  const own = await Postgres.start();
  t.after(() => own.end());
  const store = await own.emptyUrl();
  own.stop();
  const setting = await open(t, { store });
  assert.equal((await refusalOf(() => setting.runtime.startWorker())).code, 'store_unavailable');
  const down = await setting.runtime.health();
  assert.equal(down.status, 'down');
  assert.match(down.troubles[0]!, /refused.*Start the server/s);
  own.begin();
  assert.deepEqual(await setting.runtime.health().then(({ status, works }) => [status, works]), ['ok', false]);
  await setting.runtime.startWorker();
  assert.equal(await say(setting, 'e-1', 1), 1);
  const up = await setting.runtime.health();
  assert.deepEqual([up.status, up.troubles, up.works, up.partitions], ['ok', [], true, 16]);
  await setting.runtime.close();
  assert.equal((await setting.runtime.health()).status, 'down');
});

// rule: 1
test('a server that ends in mid-run and comes back: what was acknowledged is there', async (t) => {
  const own = await Postgres.start();
  t.after(() => own.end());
  const setting = await open(t, { store: await own.emptyUrl() });
  const { runtime } = setting;
  await runtime.startWorker();
  let acknowledged = 0;
  let restarts = 0;
  const clients = Array.from({ length: 8 }, async (_, client) => {
    for (let n = 0; restarts < 3 || n % 5 !== 0; n++) {
      const id = `e-${client}-${n}`;
      // One whose answer is lost asks again, under the same names.
      await until(
        async () => {
          try {
            return await say(setting, id, n);
          } catch (error) {
            assert.match((error as { code: string }).code, /^(store_unavailable|outcome_unknown)$/, String(error));
            return undefined;
          }
        },
        (said) => said === n,
      );
      acknowledged++;
    }
    return client;
  });
  for (const mode of ['immediate', 'fast', 'immediate'] as const) {
    const before = acknowledged;
    await until(() => acknowledged, (now) => now > before + 20);
    own.stop(mode);
    own.begin();
    restarts++;
  }
  await Promise.all(clients);
  let completed = 0;
  let cursor: string | undefined;
  do {
    const page = await runtime.listExecutions({ tenant, limit: 1000, ...(cursor === undefined ? {} : { cursor }) });
    for (const { status, executionId } of page.executions) {
      assert.equal(status, 'completed', executionId);
      completed++;
    }
    cursor = page.cursor;
  } while (cursor !== undefined);
  assert.equal(completed, acknowledged);
  const admin = own.connect('test_1');
  const [{ gaps }] = (await admin.raw(
    'SELECT count(*)::int AS gaps FROM (SELECT execution FROM workflow_events GROUP BY execution ' +
      'HAVING max(sequence) <> count(*)) AS gapped',
  )).rows;
  await admin.destroy();
  assert.equal(gaps, 0);
});

// rule: 14
test('what a worker had that was killed is taken over, after its lease; one that is no worker looks on', async (t) => {
  const journal = join(temporaryFolder(t), 'journal');
  const store = await server.emptyUrl();
  const lines = () => readFileSync(journal, 'utf8').trim().split('\n');
  const first = Program.run('serve', [store, journal, 'hang', 'start wf-1']);
  await first.says('ready');
  await until(lines, (all) => all.some((line) => line.includes(' second ')));
  const second = await open(t, { store });
  assert.equal((await second.runtime.getExecutionState('wf-1', tenant)).currentState, 'working');
  await second.runtime.enqueueEvent({ execution_id: 'wf-1', event_name: 'Unheard', tenant });
  await second.runtime.close();
  first.process.kill('SIGKILL');
  assert.deepEqual(await first.ended(), { code: null, signal: 'SIGKILL' });

  const third = Program.run('serve', [store, journal, 'go', 'finish wf-1']);
  await third.says('ready');
  third.process.kill('SIGKILL');
  await third.ended();
  const ended = JSON.parse(third.output.split('\n')[0]!) as { status: string; result: unknown };
  assert.equal(ended.status, 'completed', third.output);
  assert.deepEqual(ended.result, ['one', 'two', 'three']);
  const keys = lines().map((line) => line.split(' ').slice(1, 3).join(' '));
  assert.equal(keys.filter((key) => key.startsWith('first')).length, 1, 'what had ended does not run again');
  const seconds = keys.filter((key) => key.startsWith('second'));
  assert.equal(seconds.length, 2);
  assert.equal(seconds[0], seconds[1], 'under its key');
});

test('every way out of a process is clean', async () => {
  const store = await server.emptyUrl();
  const exits = Program.run('open', [store, 'exit']);
  assert.deepEqual(await exits.ended(), { code: 3, signal: null }, exits.output);
  const throws = Program.run('open', [store, 'throw']);
  assert.deepEqual(await throws.ended(), { code: 1, signal: null }, throws.output);
  assert.match(throws.output, /Error: uncaught/);
  const closes = Program.run('open', [store, 'close']);
  assert.deepEqual(await closes.ended(), { code: 0, signal: null }, closes.output);
});

// --- the database of the store

/** What was under way where another worker took over is asked for again. */
async function untilKnown<T>(call: () => Promise<T>): Promise<T> {
  for (;;) {
    try {
      return await call();
    } catch (error) {
      if (!['outcome_unknown', 'store_unavailable'].includes((error as { code: string }).code)) throw error;
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }
}

/** With an account that an action takes from, in the database of the store. */
async function withAccount(t: TestContext, handler: (transaction: any, attempt: number) => unknown): Promise<Setting> {
  const setting = await open(t);
  const { runtime, registry } = setting;
  await runtime.database.schema.createTable('accounts', (table) => {
    table.string('id').primary();
    table.integer('cents').notNullable();
  });
  await runtime.database('accounts').insert({ id: 'a', cents: 500 });
  registry.registerAction(
    {
      name: 'Take', isolation: TransactionIsolationLevel.SERIALIZABLE, retry: { maxAttempts: 3, initialInterval: 1 },
    },
    async (_, { transaction, attempt }) => {
      await transaction('accounts').where('id', 'a').decrement('cents', 100);
      return handler(transaction, attempt);
    },
  );
  runtime.registerWorkflow(defineWorkflow('Taking', async ({ actions }: WorkflowContext) => actions['take']!()));
  await runtime.startWorker();
  return setting;
}

// rule: 14
test('a database action writes to the database of the store: with its outcome, in one commit', async (t) => {
  const { runtime } = await withAccount(t, async (transaction, attempt) => {
    if (attempt < 3) throw new Error('not yet');
    return (await transaction.raw('SHOW transaction_isolation')).rows[0].transaction_isolation;
  });
  const id = await runtime.startWorkflow('Taking', { tenant });
  const { result } = await runtime.waitForWorkflowCompletion(id, tenant);
  assert.equal(result, 'serializable');
  const { database } = runtime;
  assert.equal((await database('accounts').first()).cents, 400);
  const rows = await database('workflow_action_results').select('action_name', 'status', 'recorded', 'attempts', 'result');
  assert.deepEqual(rows, [
    { action_name: 'take', status: 'succeeded', recorded: true, attempts: 3, result: Buffer.from('"serializable"') },
  ]);
  assert.equal(await database.schema.hasTable('pawl_action_results'), false);
  await runtime.close();
  await assert.rejects(async () => database('accounts').first(), { code: 'closed' });
});

// rule: 14
test('what is under way when the runtime closes is waited for, and is done once', async (t) => {
  let release = () => {};
  const held = new Promise<void>((resolve) => (release = resolve));
  let began = false;
  const setting = await withAccount(t, async (transaction) => {
    began = true;
    await held;
    return (await transaction('accounts').first()).cents;
  });
  const id = await setting.runtime.startWorkflow('Taking', { tenant });
  await until(() => began, (yes) => yes);
  const closing = setting.runtime.close({ drain: '1m' });
  release();
  await closing;
  const runtime = await setting.reopen();
  runtime.registerWorkflow(defineWorkflow('Taking', async ({ actions }: WorkflowContext) => actions['take']!()));
  await runtime.startWorker();
  assert.equal((await runtime.waitForWorkflowCompletion(id, tenant)).result, 400);
  assert.equal((await runtime.database('accounts').first()).cents, 400);
});

// rule: 14
test('a counter in the database of the store is what the executions say, whatever its workers lose', async () =>
  countWhileWorkersLose(await server.emptyUrl(), 15));

/** Another worker has them from now on, once it may. */
const takeAll =
  'WITH taken AS MATERIALIZED (SELECT partition FROM workflow_partitions FOR UPDATE) UPDATE workflow_partitions p ' +
  "SET owner = 'another', epoch = epoch + 1, expires_at = clock_timestamp() + interval '3 s' FROM taken t " +
  'WHERE p.partition = t.partition';

// rule: 14
test('an attempt whose execution was taken over writes nothing, and goes on where that is', async (t) => {
  let attempts = 0;
  const { runtime } = await withAccount(t, async (transaction) => {
    attempts++;
    return (await transaction('accounts').first()).cents;
  });
  await runtime.database.raw(takeAll);
  // It does not know yet.
  const id = await untilKnown(() => runtime.startWorkflow('Taking', { tenant, executionId: 'w-1' }));
  const { result } = await untilKnown(() => runtime.waitForWorkflowCompletion(id, tenant));
  assert.equal(result, 400);
  assert.equal((await runtime.database('accounts').first()).cents, 400);
  assert.equal(attempts, 1);
});

// rule: 14
test('a claim waits for the transaction of an action, which is committed before it', async (t) => {
  let begun = false;
  let release = () => {};
  const held = new Promise<void>((resolve) => (release = resolve));
  const { runtime } = await withAccount(t, async (transaction) => {
    begun = true;
    await held;
    return (await transaction('accounts').first()).cents;
  });
  const { database } = runtime;
  const id = await runtime.startWorkflow('Taking', { tenant });
  await until(() => begun, (yes) => yes);
  let claimed = false;
  const claim = database.raw(takeAll).then(() => (claimed = true));
  // Renewals go through meanwhile, also behind it.
  await new Promise((resolve) => setTimeout(resolve, 1_500));
  assert.equal(claimed, false);
  release();
  await claim;
  assert.equal((await database('accounts').first()).cents, 400);
  assert.deepEqual(await database('workflow_action_results').select('status'), [{ status: 'succeeded' }]);
  // Its worker is told nothing any more; whoever has it reads the row.
  assert.equal((await untilKnown(() => runtime.waitForWorkflowCompletion(id, tenant))).result, 400);
  assert.equal((await database('accounts').first()).cents, 400);
});

// rule: 14
test('an action that is given up leaves nothing, and a COMMIT that was sent stands', async (t) => {
  const { runtime, registry } = await withAccount(t, () => undefined);
  const { database } = runtime;
  await database.raw('CREATE TABLE written(id text)');
  // Its COMMIT waits in the server until somebody lets it go.
  await database.raw(
    "CREATE FUNCTION hold() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_advisory_xact_lock(7); RETURN NULL; END'",
  );
  await database.raw(
    'CREATE CONSTRAINT TRIGGER hold AFTER INSERT ON written DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION hold()',
  );
  const never = new Promise<void>(() => {});
  let begun = 0;
  registry.registerAction(
    { name: 'Write', isolation: TransactionIsolationLevel.READ_COMMITTED, unknown: 'allow' },
    async ({ hangs }, { transaction, executionId }) => {
      await transaction('written').insert({ id: executionId });
      begun++;
      if (hangs) await never;
    },
  );
  runtime.registerWorkflow(
    defineWorkflow('Writing', async ({ input, actions }: WorkflowContext) => actions['write']!({ hangs: input.hangs })),
  );
  const start = (executionId: string, hangs: boolean) =>
    runtime.startWorkflow('Writing', { tenant, executionId, initialData: { hangs } });
  await start('hangs', true);
  await until(() => begun, (now) => now === 1);
  await runtime.terminateWorkflow('hangs', tenant);
  assert.deepEqual(await database('written').select(), []);

  const shell = server.connect((await database.raw('SELECT current_database() AS name')).rows[0].name, { min: 1, max: 1 });
  t.after(() => shell.destroy());
  await shell.raw('SELECT pg_advisory_lock(7)');
  await start('sent', false);
  await until(
    async () => (await shell.raw("SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")).rowCount as number,
    (waiting) => waiting === 1,
  );
  let ended = false;
  const terminated = runtime.terminateWorkflow('sent', tenant).then(() => (ended = true));
  await new Promise((resolve) => setTimeout(resolve, 200));
  assert.equal(ended, false, 'the end of the execution waits for what was sent');
  await shell.raw('SELECT pg_advisory_unlock(7)');
  await terminated;
  assert.deepEqual(await database('written').select(), [{ id: 'sent' }]);
  assert.deepEqual(await database('workflow_action_results').select('status', 'recorded'), [
    { status: 'succeeded', recorded: false },
  ]);
});

// rule: 14
test('an action that has run out of time over all its attempts has the outcome of its row', async (t) => {
  const { runtime, registry } = await withAccount(t, () => undefined);
  const { database } = runtime;
  const never = new Promise<void>(() => {});
  registry.registerAction(
    { name: 'Slow', isolation: TransactionIsolationLevel.SERIALIZABLE, totalTimeout: 300 },
    async (_, { transaction }) => {
      await transaction('accounts').where('id', 'a').decrement('cents', 100);
      await never;
    },
  );
  runtime.registerWorkflow(defineWorkflow('Slow', async ({ actions }: WorkflowContext) => actions['slow']!()));
  const id = await runtime.startWorkflow('Slow', { tenant });
  const { status, error } = await runtime.waitForWorkflowCompletion(id, tenant);
  assert.equal(status, 'failed');
  assert.equal(error!.code, 'total_timeout');
  assert.equal((await database('accounts').first()).cents, 500);
  const rows = await database('workflow_action_results').select('status', 'recorded');
  assert.deepEqual(rows, [{ status: 'failed', recorded: true }]);
});

// rule: 14
test('a key of a caller is done once in the store, within executions and outside of them', async (t) => {
  let attempts = 0;
  const { runtime, registry } = await withAccount(t, async (transaction) => {
    attempts++;
    return (await transaction('accounts').first()).cents;
  });
  const { database } = runtime;
  runtime.registerWorkflow(
    defineWorkflow('Keyed', async ({ actions }: WorkflowContext) => actions['take']!({}, { idempotencyKey: 'k' })),
  );
  const ids = await Promise.all([1, 2].map(() => runtime.startWorkflow('Keyed', { tenant })));
  for (const id of ids) assert.equal((await runtime.waitForWorkflowCompletion(id, tenant)).result, 400);
  assert.equal(await registry.executeAction('Take', { tenant, idempotencyKey: 'k', parameters: {} }), 400);
  assert.equal(attempts, 1);
  assert.deepEqual(await database('workflow_action_results').whereNotNull('user_key').select('user_key', 'status'), [
    { user_key: 'k', status: 'succeeded' },
  ]);
});

// rule: 14
test('a handler that ends its transaction by SQL has failed, and nothing is done again', async (t) => {
  let attempts = 0;
  const { runtime } = await withAccount(t, async (transaction) => {
    attempts++;
    await transaction.raw('COMMIT');
  });
  const id = await runtime.startWorkflow('Taking', { tenant });
  const { error } = await runtime.waitForWorkflowCompletion(id, tenant);
  assert.match(error!.message, /ended its transaction/);
  assert.equal(attempts, 1);
  // What it has committed by itself is there.
  assert.equal((await runtime.database('accounts').first()).cents, 400);
});

// rules: 14, 15
test('a server that ends while database actions run: each is done once', async (t) => {
  const own = await Postgres.start();
  t.after(() => own.end());
  const { runtime, registry } = await open(t, { store: await own.emptyUrl() });
  await runtime.database.raw('CREATE TABLE counters(id text PRIMARY KEY, n integer NOT NULL)');
  let attempts = 0;
  registry.registerAction(
    {
      name: 'Count', isolation: TransactionIsolationLevel.READ_COMMITTED,
      retry: { maxAttempts: 1000, initialInterval: 10, maxInterval: 100 },
    },
    async (_, { transaction, executionId }) => {
      attempts++;
      for (const id of [executionId, 'all']) {
        await transaction('counters').insert({ id, n: 1 }).onConflict('id').merge({ n: transaction.raw('counters.n + 1') });
      }
    },
  );
  runtime.registerWorkflow(
    defineWorkflow('Counting', async ({ actions }: WorkflowContext) => {
      for (let n = 0; n < 5; n++) await actions['count']!();
    }),
  );
  await runtime.startWorker();
  const ids = Array.from({ length: 40 }, (_, n) => `c-${n}`);
  await Promise.all(ids.map((executionId) => runtime.startWorkflow('Counting', { tenant, executionId })));
  for (let restart = 0; restart < 2; restart++) {
    const before = attempts;
    await until(() => attempts, (now) => now > before + 20);
    own.stop('immediate');
    own.begin();
  }
  for (const id of ids) {
    const ended = await until(
      () => runtime.waitForWorkflowCompletion(id, tenant).catch((error: { code: string }) => {
        assert.match(error.code, /^(store_unavailable|outcome_unknown)$/, String(error));
        return undefined;
      }),
      (state) => state !== undefined,
    );
    assert.equal(ended!.status, 'completed', JSON.stringify(ended!.error));
  }
  const rows = await runtime.database('counters').orderBy('id');
  assert.deepEqual(rows.filter(({ id, n }) => id !== 'all' && n !== 5), []);
  assert.equal(rows.find(({ id }) => id === 'all').n, 5 * ids.length);
  await runtime.close();
});

// --- TLS, with the OpenSSL of the addon beside that of Node.js

test('over TLS: the engine and the database of the store, each with its own', async (t) => {
  const own = await Postgres.start();
  t.after(() => own.end());
  const root = own.useTls();
  own.stop();
  own.begin();
  const address = await own.emptyUrl();
  const setting = await open(t, { store: `${address}?sslmode=verify-full&sslrootcert=${encodeURIComponent(root)}` });
  await setting.runtime.startWorker();
  assert.equal(await say(setting, 'e-1', 1), 1);
  const admin = setting.runtime.database;
  const sessions = (await admin.raw(
    'SELECT DISTINCT ssl FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE datname = current_database()',
  )).rows;
  assert.deepEqual(sessions, [{ ssl: true }]);
  await setting.runtime.close();

  const wrong = await open(t, {
    store: `${address}?sslmode=verify-full&sslrootcert=${encodeURIComponent(join(temporaryFolder(t), 'none'))}`,
  });
  const { message } = await refusalOf(() => wrong.runtime.startWorker());
  assert.match(message, /certificate.*sslrootcert/s);
  await wrong.runtime.close();
});
