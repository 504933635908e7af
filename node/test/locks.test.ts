// Locks that all processes of a store share: on a file, and on a server, whose processes contend.
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test, type TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  ClosedError,
  defineWorkflow,
  InvalidArgumentError,
  LockLostError,
  LockTimeoutError,
  NotDeterministicError,
  openSqliteKnex,
  TransactionIsolationLevel,
  type ActionContext,
  type DatabaseActionContext,
  type Lock,
  type RuntimeOptions,
  type WorkflowContext,
} from 'pawl';
import { Postgres } from './support/postgres.js';
import { Program } from './support/program.js';
import { setUp, temporaryFolder, until, type Setting } from './support/runtime.js';

const tenant = 'acme';

let server: Postgres;
before(async () => {
  server = await Postgres.start();
});
after(() => server?.end());

/** The same story on a file and on a server. */
function onBoth(name: string, tell: (open: (options?: RuntimeOptions) => Setting, t: TestContext) => Promise<void>) {
  test(`${name}, in a file`, (t) => tell((options) => setUp(t, options), t));
  test(`${name}, on a server`, async (t) => {
    const store = await server.emptyUrl();
    return tell((options) => setUp(t, { store, lease: '1s', ...options }), t);
  });
}

function refusal(promise: Promise<unknown>): Promise<Error & { code: string }> {
  return promise.then(
    () => assert.fail('it was not refused'),
    (error: Error & { code: string }) => error,
  );
}

onBoth('one at a time has a lock, and its fence rises', async (open) => {
  const setting = open();
  const { runtime } = setting;
  const fences: number[] = [];
  let inside = 0;
  await Promise.all(
    Array.from({ length: 20 }, () =>
      runtime.withLock('printer', { tenant }, async (lock) => {
        assert.equal(inside++, 0);
        fences.push(lock.fence);
        await sleep(1);
        inside--;
      }),
    ),
  );
  assert.deepEqual(fences, Array.from({ length: 20 }, (_, i) => i + 1), 'in the order in which they came');
  assert.equal(await runtime.withLock('scanner', { tenant }, ({ key, fence }) => `${key} ${fence}`), 'scanner 1');
  assert.equal(await runtime.withLock('printer', { tenant: 'other' }, ({ fence }) => fence), 1);

  const broken = await refusal(
    runtime.withLock('printer', { tenant, ttl: '1m' }, async () => {
      throw new RangeError('broken');
    }),
  );
  assert.ok(broken instanceof RangeError);
  assert.equal(await runtime.withLock('printer', { tenant, wait: '5s' }, ({ fence }) => fence), 22, 'it was freed');
  await runtime.withLock('plotter', { tenant }, () => undefined);
  const again = await setting.reopen();
  assert.equal(await again.withLock('printer', { tenant, wait: '5s' }, ({ fence }) => fence), 23);
});

onBoth('who waits for too long is told so; what makes no sense is refused', async (open) => {
  const { runtime } = open();
  await runtime.withLock('printer', { tenant }, async ({ signal }) => {
    const late = await refusal(runtime.withLock('printer', { tenant, wait: 50 }, () => 1));
    assert.ok(late instanceof LockTimeoutError);
    assert.equal(late.code, 'lock_timeout');
    assert.match(late.message, new RegExp(`'printer' of tenant 'acme' .* 50 ms: .*/${process.pid}.* has it`));
    assert.equal((await refusal(runtime.withLock('printer', { tenant, wait: 0 }, () => 1))).code, 'lock_timeout');
    assert.equal(signal.aborted, false);
  });
  const body = () => assert.fail('it has no lock');
  for (const [key, options, says] of [
    ['printer', { tenant, ttl: 99 }, /ttl.*100 ms/],
    ['printer', { tenant, ttl: '2d' }, /ttl/],
    ['printer', { tenant, wait: '2d' }, /wait/],
    ['printer', { tenant, wait: 'soon' }, /wait/],
    ['printer', { tenant, tll: '1s' }, /ttl/],
    ['printer', {}, /tenant/],
    ['printer', undefined, /tenant/],
    ['', { tenant }, /key/],
    [7, { tenant }, /key/],
    ['x'.repeat(256), { tenant }, /key/],
  ] as any[]) {
    const error = await refusal(runtime.withLock(key, options, body));
    assert.ok(error instanceof InvalidArgumentError, String(error));
    assert.match(error.message, says);
  }
  assert.match((await refusal(runtime.withLock('printer', { tenant }, 7 as any))).message, /a number/);
  runtime.registerWorkflow(
    defineWorkflow('Locking', () => runtime.withLock('printer', { tenant }, body) as Promise<unknown>),
  );
  await runtime.startWorker();
  const id = await runtime.startWorkflow('Locking', { tenant });
  const { error } = await runtime.waitForWorkflowCompletion(id, tenant);
  assert.equal(error?.name, NotDeterministicError.name);
});

