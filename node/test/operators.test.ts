// What operators do to an execution, on the real engine and a real file.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  CancelledError,
  defineWorkflow,
  ExecutionEndedError,
  InvalidArgumentError,
  UnknownExecutionError,
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
