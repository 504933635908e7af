// What a start can ask for, and versions side by side, on the real engine and a real file.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { AlreadyExistsError, defineWorkflow, InvalidArgumentError, openClient, type WorkflowContext } from 'pawl';
import { setUp, until } from './support/runtime.js';

const tenant = 'acme';

function version(number: string, answer = number) {
  return defineWorkflow({ name: 'Order', version: number }, async ({ events }: WorkflowContext) => {
    await events.waitFor('Go');
    return answer;
  });
}

// rule: 21
test('a new execution begins on the highest version, and each stays on its own', async (t) => {
  const { runtime } = setUp(t);
  for (const number of ['9.0.0', '10.0.0', '10.0.0-beta', '9.10.0']) runtime.registerWorkflow(version(number));
  const highest = await runtime.startWorkflow('Order', { tenant });
  const chosen = await runtime.startWorkflow('Order', { tenant, version: '9.0.0' });
  runtime.registerWorkflow(version('11.0.0'));
  for (const [id, number] of [[highest, '10.0.0'], [chosen, '9.0.0']] as const) {
    await runtime.submitEvent({ execution_id: id, event_name: 'Go', tenant });
    const ended = await runtime.waitForWorkflowCompletion(id, tenant);
    assert.equal(ended.version, number);
    assert.equal(ended.result, number);
  }
});

// rule: 21
test('what was started meanwhile without a version begins on the highest of those registered at the opening', async (t) => {
  const setting = setUp(t);
  setting.runtime.registerWorkflow(version('1.0.0'));
  await setting.runtime.startWorker();
  await setting.runtime.close();
  const client = await openClient(setting.store);
  t.after(() => client.close());
  const id = await client.startWorkflow('Order', { tenant });
  const runtime = await setting.reopen();
  for (const number of ['1.0.0', '3.0.0', '2.0.0']) runtime.registerWorkflow(version(number));
  await runtime.startWorker();
  const started = await until(
    () => runtime.getExecutionState(id, tenant).catch(() => undefined),
    (state) => state?.condition === 'waiting',
  );
  assert.equal(started!.version, '3.0.0');
});

// rules: 5, 21
test('without its version an execution waits visibly, and goes on once that is registered', async (t) => {
  const setting = setUp(t);
  setting.runtime.registerWorkflow(version('1.0.0'));
  const id = await setting.runtime.startWorkflow('Order', { tenant });
  const runtime = await setting.reopen();
  runtime.registerWorkflow(version('2.0.0'));
  const told = await runtime.submitEvent({ execution_id: id, event_name: 'Go', tenant });
  assert.equal(told.consumed, false);
  const waiting = await until(
    () => runtime.getExecutionState(id, tenant),
    ({ condition }) => condition === 'no_worker',
  );
  assert.equal(waiting.status, 'running');
  assert.equal(waiting.conditionDetail, 'Order 1.0.0');
  runtime.registerWorkflow(version('1.0.0'));
  const ended = await runtime.waitForWorkflowCompletion(id, tenant);
  assert.equal(ended.result, '1.0.0');
  assert.equal(ended.condition, '');
});

// rule: 21
test('a patch: old histories go on by the old way, new ones by the new one', async (t) => {
  const setting = setUp(t);
  const before = defineWorkflow('Ship', async ({ events, setState }: WorkflowContext) => {
    setState('packed');
    await events.waitFor('Go');
    setState('sent');
    await events.waitFor('Done');
    return 'by post';
  });
  const after = defineWorkflow('Ship', async ({ events, setState, patched }: WorkflowContext) => {
    if (patched('check-stock')) setState('checked');
    setState('packed');
    await events.waitFor('Go');
    setState('sent');
    await events.waitFor('Done');
    return patched('courier') ? 'by courier' : 'by post';
  });
  setting.runtime.registerWorkflow(before);
  const old = await setting.runtime.startWorkflow('Ship', { tenant });
  await setting.reopen();
  setting.runtime.registerWorkflow(after);
  const fresh = await setting.runtime.startWorkflow('Ship', { tenant });
  for (const id of [old, fresh]) await setting.runtime.submitEvent({ execution_id: id, event_name: 'Go', tenant });
  await setting.reopen();
  setting.runtime.registerWorkflow(after);
  const patches: Record<string, string[]> = { [old]: ['courier'], [fresh]: ['check-stock', 'courier'] };
  for (const id of [old, fresh]) {
    await setting.runtime.submitEvent({ execution_id: id, event_name: 'Done', tenant });
    const ended = await setting.runtime.waitForWorkflowCompletion(id, tenant);
    assert.equal(ended.result, 'by courier');
    const history = await setting.runtime.getHistory(id, tenant);
    assert.deepEqual(history.filter(({ type }) => type === 'Patched').map(({ name }) => name), patches[id]);
  }
});