onBoth('an action that does not get its lock is tried again', async (open) => {
  const { runtime, registry } = open();
  const attempts: string[] = [];
  registry.registerAction(
    { name: 'Print', retry: { initialInterval: 5, maxInterval: 5 } },
    async (_, context: ActionContext) => {
      attempts.push(context.idempotencyKey);
      return context.withLock('printer', { wait: 20 }, ({ fence }) => fence);
    },
  );
  runtime.registerWorkflow(defineWorkflow('Printing', ({ actions }: WorkflowContext) => actions['print']!()));
  await runtime.startWorker();
  const id = await runtime.withLock('printer', { tenant }, async () => {
    const started = await runtime.startWorkflow('Printing', { tenant });
    await until(() => attempts.length, (count) => count > 2);
    return started;
  });
  const { result, status } = await runtime.waitForWorkflowCompletion(id, tenant);
  assert.equal(status, 'completed');
  assert.equal(result, 2);
});

onBoth('the wait ends with the attempt', async (open) => {
  const { runtime, registry } = open();
  let error: unknown;
  registry.registerAction({ name: 'Print', timeout: 50, retry: { maxAttempts: 1 } }, async (_, context: ActionContext) => {
    await context.withLock('printer', () => assert.fail('another one has it')).catch((reason) => (error = reason));
  });
  runtime.registerWorkflow(defineWorkflow('Printing', ({ actions }: WorkflowContext) => actions['print']!()));
  await runtime.startWorker();
  await runtime.withLock('printer', { tenant }, async () => {
    const id = await runtime.startWorkflow('Printing', { tenant });
    await runtime.waitForWorkflowCompletion(id, tenant);
    await until(() => error, (reason) => reason !== undefined);
    assert.equal((error as Error).name, 'AbortError');
  });
  assert.equal(await runtime.withLock('printer', { tenant, wait: 0 }, ({ fence }) => fence).catch(
    () => runtime.withLock('printer', { tenant }, ({ fence }) => fence),
  ), 2, 'who has given up has not got it');
});

// The transaction is committed when the handler has returned, and the lock released by then.
onBoth('a database action is protected until its commit', async (open) => {
  const { runtime, registry } = open();
  await runtime.database.schema.createTable('prints', (table) => void table.integer('fence'));
  registry.registerAction(
    { name: 'Print', isolation: TransactionIsolationLevel.READ_COMMITTED },
    async (_, context: DatabaseActionContext) => {
      await context.withLock('printer', async (lock) => {
        await lock.assertHeld(context.transaction);
        await context.transaction('prints').insert({ fence: lock.fence });
      });
      await sleep(20);
    },
  );
  runtime.registerWorkflow(defineWorkflow('Printing', ({ actions }: WorkflowContext) => actions['print']!()));
  await runtime.startWorker();
  const ids = await Promise.all(Array.from({ length: 5 }, () => runtime.startWorkflow('Printing', { tenant })));
  for (const id of ids) {
    const { status, error } = await runtime.waitForWorkflowCompletion(id, tenant);
    assert.equal(status, 'completed', error?.message);
  }
  const rows = await runtime.database('prints').select('fence').orderBy('fence');
  assert.deepEqual(rows.map(({ fence }) => fence).length, 5);
  assert.equal(new Set(rows.map(({ fence }) => fence)).size, 5);
});

