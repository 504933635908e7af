// Workflows and actions on the real engine and a real file.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { chmodSync, closeSync, openSync, readSync, rmSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { Worker } from 'node:worker_threads';
import {
  createActionRegistry,
  defineWorkflow,
  ExecutionEndedError,
  getWorkflowRuntime,
  InvalidArgumentError,
  NonRetryableError,
  PayloadError,
  StoreError,
  TimeoutError,
  UnknownActionError,
  UnknownExecutionError,
  UnknownWorkflowError,
  ValidationError,
  type WorkflowContext,
} from 'pawl';
import { loadAddon } from '../dist/addon.js';
import { setUp, temporaryFolder, until } from './support/runtime.js';

const tenant = 'acme';
const fast = { initialInterval: 1, maxInterval: 5 };

const approval = defineWorkflow('Approval', async ({ setState, events, actions, data, input }: WorkflowContext) => {
  setState('draft');
  data.set('amount', input.amount);
  const submitted = await events.waitFor('Submit');
  data.set('by', submitted.user_id);
  setState('submitted');
  await actions['note']!({ text: 'submitted' });
  const decision = await events.waitFor(['Approve', 'Reject']);
  setState(decision.name === 'Approve' ? 'approved' : 'rejected');
  return { decision: decision.name, payload: decision.payload };
});

function event(execution_id: string, event_name: string, more: object = {}) {
  return { execution_id, event_name, tenant, ...more };
}

// rules: 4, 5
test('start, events, actions, completion; state at every point without the code', async (t) => {
  const { runtime, registry } = setUp(t);
  const keys: string[] = [];
  registry.registerSimpleAction('Note', '', [{ name: 'text', type: 'string', required: true }], (params, context) => {
    keys.push(context.idempotencyKey);
    assert.deepEqual([context.tenant, context.attempt, context.correlationId], [tenant, 1, 'corr-1']);
    return params.text.length;
  });
  runtime.registerWorkflow(approval);
  runtime.registerWorkflow(approval);
  const id = await runtime.startWorkflow('Approval', {
    tenant,
    initialData: { amount: 5 },
    userId: 'ann',
    correlationId: 'corr-1',
  });
  const reply = await runtime.submitEvent(event(id, 'Submit', { user_id: 'bob', payload: { a: 1 } }));
  assert.deepEqual({ ...reply, eventId: '' }, {
    executionId: id,
    eventId: '',
    currentState: 'submitted',
    status: 'running',
    isComplete: false,
    consumed: true,
  });
  const handle = runtime.getHandle(id, tenant);
  const enqueued = await runtime.enqueueEvent(event(id, 'Approve', { payload: { note: 'ü' } }));
  assert.ok(enqueued.eventId !== '' && enqueued.processingId !== '');
  const state = await handle.waitForCompletion();
  assert.deepEqual(
    [state.status, state.currentState, state.isComplete, state.result, state.userId],
    ['completed', 'approved', true, { decision: 'Approve', payload: { note: 'ü' } }, 'ann'],
  );
  assert.deepEqual(state.data, { amount: 5, by: 'bob' });
  assert.equal(keys.length, 1);

  const history = await handle.getHistory();
  assert.deepEqual(history.map(({ sequence }) => sequence), history.map((_, i) => i + 1));
  assert.deepEqual(history.filter(({ type }) => type === 'EventReceived').map(({ name }) => name), ['Submit', 'Approve']);
  const submitted = history.find(({ type }) => type === 'EventReceived')!;
  const before = await handle.getState({ atSequence: submitted.sequence - 1 });
  assert.deepEqual([before.currentState, before.data, before.isComplete], ['draft', { amount: 5 }, false]);
  const after = await handle.getState({ atSequence: state.sequence });
  assert.equal(after.currentState, 'approved');

  const { executions } = await runtime.listExecutions({ tenant, workflow: 'Approval' });
  assert.deepEqual(executions.map(({ executionId, status }) => [executionId, status]), [[id, 'completed']]);
});

// rule: 2
test('an execution waits over a restart, and over eviction', async (t) => {
  const setting = setUp(t, { limits: { executionsCachedMax: 1 } });
  setting.registry.registerSimpleAction('Note', '', [{ name: 'text', type: 'string', required: true }], () => 1);
  let { runtime } = setting;
  runtime.registerWorkflow(approval);
  const ids = await Promise.all(
    Array.from({ length: 20 }, (_, n) => runtime.startWorkflow('Approval', { tenant, initialData: { amount: n } })),
  );
  await Promise.all(ids.map((id) => runtime.submitEvent(event(id, 'Submit', { user_id: id }))));
  await until(
    () => Promise.all(ids.map((id) => runtime.getHistory(id, tenant))),
    (all) => all.every((history) => history.at(-1)!.name === 'Approve, Reject'),
  );
  assert.ok((await runtime.counters()).replays > 0, 'some were evicted and replayed');
  runtime = await setting.reopen();
  runtime.registerWorkflow(approval);
  await Promise.all(ids.map((id) => runtime.submitEvent(event(id, 'Reject'))));
  for (const [n, id] of ids.entries()) {
    const state = await runtime.waitForWorkflowCompletion(id, tenant);
    assert.deepEqual([state.currentState, state.data], ['rejected', { amount: n, by: id }]);
  }
});

