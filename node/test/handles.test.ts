// Starting by definition, and handles. What their types hold callers to: test/types.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  defineWorkflow,
  ExecutionEndedError,
  ExecutionFailedError,
  InvalidArgumentError,
  PayloadError,
  TimeoutError,
  UnknownExecutionError,
  UnknownWorkflowError,
} from 'pawl';
import { setUp } from './support/runtime.js';

const tenant = 'acme';

type Events = { Approve: { by: string }; Remind: undefined };

const review = defineWorkflow<Events, { amount: number }, { by: string; amount: number; reminders: number }>(
  'Review',
  async ({ events, input, setState }) => {
    for (let reminders = 0; ; ) {
      setState('open');
      const event = await events.waitFor(['Approve', 'Remind']);
      if (event.name === 'Approve') {
        setState('approved');
        return { by: `${event.payload.by}, ${event.user_id}`, amount: input.amount, reminders };
      }
      assert.equal(event.payload, undefined);
      reminders++;
    }
  },
);

const failing = defineWorkflow('Failing', async () => {
  throw Object.assign(new RangeError('the budget is spent', { cause: new Error('of this year') }), { code: 'E_SPENT' });
});

test('an execution is started by its definition, and used through a handle for it', async (t) => {
  const { runtime } = setUp(t);
  runtime.registerWorkflow(review);
  const id = await runtime.startWorkflow(review, { tenant, initialData: { amount: 5 }, executionId: 'r-1' });
  assert.equal(id, 'r-1');
  const handle = runtime.getHandle(review, id, tenant);
  assert.deepEqual([handle.executionId, handle.tenant], [id, tenant]);
  assert.equal((await handle.getState()).currentState, 'open');
  await assert.rejects(handle.result({ maxWait: 1 }), TimeoutError);

  const { processingId } = await handle.enqueueEvent('Remind');
  assert.ok(processingId);
  const remind = () => handle.submitEvent('Remind', undefined, { idempotencyKey: 'once' });
  assert.deepEqual(await remind(), await remind());
  const reply = await handle.submitEvent('Approve', { by: 'ann' }, { userId: 'u-1' });
  assert.deepEqual([reply.consumed, reply.isComplete, reply.currentState], [true, true, 'approved']);

  const expected = { by: 'ann, u-1', amount: 5, reminders: 2 };
  assert.deepEqual(await handle.result(), expected);
  assert.deepEqual(await runtime.getHandle(id, tenant).result(), expected);
  assert.deepEqual((await handle.waitForCompletion()).result, expected);
  assert.equal((await handle.getState({ atSequence: 1 })).isComplete, false);
  assert.equal((await handle.getHistory()).filter(({ type }) => type === 'EventReceived').length, 3);
});

test('a definition starts its own version, a name the highest', async (t) => {
  const { runtime } = setUp(t);
  const versions = ['1.0.0', '2.0.0'].map((version) =>
    defineWorkflow({ name: 'Versioned', version }, async () => version),
  );
  for (const definition of versions) runtime.registerWorkflow(definition);
  const started = [
    await runtime.startWorkflow(versions[0]!, { tenant }),
    await runtime.startWorkflow(versions[1]!, { tenant }),
    await runtime.startWorkflow('Versioned', { tenant }),
  ];
  const results = await Promise.all(started.map((id) => runtime.getHandle(versions[0]!, id, tenant).result()));
  assert.deepEqual(results, ['1.0.0', '2.0.0', '2.0.0']);

  const third = defineWorkflow({ name: 'Versioned', version: '3.0.0' }, async () => '3.0.0');
  await assert.rejects(
    runtime.startWorkflow(third, { tenant }),
    (error: Error) => error instanceof UnknownWorkflowError && /not with version 3\.0\.0/.test(error.message),
  );
  await assert.rejects(runtime.startWorkflow(review, { tenant, initialData: { amount: 1 } }), UnknownWorkflowError);
  // @ts-expect-error: the version is the definition's
  await assert.rejects(runtime.startWorkflow(versions[0]!, { tenant, version: '2.0.0' }), InvalidArgumentError);
  // @ts-expect-error: no definition
  await assert.rejects(runtime.startWorkflow({ name: 'Versioned' }, { tenant }), InvalidArgumentError);
  // @ts-expect-error: nothing at all
  await assert.rejects(runtime.startWorkflow(null, { tenant }), InvalidArgumentError);
});

