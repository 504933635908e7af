// Keys of a caller's own, times over all attempts, heartbeats, and how long an action waits to be registered: on the
// real engine and a real file.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { defineWorkflow, InvalidArgumentError, PayloadError, type WorkflowContext } from 'pawl';
import { setUp, until } from './support/runtime.js';

const tenant = 'acme';

// rules: 14, 16
test('what has the same key runs once, in workflows, in graphs and outside', async (t) => {
  const setting = setUp(t);
  const { registry } = setting;
  let runs = 0;
  let go: (() => void) | undefined;
  const register = () =>
    setting.runtime.registerWorkflow(
      defineWorkflow('Charge', async ({ actions, executeActions, input }: WorkflowContext) => {
        const call = { idempotencyKey: 'charge-7' };
        if (!input.graph) return actions['charge']!({ cents: input.cents }, call);
        const [one] = await executeActions([{ id: 'one', name: 'charge', parameters: { cents: 5 }, ...call }]);
        return one!.result;
      }),
    );
  registry.registerSimpleAction('Charge', '', [{ name: 'cents', type: 'number', required: true }], async ({ cents }, { idempotencyKey }) => {
    runs++;
    await new Promise<void>((resolve) => (go = resolve));
    return [idempotencyKey, cents, runs];
  });
  register();
  const start = (initialData: object) => setting.runtime.startWorkflow('Charge', { tenant, initialData });
  const ids = [await start({ cents: 5 }), await start({ cents: 5 }), await start({ graph: true })];
  const outside = registry.executeAction('charge', { tenant, idempotencyKey: 'charge-7', parameters: { cents: 5 } });
  const other = await start({ cents: 6 });
  const { status, error } = await setting.runtime.waitForWorkflowCompletion(other, tenant);
  assert.equal(status, 'failed');
  assert.equal(error!.name, 'AlreadyExistsError');
  await until(() => go, Boolean);
  go!();
  const ended = await Promise.all(ids.map((id) => setting.runtime.waitForWorkflowCompletion(id, tenant)));
  assert.deepEqual([...ended.map(({ result }) => result), await outside], Array(4).fill(['charge-7', 5, 1]));
  await setting.reopen();
  register();
  const later = await start({ cents: 5 });
  assert.deepEqual((await setting.runtime.waitForWorkflowCompletion(later, tenant)).result, ['charge-7', 5, 1]);
  assert.deepEqual((await setting.runtime.checkIntegrity()).findings, []);
});

// rule: 17
test('an action that nobody registers fails after its time', async (t) => {
  const { runtime } = setUp(t);
  runtime.registerWorkflow(
    defineWorkflow('Wait', async ({ actions }: WorkflowContext) => {
      try {
        await actions['nobody']!({}, { failAfter: 50 });
        return 'it ran';
      } catch (error) {
        return [(error as Error).name, (error as { code?: string }).code];
      }
    }),
  );
  const id = await runtime.startWorkflow('Wait', { tenant });
  assert.deepEqual((await runtime.waitForWorkflowCompletion(id, tenant)).result, ['UnknownActionError', 'unknown_action']);
});

// rule: 15
test('a time-out over all attempts ends the one under way', async (t) => {
  const { runtime, registry } = setUp(t);
  const signals: AbortSignal[] = [];
  registry.registerAction({ name: 'Slow', totalTimeout: 80, retry: { initialInterval: 1 } }, async (_, { attempt, signal }) => {
    signals.push(signal);
    if (attempt === 1) throw new Error('not yet');
    await new Promise(() => {});
  });
  assert.equal(registry.getActionMetadata('slow')!.totalTimeout, 80);
  runtime.registerWorkflow(
    defineWorkflow('Wait', async ({ actions }: WorkflowContext) => {
      const error: any = await actions['slow']!().catch((caught: unknown) => caught);
      return [error.name, error.code, error.cause.message];
    }),
  );
  const id = await runtime.startWorkflow('Wait', { tenant });
  const { result } = await runtime.waitForWorkflowCompletion(id, tenant);
  assert.deepEqual(result, ['TimeoutError', 'total_timeout', 'not yet']);
  await until(() => signals[1]!.aborted, Boolean);
});

