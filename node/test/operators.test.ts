// What operators do to an execution, on the real engine and a real file.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  CancelledError,
  defineWorkflow,
  ExecutionEndedError,
  InvalidArgumentError,
  PawlError,
  UnknownExecutionError,
  WrongStatusError,
  type WorkflowContext,
} from 'pawl';
import { setUp, until } from './support/runtime.js';

const tenant = 'acme';

const order = defineWorkflow('Order', async ({ events, actions, setState, signal, data }: WorkflowContext) => {
  setState('waiting');
  signal.addEventListener('abort', () => data.set('signalled', true));
  try {
    await Promise.all([events.waitFor('Pay'), events.waitFor('Pack')]);
    await actions['ship']!({});
  } catch (error) {
    if (!(error instanceof CancelledError)) throw error;
    data.set('why', error.message);
    await actions['refund']!({});
    setState('refunded');
    throw error;
  }
  return 'shipped';
});

// rule: 22
test('cancelling rejects what is awaited, fires the signal, and lets the code clean up', async (t) => {
  const { runtime, registry } = setUp(t);
  const ran: string[] = [];
  registry.registerAction({ name: 'Refund' }, () => void ran.push('refund'));
  runtime.registerWorkflow(order);
  const id = await runtime.startWorkflow('Order', { tenant });
  const handle = runtime.getHandle(id, tenant);
  const told = await handle.cancel({ reason: 'out of stock', by: 'ann' });
  assert.deepEqual(told, { executionId: id, status: 'running', currentState: 'waiting' });
  const ended = await handle.waitForCompletion();
  assert.equal(ended.status, 'cancelled');
  assert.equal(ended.currentState, 'refunded');
  assert.deepEqual(ended.data, { why: 'out of stock', signalled: true });
  assert.equal(ended.error!.name, 'CancelledError');
  assert.equal(ended.error!.code, 'cancelled');
  assert.deepEqual(ran, ['refund']);
  const asked = (await handle.getHistory()).find(({ type }) => type === 'CancelRequested');
  assert.deepEqual(asked!.attributes, { by: 'ann', reason: 'out of stock' });
  await assert.rejects(handle.cancel(), ExecutionEndedError);
});

// rule: 22
test('a running handler is told that its execution was cancelled', async (t) => {
  const { runtime, registry } = setUp(t);
  let began = false;
  let stopped: Error | undefined;
  registry.registerAction({ name: 'Ship' }, (_, { signal }) => {
    began = true;
    return new Promise((_resolve, reject) => {
      signal.addEventListener('abort', () => {
        stopped = signal.reason as Error;
        reject(stopped);
      });
    });
  });
  runtime.registerWorkflow(defineWorkflow('Ships', ({ actions }: WorkflowContext) => actions['ship']!()));
  const handle = runtime.getHandle(await runtime.startWorkflow('Ships', { tenant }), tenant);
  await until(() => began, Boolean);
  await handle.cancel();
  assert.equal((await handle.waitForCompletion()).status, 'cancelled');
  await until(() => stopped !== undefined, Boolean);
  assert.equal(stopped!.name, 'AbortError');
});

// rules: 10, 22
test('an execution that was paused goes on where it was', async (t) => {
  const { runtime } = setUp(t);
  runtime.registerWorkflow(
    defineWorkflow('Waits', async ({ events, sleep, setState }: WorkflowContext) => {
      await sleep(1);
      setState('slept');
      return (await events.waitFor('Go')).payload;
    }),
  );
  const handle = runtime.getHandle(await runtime.startWorkflow('Waits', { tenant }), tenant);
  assert.equal((await handle.pause({ reason: 'an incident' })).status, 'paused');
  assert.equal((await handle.pause()).status, 'paused', 'again is no error');
  const reply = await handle.submitEvent('Go', 7);
  assert.deepEqual([reply.status, reply.consumed], ['paused', false]);
  assert.equal((await handle.resume()).status, 'running');
  assert.equal((await handle.waitForCompletion()).result, 7);
});

// rule: 22
test('terminating ends at once and the code learns nothing', async (t) => {
  const { runtime, registry } = setUp(t);
  registry.registerAction({ name: 'Refund' }, () => assert.fail('no clean-up'));
  runtime.registerWorkflow(order);
  const handle = runtime.getHandle(await runtime.startWorkflow('Order', { tenant }), tenant);
  const waiting = handle.waitForCompletion();
  assert.equal((await handle.terminate({ reason: 'runs amok' })).status, 'terminated');
  const ended = await waiting;
  assert.deepEqual([ended.status, ended.error!.message, ended.isComplete], ['terminated', 'runs amok', true]);
  await assert.rejects(handle.submitEvent('Pay'), ExecutionEndedError);
  assert.equal((await runtime.counters()).executionsCached, 0);
});