test('result() rejects with what the function threw as its cause', async (t) => {
  const { runtime } = setUp(t);
  runtime.registerWorkflow(failing);
  const id = await runtime.startWorkflow(failing, { tenant });
  const handle = runtime.getHandle(failing, id, tenant);
  const error = await handle.result().then(assert.fail, (error: unknown) => error);
  assert.ok(error instanceof ExecutionFailedError);
  assert.deepEqual([error.name, error.code, error.executionId, error.status], ['ExecutionFailedError', 'execution_failed', id, 'failed']);
  assert.equal(error.message, `Execution '${id}' of workflow 'Failing' failed: RangeError: the budget is spent`);
  const cause = error.cause as Error & { code: string };
  assert.deepEqual([cause.name, cause.message, cause.code], ['RangeError', 'the budget is spent', 'E_SPENT']);
  assert.equal((cause.cause as Error).message, 'of this year');
  assert.equal((await handle.waitForCompletion()).status, 'failed');
  await assert.rejects(handle.enqueueEvent('Late'), ExecutionEndedError);
});

test('result() tells of a cancelled and a terminated execution', async (t) => {
  const { runtime } = setUp(t);
  runtime.registerWorkflow(review);
  for (const [verb, status] of [['cancel', 'cancelled'], ['terminate', 'terminated']] as const) {
    const handle = runtime.getHandle(
      review,
      await runtime.startWorkflow(review, { tenant, initialData: { amount: 1 } }),
      tenant,
    );
    await handle[verb]({ reason: 'out of stock' });
    const error = await handle.result().then(() => assert.fail(), (error: unknown) => error);
    assert.ok(error instanceof ExecutionFailedError);
    assert.equal(error.status, status);
    assert.match(error.message, new RegExp(`^Execution '.*' of workflow 'Review' was ${status}: .*: out of stock$`));
    assert.equal((error.cause as Error).message, 'out of stock');
  }
});

test('a handle refuses what can not be meant', async (t) => {
  const { runtime } = setUp(t);
  runtime.registerWorkflow(review);
  runtime.registerWorkflow(failing);
  const id = await runtime.startWorkflow(failing, { tenant });

  const wrong = runtime.getHandle(review, id, tenant);
  for (const read of ['result', 'getState', 'waitForCompletion'] as const) {
    await assert.rejects(
      wrong[read](),
      (error: Error) =>
        error instanceof InvalidArgumentError && /is one of workflow 'Failing', .* for 'Review'/.test(error.message),
    );
  }
  const other = runtime.getHandle(failing, id, 'other');
  await assert.rejects(other.result(), UnknownExecutionError);
  await assert.rejects(other.submitEvent('Any'), UnknownExecutionError);

  const open = runtime.getHandle(
    review,
    await runtime.startWorkflow(review, { tenant, initialData: { amount: 1 } }),
    tenant,
  );
  // @ts-expect-error: no such option
  await assert.rejects(open.submitEvent('Remind', undefined, { user_id: 'ann' }), InvalidArgumentError);
  // @ts-expect-error: can't be carried
  await assert.rejects(open.enqueueEvent('Approve', { by: () => 'ann' }), PayloadError);
  assert.throws(() => runtime.getHandle('', tenant), InvalidArgumentError);
  // @ts-expect-error: no tenant
  assert.throws(() => runtime.getHandle(review, id), InvalidArgumentError);
  // @ts-expect-error: no definition
  assert.throws(() => runtime.getHandle({ name: 'Review' }, id, tenant), InvalidArgumentError);
});