// rules: 14, 15
test('failed attempts are tried again under the same key; a validation is not', async (t) => {
  const { runtime, registry } = setUp(t);
  const attempts: [number, string][] = [];
  registry.registerAction({ name: 'Flaky', retry: fast }, async (_, { attempt, idempotencyKey }) => {
    attempts.push([attempt, idempotencyKey]);
    if (attempt < 3) throw new TypeError('not yet');
    return attempt;
  });
  let permanent = 0;
  registry.registerAction({ name: 'Hopeless', retry: fast }, () => {
    permanent++;
    throw new NonRetryableError('never');
  });
  let strict = 0;
  registry.registerAction(
    { name: 'Strict', retry: fast, parameters: [{ name: 'n', type: 'number', required: true }] },
    () => ++strict,
  );
  let odd = 0;
  registry.registerAction({ name: 'Odd', retry: fast }, () => {
    odd++;
    return { n: NaN };
  });
  runtime.registerWorkflow(
    defineWorkflow('Tries', async ({ actions }: WorkflowContext) => {
      const told = async (promise: Promise<unknown>) =>
        promise.then((value) => value, (error: Error) => [error.name, error.message]);
      return [
        await told(actions['flaky']!()),
        await told(actions['hopeless']!()),
        await told(actions['strict']!({ m: 1 })),
        await told(actions['strict']!({ n: 1 })),
        await told(actions['odd']!()),
      ];
    }),
  );
  const id = await runtime.startWorkflow('Tries', { tenant });
  const { result } = await runtime.waitForWorkflowCompletion(id, tenant);
  assert.deepEqual(result, [
    3,
    ['NonRetryableError', 'never'],
    ['ValidationError', "Action 'Strict': n: is missing; m: is not a parameter of it. Did you mean 'n'?"],
    1,
    ['PayloadError', "result of odd.n: NaN can't be carried"],
  ]);
  assert.deepEqual(attempts.map(([n]) => n), [1, 2, 3]);
  assert.equal(new Set(attempts.map(([, key]) => key)).size, 1);
  assert.deepEqual([permanent, strict, odd], [1, 1, 1]);
});

test('whatever an action or a workflow throws is a failure like any other', async (t) => {
  const { runtime, registry } = setUp(t);
  const thrown: Record<string, () => unknown> = {
    getter: () => Object.defineProperty(new Error('with a getter'), 'code', { get: () => (undefined as any).status }),
    className: () => Object.assign(new Error('of a class'), { failureClass: 'toString' }),
    revoked: () => {
      const { proxy, revoke } = Proxy.revocable(new Error('gone'), {});
      revoke();
      return proxy;
    },
  };
  const messages = { getter: 'with a getter', className: 'of a class', revoked: '[unprintable]' };
  registry.registerAction({ name: 'Throw', retry: { ...fast, maxAttempts: 2 }, unknown: 'allow' }, ({ what }) => {
    throw thrown[what]!();
  });
  runtime.registerWorkflow(
    defineWorkflow('ActionThrows', ({ actions, input }: WorkflowContext) => actions['throw']!({ what: input })),
  );
  runtime.registerWorkflow(
    defineWorkflow('Throws', async ({ input }: WorkflowContext) => {
      throw thrown[input]!();
    }),
  );
  for (const [what, message] of Object.entries(messages)) {
    for (const workflow of ['ActionThrows', 'Throws']) {
      const id = await runtime.startWorkflow(workflow, { tenant, initialData: what });
      const { status, error } = await runtime.waitForWorkflowCompletion(id, tenant);
      assert.deepEqual([status, error!.message], ['failed', message], `${workflow} ${what}`);
    }
  }
});

test('a bad option of one call rejects that call, and other executions of the turn go on', async (t) => {
  const { runtime, registry } = setUp(t);
  class Declined extends Error {}
  registry.registerSimpleAction('Pay', '', [], () => 'paid');
  runtime.registerWorkflow(
    defineWorkflow('Pays', ({ actions, input }: WorkflowContext) =>
      actions['pay']!({}, input === 'bad' ? { retry: { nonRetryable: [Declined] as never } } : {}).catch(
        ({ name, message }: Error) => `${name}: ${message}`,
      ),
    ),
  );
  const inputs = ['', 'bad', '', 'bad', ''];
  const ids = await Promise.all(inputs.map((initialData) => runtime.startWorkflow('Pays', { tenant, initialData })));
  for (const [i, id] of ids.entries()) {
    const { status, result } = await runtime.waitForWorkflowCompletion(id, tenant);
    assert.equal(status, 'completed');
    if (inputs[i] === 'bad') assert.match(result, /^InvalidArgumentError: retry\.nonRetryable\[0\].*write 'Declined'/);
    else assert.equal(result, 'paid');
  }
});

test('a value of the wrong type is an error of the addon, not the end of the process', async () => {
  const { Engine } = loadAddon();
  const none = () => {};
  const engine: any = new Engine({ activate: none, collect: () => [], evict: none, run: none, abort: none, settle: none, log: none });
  const wrong: [string, unknown[]][] = [
    ['open', [1, 5, [], 1_000]],
    ['open', [1, 'sqlite:x.db', ['1'], 1_000]],
    ['open', ['1', 'sqlite:x.db', [], 1_000]],
    ['registerWorkflow', ['A', '1', 5, '', [], false]],
    ['registerWorkflow', ['A', '1', '', {}, [], false]],
    ['registerWorkflow', ['A', '1', '', '', [1], false]],
    ['registerWorkflow', ['A', '1', '', '', 1, false]],
    ['registerAction', ['A', 42, [-1, -1, -1, -1, '', -1, -1, -1, 0], false]],
    ['registerAction', ['A', '', [-1, 1, 4, 1, 1, 1, 1, 1, none], false]],
    ['registerAction', ['A', '', [-1, 1, 4, 1, 1, 1, 1, 2 ** 40, 'x'], false]],
    ['registerAction', ['A', '', null, false]],
    ['start', [1, {}]],
    ['submit', [1]],
    ['actionsFinished', [[1, 1, 1, 1, Symbol('s')]]],
    ['actionsFinished', [[1, 1, 1]]],
    ['actionsFinished', [[1, 1, 1, 0, 'Error', 'x', '', '', '', 0, -1]]],
    ['actionsFinished', [undefined]],
  ];
  try {
    for (const [method, given] of wrong) assert.throws(() => engine[method](...given), Error, `${method} ${given.length}`);
  } finally {
    engine.closeNow();
  }
});