onBoth('a transaction elsewhere, or after the end, is refused', async (open, t) => {
  const { runtime, folder } = open();
  const elsewhere = openSqliteKnex(join(folder, 'other.db'));
  t.after(() => elsewhere.destroy());
  let kept!: Lock;
  await runtime.withLock('printer', { tenant }, async (lock) => {
    kept = lock;
    await runtime.database.transaction((transaction) => lock.assertHeld(transaction));
    assert.match((await refusal(lock.assertHeld(undefined as any))).message, /in a transaction on the database/);
    assert.match((await refusal(lock.assertHeld(runtime.database as any))).message, /in a transaction/);
    const error = await refusal(elsewhere.transaction((transaction) => lock.assertHeld(transaction)));
    assert.ok(error instanceof InvalidArgumentError, String(error));
    assert.match(error.message, /compare its fence/);
  });
  const late = await refusal(runtime.database.transaction((transaction) => kept.assertHeld(transaction)));
  assert.ok(late instanceof LockLostError);
  assert.equal(late.code, 'lock_lost');
  assert.equal(kept.signal.aborted, false, 'it was not lost');
});

onBoth('what is held when the runtime closes is lost', async (open) => {
  const { runtime } = open();
  let lost: unknown;
  const held = runtime.withLock('printer', { tenant }, async ({ signal }) => {
    const closing = runtime.close({ drain: 0 });
    await new Promise((resolve) => signal.addEventListener('abort', resolve));
    lost = signal.reason;
    await closing;
    return 'ended';
  });
  assert.equal(await held, 'ended');
  assert.ok(lost instanceof LockLostError, String(lost));
  assert.ok((await refusal(runtime.withLock('printer', { tenant }, () => 1))) instanceof ClosedError);
});

// rule: 27
test('two processes add up to an exact number', async (t) => {
  const store = await server.emptyUrl();
  const file = join(temporaryFolder(t), 'number');
  writeFileSync(file, '0');
  const times = 40;
  const programs = [1, 2].map(() => Program.run('locks', ['count', store, file, String(times)]));
  t.after(() => programs.forEach(({ process }) => process.kill('SIGKILL')));
  for (const program of programs) {
    assert.deepEqual(await program.ended(), { code: 0, signal: null }, program.output);
  }
  assert.equal(readFileSync(file, 'utf8'), String(2 * times));
});

// rule: 27
test('a holder that was stopped is told when it goes on, and its transaction is refused', async (t) => {
  const store = await server.emptyUrl();
  const holder = Program.run('locks', ['hold', store, '600ms']);
  t.after(() => holder.process.kill('SIGKILL'));
  await holder.says('fence 1\n');
  holder.process.kill('SIGSTOP');
  const { runtime } = setUp(t, { store });
  await runtime.withLock('held', { tenant }, async (lock) => {
    assert.equal(lock.fence, 2);
    holder.process.kill('SIGCONT');
    await holder.says('ended');
    await runtime.database.transaction((transaction) => lock.assertHeld(transaction));
  });
  assert.deepEqual(holder.output.trim().split('\n').slice(1, 4), ['LockLostError lock_lost', 'refused', 'LockLostError']);
  await holder.ended();
});

// rule: 27
test('a holder that is killed keeps its lock for its ttl', async (t) => {
  const store = await server.emptyUrl();
  const holder = Program.run('locks', ['hold', store, '3s']);
  await holder.says('fence 1\n');
  const { runtime } = setUp(t, { store });
  await runtime.withLock('other', { tenant }, () => undefined);
  holder.process.kill('SIGKILL');
  await holder.ended();
  assert.equal((await refusal(runtime.withLock('held', { tenant, wait: 0 }, () => 1))).code, 'lock_timeout');
  assert.equal(await runtime.withLock('held', { tenant }, ({ fence }) => fence), 2);
});

test('a lock outlives a restart of the server, if that is quick', async (t) => {
  const own = await Postgres.start();
  t.after(() => own.end());
  const { runtime } = setUp(t, { store: await own.emptyUrl() });
  await runtime.withLock('printer', { tenant, ttl: '30s' }, async (lock) => {
    const lost = await runtime.withLock('scanner', { tenant, ttl: '600ms' }, async ({ signal }) => {
      own.stop('immediate');
      await new Promise((resolve) => signal.addEventListener('abort', resolve));
      own.begin();
      return signal.reason as Error;
    });
    assert.match(lost.message, /'scanner' was lost: it could not be renewed for 600 ms/);
    assert.equal(await runtime.withLock('scanner', { tenant }, ({ fence }) => fence), 2);
    await runtime.database.transaction((transaction) => lock.assertHeld(transaction));
    assert.equal(lock.signal.aborted, false);
  });
});