// rule: 22
test('a fork goes its own way from a point of the history', async (t) => {
  const { runtime, registry } = setUp(t);
  const ran: string[] = [];
  registry.registerAction({ name: 'Note', parameters: [], unknown: 'allow' }, (_, { executionId, idempotencyKey }) => {
    ran.push(executionId);
    return idempotencyKey;
  });
  runtime.registerWorkflow(
    defineWorkflow('Decides', async ({ events, actions, setState, input, uuid }: WorkflowContext) => {
      const key = await actions['note']!({});
      setState('asked');
      return [input.amount, key, uuid(), (await events.waitFor(['Approve', 'Reject'])).name];
    }),
  );
  const id = await runtime.startWorkflow('Decides', { tenant, initialData: { amount: 5 } });
  await until(() => runtime.getExecutionState(id, tenant), ({ currentState }) => currentState === 'asked');
  await runtime.submitEvent({ execution_id: id, event_name: 'Reject', tenant });
  const first = await runtime.waitForWorkflowCompletion(id, tenant);
  const received = (await runtime.getHistory(id, tenant)).find(({ type }) => type === 'EventReceived')!;

  const options = { atSequence: received.sequence, executionId: 'other', by: 'ann', reason: 'wrong button' };
  assert.equal(await runtime.forkWorkflow(id, tenant, options), 'other');
  assert.equal(await runtime.forkWorkflow(id, tenant, options), 'other', 'again is the same');
  await runtime.submitEvent({ execution_id: 'other', event_name: 'Approve', tenant });
  const second = await runtime.waitForWorkflowCompletion('other', tenant);
  assert.deepEqual(second.result, [...first.result.slice(0, 3), 'Approve']);
  assert.deepEqual(ran, [id], 'what was done is not done again');
  const forked = (await runtime.getHistory('other', tenant)).find(({ type }) => type === 'ExecutionForked')!;
  assert.deepEqual([forked.name, forked.attributes['by']], [id, 'ann']);

  await assert.rejects(runtime.forkWorkflow(id, tenant), WrongStatusError);
  await assert.rejects(runtime.forkWorkflow(id, tenant, { atSequence: 0 }), InvalidArgumentError);
  await assert.rejects(runtime.forkWorkflow(id, tenant, { ...options, atSequence: 2, executionId: id }), PawlError);
});

// rule: 22
test('a failed execution goes on from the action that failed, under a key of its own', async (t) => {
  const { runtime, registry } = setUp(t);
  const keys: string[] = [];
  let open = false;
  registry.registerAction({ name: 'Pay', retry: { maxAttempts: 1 } }, (_, { idempotencyKey }) => {
    keys.push(idempotencyKey);
    if (!open) throw new Error('the account is closed');
    return 'paid';
  });
  runtime.registerWorkflow(
    defineWorkflow('Pays', async ({ actions, setState, uuid }: WorkflowContext) => {
      const id = uuid();
      setState('paying');
      return [id.length, await actions['pay']!()];
    }),
  );
  const handle = runtime.getHandle(await runtime.startWorkflow('Pays', { tenant }), tenant);
  assert.equal((await handle.waitForCompletion()).error!.message, 'the account is closed');
  open = true;
  assert.equal((await handle.retry({ by: 'ann' })).status, 'running');
  const ended = await handle.waitForCompletion();
  assert.deepEqual([ended.status, ended.result, ended.error], ['completed', [36, 'paid'], undefined]);
  assert.equal(new Set(keys).size, 2);
  const failed = (await handle.getHistory()).find(({ type }) => type === 'ExecutionFailed')!;
  assert.equal((await handle.getState({ atSequence: failed.sequence })).status, 'failed');
  await assert.rejects(handle.retry(), WrongStatusError);
});

test('wrong input is refused', async (t) => {
  const { runtime } = setUp(t);
  runtime.registerWorkflow(order);
  const id = await runtime.startWorkflow('Order', { tenant });
  await assert.rejects(runtime.cancelWorkflow('nobody', tenant), UnknownExecutionError);
  await assert.rejects(runtime.cancelWorkflow(id, 'globex'), UnknownExecutionError);
  await assert.rejects(runtime.pauseWorkflow('', tenant), InvalidArgumentError);
  await assert.rejects(runtime.cancelWorkflow(id, tenant, { reason: 'x'.repeat(5_000) }), /at most 4096/);
  await assert.rejects(
    runtime.cancelWorkflow(id, tenant, { why: 'typo' } as object),
    /cancelWorkflow knows no 'why'/,
  );
  const state = await until(
    () => runtime.getExecutionState(id, tenant),
    ({ status }) => status === 'running',
  );
  assert.equal(state.currentState, 'waiting');
});