// rule: 15
test('an attempt that runs out of time is aborted', async (t) => {
  const { runtime, registry } = setUp(t);
  const aborted: string[] = [];
  registry.registerAction({ name: 'Slow', timeout: 30, retry: { ...fast, maxAttempts: 2 } }, async (_, { signal, attempt }) => {
    if (attempt === 2) return 'in time';
    await once(signal, 'abort');
    aborted.push(signal.reason.name);
    return 'too late';
  });
  runtime.registerWorkflow(defineWorkflow('Timing', ({ actions }: WorkflowContext) => actions['slow']!()));
  const id = await runtime.startWorkflow('Timing', { tenant });
  const { result } = await runtime.waitForWorkflowCompletion(id, tenant);
  assert.equal(result, 'in time');
  assert.deepEqual(aborted, ['AbortError']);
});

// rule: 12
test('timers and timeouts are durable', async (t) => {
  const setting = setUp(t);
  const definition = defineWorkflow('Timers', async ({ sleep, events, now }: WorkflowContext) => {
    const began = now();
    await sleep(20);
    const slept = now() - began >= 20;
    try {
      await events.waitFor(['A', 'B'], { timeout: 10 });
    } catch (error) {
      return [slept, error instanceof TimeoutError, (error as Error).message];
    }
  });
  setting.runtime.registerWorkflow(definition);
  const id = await setting.runtime.startWorkflow('Timers', { tenant });
  const runtime = await setting.reopen();
  runtime.registerWorkflow(definition);
  const { result } = await runtime.waitForWorkflowCompletion(id, tenant);
  assert.deepEqual(result, [true, true, 'Timeout waiting for event(s): A, B after 10ms']);
});

// rule: 19
test('an error that nobody catches fails the execution, with its stack', async (t) => {
  const { runtime } = setUp(t);
  runtime.registerWorkflow(
    defineWorkflow('Fails', async () => {
      throw new RangeError('out of everything');
    }),
  );
  const id = await runtime.startWorkflow('Fails', { tenant });
  const state = await runtime.waitForWorkflowCompletion(id, tenant);
  assert.deepEqual(
    [state.status, state.error?.name, state.error?.message, state.isComplete],
    ['failed', 'RangeError', 'out of everything', true],
  );
  assert.match(state.error!.stack!, /runtime\.test\.ts/);
});

// rules: 1, 2
test('log lines come once the work is durable, and not again', async (t) => {
  const setting = setUp(t);
  const definition = defineWorkflow('Logs', async ({ logger, events }: WorkflowContext) => {
    logger.warn('before', { n: 1 });
    await events.waitFor('Go');
    logger.info('after');
  });
  setting.runtime.registerWorkflow(definition);
  const id = await setting.runtime.startWorkflow('Logs', { tenant });
  const runtime = await setting.reopen();
  runtime.registerWorkflow(definition);
  await runtime.submitEvent(event(id, 'Go'));
  await runtime.waitForWorkflowCompletion(id, tenant);
  await until(() => setting.lines.length, (count) => count >= 2);
  const { at, ...line } = setting.lines[0]!;
  assert.deepEqual(line, {
    level: 'warn',
    message: 'before',
    details: [{ n: 1 }],
    tenant,
    executionId: id,
    workflow: 'Logs',
  });
  assert.deepEqual(setting.lines.map(({ message }) => message), ['before', 'after']);
});

// rules: 9, 24
test('an event under a key has one effect and one answer; a start under an id too', async (t) => {
  const { runtime } = setUp(t);
  runtime.registerWorkflow(
    defineWorkflow('Counts', async ({ events, data }: WorkflowContext) => {
      for (let n = 1; ; n++) {
        await events.waitFor('Tick');
        data.set('n', n);
      }
    }),
  );
  const start = { tenant, executionId: 'wf-1', initialData: { a: 1 } };
  assert.equal(await runtime.startWorkflow('Counts', start), 'wf-1');
  assert.equal(await runtime.startWorkflow('Counts', start), 'wf-1');
  await assert.rejects(runtime.startWorkflow('Counts', { ...start, initialData: { a: 2 } }), {
    name: 'AlreadyExistsError',
    code: 'already_exists',
  });
  const first = await runtime.submitEvent(event('wf-1', 'Tick', { idempotency_key: 'k' }));
  const again = await runtime.submitEvent(event('wf-1', 'Tick', { idempotency_key: 'k' }));
  assert.deepEqual(again, first);
  await runtime.submitEvent(event('wf-1', 'Tick'));
  assert.equal((await runtime.getExecutionState('wf-1', tenant)).data['n'], 2);
});