test('a patch that the code does not ask for any more is found as a departure', async (t) => {
  const setting = setUp(t);
  const define = (asks: boolean) =>
    defineWorkflow('Ship', async ({ events, patched }: WorkflowContext) => {
      if (asks) patched('check-stock');
      await events.waitFor('Go');
    });
  setting.runtime.registerWorkflow(define(true));
  const id = await setting.runtime.startWorkflow('Ship', { tenant });
  await setting.reopen();
  setting.runtime.registerWorkflow(define(false));
  const told = await setting.runtime.submitEvent({ execution_id: id, event_name: 'Go', tenant });
  assert.equal(told.status, 'stuck');
  const stuck = await setting.runtime.getExecutionState(id, tenant);
  assert.match(stuck.error!.message, /Patched 'check-stock'[^]*began with a patch/);
  setting.runtime.registerWorkflow(define(true), { replace: true });
  assert.equal((await setting.runtime.waitForWorkflowCompletion(id, tenant)).status, 'completed');
});

// rule: 24
test('the same idempotency key and input is the same execution; another input is refused', async (t) => {
  const setting = setUp(t);
  setting.runtime.registerWorkflow(version('1.0.0'));
  const start = { tenant, idempotencyKey: 'order-17', initialData: { n: 1 } };
  const id = await setting.runtime.startWorkflow('Order', start);
  assert.equal(await setting.runtime.startWorkflow('Order', start), id);
  const runtime = await setting.reopen();
  runtime.registerWorkflow(version('1.0.0'));
  // A higher version changes nothing for who asked for none.
  runtime.registerWorkflow(version('2.0.0'));
  const again = await Promise.all(Array.from({ length: 5 }, () => runtime.startWorkflow('Order', start)));
  assert.deepEqual(new Set(again), new Set([id]));
  await assert.rejects(runtime.startWorkflow('Order', { ...start, initialData: { n: 2 } }), (error: Error) => {
    assert.ok(error instanceof AlreadyExistsError);
    assert.match(error.message, /order-17/);
    return true;
  });
  assert.notEqual(await runtime.startWorkflow('Order', { ...start, tenant: 'umbrella' }), id);
  const [started] = await runtime.getHistory(id, tenant);
  assert.equal((started!.attributes as { idempotencyKey?: string }).idempotencyKey, 'order-17');
  const { executions } = await runtime.listExecutions({ tenant });
  assert.equal(executions.length, 1);
  await assert.rejects(
    runtime.startWorkflow('Order', { ...start, executionId: 'mine' }),
    InvalidArgumentError,
  );
});

test('a start at a later time waits, is shown as scheduled, and outlives a restart', async (t) => {
  const setting = setUp(t);
  const immediate = defineWorkflow('Later', async ({ now, data }: WorkflowContext) => {
    data.set('ran', now());
  });
  setting.runtime.registerWorkflow(immediate);
  const startAt = new Date(Date.now() + 400);
  const id = await setting.runtime.startWorkflow('Later', { tenant, startAt, initialData: { n: 1 } });
  const never = await setting.runtime.startWorkflow('Later', { tenant, startAt: '1d' });
  const scheduled = await setting.runtime.getExecutionState(never, tenant);
  assert.equal(scheduled.status, 'running');
  assert.equal(scheduled.condition, 'scheduled');
  await setting.reopen();
  setting.runtime.registerWorkflow(immediate);
  const ended = await setting.runtime.waitForWorkflowCompletion(id, tenant);
  assert.equal(ended.status, 'completed');
  assert.ok(ended.data['ran'] >= startAt.getTime());
  const told = await setting.runtime.cancelWorkflow(never, tenant, { reason: 'not needed' });
  assert.equal(told.status, 'cancelled');
  const cancelled = await setting.runtime.getExecutionState(never, tenant);
  assert.equal(cancelled.error!.message, 'not needed');
  assert.ok(!('ran' in cancelled.data), 'none of its code ran');
});

test('a deadline cancels, over a restart too, and the code is told why', async (t) => {
  const setting = setUp(t);
  const patient = defineWorkflow('Patient', async ({ events, data }: WorkflowContext) => {
    try {
      await events.waitFor('Never');
    } catch (error) {
      data.set('why', (error as Error).message);
      throw error;
    }
  });
  setting.runtime.registerWorkflow(patient);
  const id = await setting.runtime.startWorkflow('Patient', { tenant, deadline: '200ms' });
  await setting.reopen();
  setting.runtime.registerWorkflow(patient);
  const ended = await setting.runtime.waitForWorkflowCompletion(id, tenant);
  assert.equal(ended.status, 'cancelled');
  assert.equal(ended.data['why'], 'deadline');
  const asked = (await setting.runtime.getHistory(id, tenant)).find(({ type }) => type === 'CancelRequested');
  assert.deepEqual(asked!.attributes, { reason: 'deadline' });
});

test('times that make no sense are refused', async (t) => {
  const { runtime } = setUp(t);
  runtime.registerWorkflow(version('1.0.0'));
  const refused: Record<string, unknown>[] = [
    { startAt: 'tomorrow' },
    { startAt: new Date('tomorrow') },
    { deadline: -1 },
    { startAt: '2d', deadline: '1d' },
    { deadline: null },
  ];
  for (const options of refused) {
    await assert.rejects(runtime.startWorkflow('Order', { tenant, ...options }), InvalidArgumentError);
  }
  assert.deepEqual((await runtime.listExecutions({ tenant })).executions, []);
});