// rule: 15
test('heartbeats keep an attempt alive, and hand its progress to the next', async (t) => {
  const { runtime, registry } = setUp(t);
  const seen: unknown[] = [];
  registry.registerAction(
    { name: 'Rows', heartbeatTimeout: 150, retry: { initialInterval: 1 } },
    async (_, context) => {
      seen.push(context.progress);
      assert.throws(() => context.heartbeat(() => {}), PayloadError);
      const from = context.progress?.row ?? 0;
      for (let row = from; row < from + 10; row++) {
        context.heartbeat({ row });
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
      if (context.attempt === 1) throw new Error('broken');
      if (context.attempt === 2) await new Promise((resolve) => context.signal.addEventListener('abort', resolve));
      return context.progress;
    },
  );
  runtime.registerWorkflow(defineWorkflow('Import', async ({ actions }: WorkflowContext) => actions['rows']!()));
  const id = await runtime.startWorkflow('Import', { tenant });
  const { result } = await runtime.waitForWorkflowCompletion(id, tenant);
  assert.deepEqual(seen, [undefined, { row: 9 }, { row: 18 }]);
  assert.deepEqual(result, { row: 18 });
  const failed = (await runtime.getHistory(id, tenant)).filter(({ type }) => type === 'ActionAttemptFailed');
  assert.match((failed[1]!.payload as { message: string }).message, /silent for longer than its heartbeat time-out/);
});

// rule: 26
test('an action has so many places, and begins so often', async (t) => {
  const { runtime, registry } = setUp(t);
  let running = 0;
  let most = 0;
  registry.registerAction({ name: 'Narrow', concurrencyMax: 2 }, async () => {
    most = Math.max(most, ++running);
    await new Promise((resolve) => setTimeout(resolve, 10));
    running--;
  });
  const begun: number[] = [];
  registry.registerAction({ name: 'Slow', rateLimit: { max: 2, per: 200 } }, () => void begun.push(Date.now()));
  assert.deepEqual(registry.getActionMetadata('slow')!.rateLimit, { max: 2, per: 200 });
  runtime.registerWorkflow(
    defineWorkflow('Many', async ({ actions }: WorkflowContext) => {
      await Promise.all(Array.from({ length: 8 }, () => actions['narrow']!()));
      await Promise.all(Array.from({ length: 5 }, () => actions['slow']!()));
    }),
  );
  const id = await runtime.startWorkflow('Many', { tenant });
  assert.equal((await runtime.waitForWorkflowCompletion(id, tenant)).status, 'completed');
  assert.equal(most, 2);
  assert.equal(begun.length, 5);
  // Two at once; timers may be late, never early.
  assert.ok(begun[4]! - begun[0]! >= 390, JSON.stringify(begun));
  const { actionsInFlight, actionsWaiting } = await runtime.counters();
  assert.deepEqual([actionsInFlight, actionsWaiting], [0, 0]);
  for (const bad of [{ concurrencyMax: 0 }, { rateLimit: { max: 0, per: 5 } }, { rateLimit: { max: 1, per: 0 } }, { rateLimit: 5 }]) {
    assert.throws(() => registry.registerAction({ name: 'Bad', ...bad } as never, () => {}), InvalidArgumentError);
  }
});

test('options that make no sense are refused', async (t) => {
  const { runtime, registry } = setUp(t);
  assert.throws(() => registry.registerAction({ name: 'A', totalTimeout: 'soon' as never }, () => {}), InvalidArgumentError);
  assert.throws(() => registry.registerAction({ name: 'A', failAfter: 5 } as never, () => {}), /failAfter/);
  runtime.registerWorkflow(
    defineWorkflow('Bad', async ({ actions, run }: WorkflowContext) => {
      const refused: string[] = [];
      for (const call of [
        () => actions['a']!({}, { idempotencyKey: '' }),
        () => actions['a']!({}, { heartbeatTimeout: -1 }),
        () => run('here', () => 1, { idempotencyKey: 'k' } as never),
      ]) {
        await call().catch((error: Error) => refused.push(error.message));
      }
      return refused;
    }),
  );
  const id = await runtime.startWorkflow('Bad', { tenant });
  const { result } = await runtime.waitForWorkflowCompletion(id, tenant);
  assert.equal(result.length, 3, JSON.stringify(result));
  assert.match(result[0], /idempotencyKey must not be empty/);
  assert.match(result[1], /heartbeatTimeout/);
  assert.match(result[2], /idempotencyKey/);
});