// rule: 26
test('bad input: each a clear error, and the runtime goes on', async (t) => {
  const { runtime, registry } = setUp(t, { limits: { payloadBytesMax: 1_000 } });
  runtime.registerWorkflow(approval);
  const id = await runtime.startWorkflow('Approval', { tenant, executionId: 'wf-1', initialData: {} });
  runtime.registerWorkflow(defineWorkflow('Ends', async () => {}));
  const ended = await runtime.startWorkflow('Ends', { tenant });
  await runtime.waitForWorkflowCompletion(ended, tenant);

  registry.registerSimpleAction('Ship', '', [{ name: 'parcels', type: 'number', required: true }], () => 1);

  type Case = [promise: () => Promise<unknown>, kind: new (...args: any[]) => Error, message: RegExp];
  const cases: Case[] = [
    [() => runtime.startWorkflow('Aproval', { tenant }), UnknownWorkflowError, /No workflow 'Aproval' is registered. Did you mean 'Approval'\?/],
    [() => runtime.startWorkflow('Approval', { tenant, version: '9.0.0' }), UnknownWorkflowError, /9\.0\.0/],
    [() => runtime.startWorkflow('', { tenant }), InvalidArgumentError, /name of a workflow must not be empty/],
    [() => runtime.startWorkflow('Approval', {} as never), InvalidArgumentError, /tenant must be a string, not undefined/],
    [() => runtime.startWorkflow('Approval', undefined as never), InvalidArgumentError, /tenant must be a string/],
    [() => runtime.startWorkflow('Approval', { tenant, initialdata: {} } as never), InvalidArgumentError, /knows no 'initialdata'. Did you mean 'initialData'/],
    [() => runtime.startWorkflow('Approval', { tenant, executionId: 'x'.repeat(256) }), InvalidArgumentError, /executionId has 256 bytes; it can have 255/],
    [() => runtime.startWorkflow('Approval', { tenant, initialData: { a: [1n] } }), PayloadError, /^initialData\.a\[0\]: a BigInt can't be carried/],
    [() => runtime.startWorkflow('Approval', { tenant, initialData: 'x'.repeat(2_000) }), PayloadError, /2002 bytes of JSON are too many for the input: the most is 1000 \(payload_bytes_max\)/],
    [() => runtime.submitEvent(event('nope', 'Submit')), UnknownExecutionError, /nope/],
    [() => runtime.submitEvent({ ...event(id, 'Submit'), tenant: 'other' }), UnknownExecutionError, /wf-1/],
    [() => runtime.enqueueEvent(event('nope', 'Submit')), UnknownExecutionError, /nope/],
    [() => runtime.enqueueEvent({ ...event(id, 'Submit'), tenant: 'other' }), UnknownExecutionError, /wf-1/],
    [() => runtime.submitEvent(event(ended, 'Submit')), ExecutionEndedError, new RegExp(ended)],
    [() => runtime.enqueueEvent(event(ended, 'Submit')), ExecutionEndedError, new RegExp(ended)],
    [() => runtime.submitEvent(event(id, '')), InvalidArgumentError, /event_name must not be empty/],
    [() => runtime.submitEvent(event(id, 'Submit', { payload: { items: [0, 0, { price: NaN }] } })), PayloadError, /^payload\.items\[2\]\.price: NaN can't be carried/],
    [() => runtime.submitEvent(event(id, 'Submit', { payload: 'x'.repeat(2_000) })), PayloadError, /2002 bytes of JSON are too many for the payload of event 'Submit'/],
    [() => runtime.submitEvent(event(id, 'x'.repeat(256))), InvalidArgumentError, /event_name has 256 bytes; it can have 255/],
    [() => runtime.submitEvent(event(id, 'Submit', { idempotency_key: 'x'.repeat(256) })), InvalidArgumentError, /idempotency_key has 256 bytes/],
    [() => runtime.submitEvent(event(id, 'Submit', { executionId: id })), InvalidArgumentError, /knows no 'executionId'. Did you mean 'execution_id'/],
    [() => runtime.getExecutionState('nope', tenant), UnknownExecutionError, /nope/],
    [() => runtime.getExecutionState(id, 'other'), UnknownExecutionError, /wf-1/],
    [() => runtime.getExecutionState(id, tenant, { atSequence: 0 }), InvalidArgumentError, /atSequence must be a whole number from 1/],
    [() => runtime.getHistory('nope', tenant), UnknownExecutionError, /nope/],
    [() => runtime.getHistory(id, undefined as never), InvalidArgumentError, /tenant must be a string/],
    [() => runtime.waitForWorkflowCompletion('nope', tenant), UnknownExecutionError, /nope/],
    [() => runtime.waitForWorkflowCompletion(id, tenant, { maxWait: 5 }), TimeoutError, /has not ended within/],
    [() => runtime.listExecutions({ tenant, limit: 0 }), InvalidArgumentError, /limit/],
    [() => runtime.listExecutions({} as never), InvalidArgumentError, /tenant/],
    [() => registry.executeAction('logEvnt', { tenant, idempotencyKey: 'k', parameters: {} }), UnknownActionError, /No action 'logEvnt' is registered. Did you mean 'log_event'\?/],
    [() => registry.executeAction('log_event', { tenant, idempotencyKey: 'k', parameters: {} }), ValidationError, /message: is missing/],
    [() => registry.executeAction('log_event', { tenant, idempotencyKey: 'k', parameters: { message: 5 } }), ValidationError, /message: must be a string/],
    [() => registry.executeAction('ship', { tenant, idempotencyKey: 'k', parameters: { parcels: 1, parcel: 2 } }), ValidationError, /Action 'Ship': parcel: is not a parameter of it. Did you mean 'parcels'/],
    [() => registry.executeAction('log_event', { tenant, idempotencyKey: 'k', parameters: { message: 'x'.repeat(2_000) } }), PayloadError, /too many for the parameters/],
    [() => registry.executeAction('log_event', { tenant, idempotencyKey: 'x'.repeat(256), parameters: { message: 'x' } }), InvalidArgumentError, /idempotencyKey has 256 bytes/],
    [() => registry.executeAction('log_event', { tenant, parameters: { message: 'x' } } as never), InvalidArgumentError, /idempotencyKey must be a string/],
    [() => registry.executeAction('log_event', { tenant, idempotencyKey: 'k', parameters: { message: 'x', f() {} } }), PayloadError, /^parameters\.f: a function/],
  ];
  for (const [attempt, kind, message] of cases) {
    await assert.rejects(
      attempt(),
      (error) => {
        assert.ok(error instanceof kind, `${attempt}: ${String(error)} is no ${kind.name}`);
        assert.match(error.message, message, String(attempt));
        return true;
      },
      String(attempt),
    );
  }
  const foreign = await runtime.submitEvent({ ...event(id, 'Submit'), tenant: 'other' }).catch((e: Error) => e.message);
  const unknown = await runtime.submitEvent({ ...event('wf-2', 'Submit'), tenant: 'other' }).catch((e: Error) => e.message);
  assert.equal(String(foreign).replace('wf-1', 'X'), String(unknown).replace('wf-2', 'X'), 'a wrong tenant looks unknown');

  assert.throws(() => runtime.registerWorkflow({} as never), InvalidArgumentError);
  assert.throws(() => runtime.registerWorkflow(defineWorkflow('Approval', async () => 1)), {
    code: 'already_exists',
    message: /Another workflow 'Approval' with version 1.0.0 is registered already/,
  });
  assert.throws(() => getWorkflowRuntime(createActionRegistry()), { code: 'already_exists' });
  assert.throws(() => getWorkflowRuntime(undefined, { store: 'sqlite:other.db' }), { code: 'already_exists' });
  assert.throws(() => getWorkflowRuntime({} as never), InvalidArgumentError);
  for (const limit of [1.5, 2 ** 32 + 1, NaN, '5', 0, 1_001, null]) {
    await assert.rejects(runtime.listExecutions({ tenant, limit: limit as never }), {
      name: 'InvalidArgumentError',
      message: /^limit must be a whole number from 1 to 1000, not /,
    }, String(limit));
  }

  const { status } = await runtime.getExecutionState(id, tenant);
  assert.equal(status, 'running');
});

test('later calls of getWorkflowRuntime are held to the options of the first', (t) => {
  const log = () => {};
  const { runtime, registry, store } = setUp(t, { log, guards: 'warn', watchdog: '2s', limits: { payloadBytesMax: 1_000 } });
  const same = { store, log, guards: 'warn', watchdog: 2_000, limits: { payloadBytesMax: 1_000 } } as const;
  assert.equal(getWorkflowRuntime(), runtime);
  assert.equal(getWorkflowRuntime(registry, {}), runtime);
  assert.equal(getWorkflowRuntime(registry, same), runtime);
  const differing: [object, string][] = [
    [{ guards: 'error' }, 'guards'],
    [{ log: () => {} }, 'log'],
    [{ watchdog: '3s' }, 'watchdog'],
    [{ limits: { payloadBytesMax: 2_000 } }, 'limits.payloadBytesMax'],
    [{ limits: { requestsQueuedMax: 7 } }, 'limits.requestsQueuedMax'],
  ];
  for (const [options, name] of differing) {
    assert.throws(() => getWorkflowRuntime(undefined, options), {
      name: 'AlreadyExistsError',
      message: new RegExp(`was made with another '${name}'`),
    });
  }
  assert.throws(() => getWorkflowRuntime(undefined, { sotre: 'x' } as never), /knows no 'sotre'\. Did you mean 'store'/);
});

test('files that are no store', async (t) => {
  const folder = temporaryFolder(t);
  const open = async (store: string) => {
    const runtime = getWorkflowRuntime(createActionRegistry(), { store });
    try {
      await runtime.listExecutions({ tenant });
    } finally {
      await runtime.close();
    }
  };
  const text = join(folder, 'text.db');
  writeFileSync(text, 'no database at all, but long enough to look for a header in it'.repeat(20));
  await assert.rejects(open(`sqlite:${text}`), (error) => error instanceof StoreError && error.code === 'store_invalid' && /text\.db/.test(error.message));
  await assert.rejects(open(`sqlite:${join(folder, 'none', 'x.db')}`), (error) => error instanceof StoreError && /none/.test(error.message));
  await assert.rejects(open(`sqlite:${folder}`), StoreError);
  assert.throws(() => getWorkflowRuntime(undefined, { store: 'mysql:x' }), /The store 'mysql:x' is none that is known. Write 'sqlite:FILE'/);
  assert.throws(() => getWorkflowRuntime(undefined, { sotre: 'x' } as never), /knows no 'sotre'. Did you mean 'store'/);
  const good = join(folder, 'good.db');
  await open(`sqlite:${good}`);
  const header = openSync(good, 'r+');
  const version = Buffer.alloc(4); // SQLite's user_version
  readSync(header, version, 0, 4, 60);
  writeSync(header, Buffer.from([0, 0, 0, 99]), 0, 4, 60);
  await assert.rejects(open(`sqlite:${good}`), { code: 'store_invalid', message: /good\.db.*newer version/ });
  writeSync(header, version, 0, 4, 60);
  closeSync(header);
  await open(`sqlite:${good}`);

  chmodSync(folder, 0o777);
  chmodSync(good, 0o444);
  rmSync(`${good}-lock`);
  // Root may write to everything, and tests may run as root.
  const root = process.geteuid!() === 0;
  if (root) process.seteuid!(65_534);
  try {
    await assert.rejects(open(`sqlite:${good}`), { code: 'store_unavailable', message: /good\.db.*read-only/ });
  } finally {
    if (root) process.seteuid!(0);
  }
  rmSync(`${good}-lock`, { force: true });
  chmodSync(good, 0o644);
  await open(`sqlite:${good}`);
});

// rule: 17
test('a runtime says how it stands', async (t) => {
  const { runtime } = setUp(t);
  const { status, troubles, works, partitions, partitionsOwned } = await runtime.health();
  assert.deepEqual([status, troubles, works, partitions, partitionsOwned], ['ok', [], true, 1, 1]);
  await runtime.close();
  const closed = await runtime.health();
  assert.equal(closed.status, 'down');
  assert.match(closed.troubles[0]!, /is closed/);
});

test('an action that nobody registered is waited for', async (t) => {
  const { runtime, registry } = setUp(t);
  runtime.registerWorkflow(defineWorkflow('Eager', ({ actions }: WorkflowContext) => actions['notYetThere']!()));
  const id = await runtime.startWorkflow('Eager', { tenant });
  const state = await until(() => runtime.getExecutionState(id, tenant), ({ condition }) => condition === 'no_action');
  assert.match(state.conditionDetail, /notYetThere/);
  registry.registerSimpleAction('NotYetThere', '', [], () => 'here');
  assert.equal((await runtime.waitForWorkflowCompletion(id, tenant)).result, 'here');
});

// rule: 20
test('code that reaches outside', async (t) => {
  const setting = setUp(t);
  setting.runtime.registerWorkflow(
    defineWorkflow('Sleeper', async () => {
      await new Promise((resolve) => setTimeout(resolve, 5));
    }),
  );
  const failed = await setting.runtime.startWorkflow('Sleeper', { tenant });
  const state = await setting.runtime.waitForWorkflowCompletion(failed, tenant);
  assert.deepEqual([state.status, state.error?.name], ['failed', 'NotDeterministicError']);
  assert.match(state.error!.message, /setTimeout\(\) was called by workflow 'Sleeper'.*'context\.sleep'/);
  setting.runtime.registerWorkflow(
    defineWorkflow('Caller', async () => {
      await setting.runtime.listExecutions({ tenant });
    }),
  );
  const caller = await setting.runtime.startWorkflow('Caller', { tenant });
  const called = await setting.runtime.waitForWorkflowCompletion(caller, tenant);
  assert.match(called.error!.message, /called the runtime: workflow code has its context/);
  const refused: [string, () => unknown][] = [
    ['close', () => setting.runtime.close()],
    ['registerWorkflow', () => setting.runtime.registerWorkflow(defineWorkflow('Another', async () => {}))],
    ['startWorker', () => setting.runtime.startWorker()],
    ['counters', () => setting.runtime.counters()],
    ['submitEvent', () => setting.runtime.submitEvent(event(failed, 'Go'))],
    ['executeAction', () => setting.registry.executeAction('log_event', { tenant, idempotencyKey: 'k', parameters: { message: 'x' } })],
  ];
  for (const [name, attempt] of refused) {
    setting.runtime.registerWorkflow(defineWorkflow(`Calls ${name}`, async () => void (await attempt())));
    const id = await setting.runtime.startWorkflow(`Calls ${name}`, { tenant });
    const { status, error } = await setting.runtime.waitForWorkflowCompletion(id, tenant);
    assert.deepEqual([status, error?.name], ['failed', 'NotDeterministicError'], name);
    assert.match(error!.message, /called the runtime: workflow code has its context/);
  }

  const runtime = await setting.reopen({ guards: 'off' });
  const outside = () => new Promise((resolve) => setTimeout(resolve, 1));
  runtime.registerWorkflow(defineWorkflow('Foreign at once', async () => outside()));
  await assert.rejects(runtime.startWorkflow('Foreign at once', { tenant }), {
    code: 'not_deterministic',
    message: /workflow 'Foreign at once' .*awaits something from outside/,
  });
  runtime.registerWorkflow(
    defineWorkflow('Foreign', async ({ events }: WorkflowContext) => {
      await events.waitFor('Go');
      await outside();
    }),
  );
  const id = await runtime.startWorkflow('Foreign', { tenant });
  await runtime.enqueueEvent(event(id, 'Go'));
  const stuck = await until(() => runtime.getExecutionState(id, tenant), ({ status }) => status === 'stuck');
  assert.match(stuck.error!.message, /awaits something from outside/);
  runtime.registerWorkflow(defineWorkflow('Foreign', async ({ events }: WorkflowContext) => (await events.waitFor('Go')).name), { replace: true });
  assert.equal((await runtime.waitForWorkflowCompletion(id, tenant)).result, 'Go');
});

// rule: 10
test('submitEvent waits for as long as it is told, and the event is taken all the same', async (t) => {
  const { runtime } = setUp(t);
  runtime.registerWorkflow(
    defineWorkflow('Slow', async ({ events }: WorkflowContext) => {
      await events.waitFor('Go');
      // Holds the JavaScript thread, and the answer with it.
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 300);
      return 'went';
    }),
  );
  const id = await runtime.startWorkflow('Slow', { tenant });
  let eventId: string | undefined;
  await assert.rejects(runtime.submitEvent(event(id, 'Go'), { maxWait: '20ms' }), (error: TimeoutError) => {
    eventId = error.eventId;
    return error instanceof TimeoutError && error.code === 'timeout';
  });
  assert.equal((await runtime.waitForWorkflowCompletion(id, tenant)).result, 'went');
  const received = (await runtime.getHistory(id, tenant)).find(({ type }) => type === 'EventReceived');
  assert.equal(received!.attributes['id'], eventId);

  const other = await runtime.startWorkflow('Slow', { tenant });
  await assert.rejects(runtime.getHandle(other, tenant).submitEvent('Go', {}, { maxWait: 0 }), TimeoutError);
  assert.equal((await runtime.waitForWorkflowCompletion(other, tenant)).result, 'went');
  const wrong = { maxWait: 'soon' } as unknown as { maxWait: number };
  await assert.rejects(runtime.submitEvent(event(other, 'Go'), wrong), { code: 'invalid_argument' });
});

// rules: 18, 20
test('code that does not do what its history says is set aside, and mended by a replacement', async (t) => {
  const setting = setUp(t);
  const version = (first: string) =>
    defineWorkflow('Changes', async ({ actions, events }: WorkflowContext) => {
      await actions[first]!({ message: 'x' });
      await events.waitFor('Go');
      return first;
    });
  setting.runtime.registerWorkflow(version('log_event'));
  const id = await setting.runtime.startWorkflow('Changes', { tenant });
  await until(() => setting.runtime.getHistory(id, tenant), (history) => history.at(-1)!.type === 'WaitStarted');
  const runtime = await setting.reopen();
  runtime.registerWorkflow(version('log_audit_event'));
  await runtime.enqueueEvent(event(id, 'Go'));
  const stuck = await until(() => runtime.getExecutionState(id, tenant), ({ status }) => status === 'stuck');
  assert.match(stuck.error!.message, /log_event/);
  assert.match(stuck.error!.message, /log_audit_event/);
  runtime.registerWorkflow(version('log_event'), { replace: true });
  assert.equal((await runtime.waitForWorkflowCompletion(id, tenant)).result, 'log_event');
});

// rule: 14
test('executeAction: once per key, with its error, without an execution', async (t) => {
  const setting = setUp(t);
  let calls = 0;
  setting.registry.registerAction(
    { name: 'Pay', parameters: [{ name: 'amount', type: 'number', required: true }], retry: { maxAttempts: 1 } },
    async ({ amount }, { executionId, eventId, idempotencyKey }) => {
      calls++;
      if (amount < 0) throw Object.assign(new RangeError('negative'), { code: 'E_NEG', details: { amount } });
      return { amount, executionId, eventId, idempotencyKey };
    },
  );
  const request = { tenant, executionId: 'wf-123', eventId: 'evt-1', idempotencyKey: 'pay-1', parameters: { amount: 5 } };
  const first = await setting.registry.executeAction('pay', request);
  assert.deepEqual(first, { amount: 5, executionId: 'wf-123', eventId: 'evt-1', idempotencyKey: 'pay-1' });
  await setting.reopen();
  assert.deepEqual(await setting.registry.executeAction('Pay', request), first);
  assert.equal(calls, 1);
  await assert.rejects(setting.registry.executeAction('Pay', { ...request, parameters: { amount: 6 } }), { code: 'already_exists' });
  await assert.rejects(setting.registry.executeAction('Pay', { ...request, idempotencyKey: 'pay-2', parameters: { amount: -1 } }), {
    name: 'RangeError',
    message: 'negative',
    code: 'E_NEG',
    details: { amount: -1 },
  });
  assert.equal(await setting.registry.executeAction('Pay', { ...request, tenant: 'other', idempotencyKey: 'pay-1' }).then((r) => r.amount), 5);
  assert.equal(calls, 3);
});

test('built-in actions', async (t) => {
  const { runtime, registry, lines } = setUp(t);
  const sent: unknown[] = [];
  registry.registerNotificationChannel('mail', async (notification) => {
    sent.push(notification);
    return 'receipt-1';
  });
  runtime.registerWorkflow(
    defineWorkflow('BuiltIns', async ({ actions }: WorkflowContext) => [
      await actions['log_event']!({ message: 'plain' }),
      await actions['logAuditEvent']!({ message: 'audited', actor: 'ann' }),
      await actions['sendNotification']!({ recipient: 'bob', message: 'hi' }),
      await actions['sendNotification']!({ recipient: 'bob', message: 'hi', channel: 'mail' }),
      await actions['sendNotification']!({ recipient: 'bob', message: 'hi', channel: 'fax' }).catch((e: Error) => e.message),
      await actions['wait']!({ duration: '5ms' }),
      await actions['wait']!({ duration: 'soon' }).catch((e: Error) => e.name),
    ]),
  );
  const id = await runtime.startWorkflow('BuiltIns', { tenant });
  const { result } = await runtime.waitForWorkflowCompletion(id, tenant);
  assert.deepEqual(result, [
    { logged: true },
    { recorded: true, message: 'audited', level: 'info', actor: 'ann' },
    { sent: true, channel: 'log' },
    { sent: true, channel: 'mail', receipt: 'receipt-1' },
    "No notification channel 'fax' is registered",
    { waited: 5 },
    'ValidationError',
  ]);
  assert.deepEqual(sent, [{ recipient: 'bob', message: 'hi', channel: 'mail' }]);
  assert.deepEqual(lines.map(({ message }) => message), ['plain', 'audited', 'Notification to bob: hi']);
  assert.deepEqual(lines[1]!.details, [{ actor: 'ann' }]);
});

test('bytes, odd names and emitted events through the store', async (t) => {
  const setting = setUp(t);
  const definition = defineWorkflow('Bytes ü', async ({ input, events, data, setState }: WorkflowContext) => {
    await events.emit('Self', { raw: new Uint8Array([1, 2]), like: { $bytes: 'x' } });
    const mine = await events.waitFor('Self');
    data.set('mine', mine.payload);
    setState('zustand "é"\n');
    const { payload } = await events.waitFor('Go\t😀');
    return { input, mine: data.get('mine'), payload };
  });
  setting.runtime.registerWorkflow(definition);
  const input = { file: new Uint8Array([9]), text: '\u2028\0"\\' };
  const id = await setting.runtime.startWorkflow('Bytes ü', { tenant: 'ténant', initialData: input, executionId: "id'; --" });
  const runtime = await setting.reopen();
  runtime.registerWorkflow(definition);
  await runtime.submitEvent({ execution_id: id, event_name: 'Go\t😀', tenant: 'ténant', payload: [new Uint8Array()] });
  const state = await runtime.waitForWorkflowCompletion(id, 'ténant');
  assert.deepEqual(state.result, {
    input,
    mine: { raw: new Uint8Array([1, 2]), like: { $bytes: 'x' } },
    payload: [new Uint8Array()],
  });
  assert.deepEqual(state.data['mine'].raw, new Uint8Array([1, 2]));
  assert.equal(state.currentState, 'zustand "é"\n');
});

test('a closed runtime refuses, pending calls too; a new one opens anew', async (t) => {
  const setting = setUp(t);
  const { runtime } = setting;
  runtime.registerWorkflow(approval);
  const id = await runtime.startWorkflow('Approval', { tenant, initialData: {} });
  const pending = runtime.waitForWorkflowCompletion(id, tenant);
  const [, closed] = await Promise.allSettled([runtime.close(), pending]);
  assert.equal(closed.status === 'rejected' && closed.reason.code, 'closed');
  await runtime.close();
  await assert.rejects(runtime.getHistory(id, tenant), { code: 'closed' });
  assert.throws(() => runtime.registerWorkflow(approval), { code: 'closed' });
  const next = await setting.reopen();
  assert.notEqual(next, runtime);
  assert.equal((await next.getExecutionState(id, tenant)).currentState, 'draft');
});

test('closing tells actions under way, which run again with the next opening', async (t) => {
  const setting = setUp(t);
  const seen: [key: string, attempt: number, reason: string | undefined][] = [];
  let begun!: () => void;
  const running = new Promise<void>((resolve) => (begun = resolve));
  setting.registry.registerAction({ name: 'Long', retry: { maxAttempts: 1 } }, async (_, { signal, attempt, idempotencyKey }) => {
    if (seen.length > 0) {
      seen.push([idempotencyKey, attempt, undefined]);
      return 'done';
    }
    begun();
    await once(signal, 'abort');
    seen.push([idempotencyKey, attempt, `${signal.reason.name}: ${signal.reason.message}`]);
    throw signal.reason;
  });
  const long = defineWorkflow('Long', ({ actions }: WorkflowContext) => actions['long']!());
  setting.runtime.registerWorkflow(long);
  const id = await setting.runtime.startWorkflow('Long', { tenant });
  await running;
  const runtime = await setting.reopen();
  runtime.registerWorkflow(long);
  assert.equal((await runtime.waitForWorkflowCompletion(id, tenant)).result, 'done');
  assert.deepEqual(seen, [
    [seen[0]![0], 1, "AbortError: Attempt 1 of action 'long' is no longer wanted: the runtime was closed"],
    [seen[0]![0], 1, undefined],
  ]);
});

test('another thread of the process gets a clear error, and can end without harm', async (t) => {
  const setting = setUp(t);
  await setting.runtime.startWorker();
  const inWorker = (code: string) =>
    new Promise<string>((resolve, reject) => {
      const worker = new Worker(
        `const { parentPort, workerData } = require('node:worker_threads');
         const { getWorkflowRuntime } = require(workerData.pawl);
         const runtime = getWorkflowRuntime(undefined, { store: workerData.store });
         ${code}`,
        {
          eval: true,
          workerData: {
            pawl: new URL('../dist/index.js', import.meta.url).pathname,
            store: `${setting.store}.other`,
          },
        },
      );
      worker.once('message', resolve);
      worker.once('error', reject);
    });
  const refused = await inWorker(
    `runtime.startWorker().catch((error) => parentPort.postMessage(error.code + ': ' + error.message));`,
  );
  assert.match(refused, /^store_in_use: another thread of this process has a runtime open/);
  await setting.runtime.close();
  // Ends with its runtime open: the environment's clean-up closes it, and the next one may open.
  for (let i = 0; i < 3; i++) {
    const opened = await inWorker(
      `runtime.startWorker().then(() => { parentPort.postMessage('open'); process.exit(); });`,
    );
    assert.equal(opened, 'open');
    await until(
      async () => {
        await setting.reopen();
        return setting.runtime.startWorker().then(() => true, () => false);
      },
      (open) => open,
    );
    await setting.runtime.close();
  }
});
