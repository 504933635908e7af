// context.compensations on the real engine.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  CompensationError,
  defineWorkflow,
  InvalidArgumentError,
  NonRetryableError,
  PayloadError,
  type WorkflowContext,
} from 'pawl';
import { setUp, until, type Setting } from './support/runtime.js';

const tenant = 'acme';

function setUpBookings(t: Parameters<typeof setUp>[0]): Setting & { ran: unknown[] } {
  const setting = setUp(t);
  const ran: unknown[] = [];
  setting.registry.registerAction({ name: 'Undo', parameters: [], unknown: 'allow' }, (params) => {
    ran.push(params['what']);
    if (params['fails']) throw new NonRetryableError(`${params['what']} stays`);
  });
  return Object.assign(setting, { ran });
}

async function outcomeOf(setting: Setting, fn: (context: WorkflowContext) => Promise<unknown>) {
  const { runtime } = setting;
  runtime.registerWorkflow(defineWorkflow('Booking', fn));
  return runtime.waitForWorkflowCompletion(await runtime.startWorkflow('Booking', { tenant }), tenant);
}

test('the last one first, one after the other, each once', async (t) => {
  const setting = setUpBookings(t);
  const { status } = await outcomeOf(setting, async ({ compensations }) => {
    const { add, run } = compensations;
    await run();
    add('Undo', { what: 'a' });
    const what = { what: 'b' };
    add('undo', what);
    what.what = 'changed';
    await run();
    await run();
    add('undo', { what: 'c' });
    const both = [run(), (add('undo', { what: 'd' }), run())];
    await Promise.all(both);
  });
  assert.equal(status, 'completed');
  assert.deepEqual(setting.ran, ['b', 'a', 'c', 'd']);
});

test('one that fails keeps none of the others from running, and is reported', async (t) => {
  const setting = setUpBookings(t);
  const { status, error, result } = await outcomeOf(setting, async ({ compensations }) => {
    compensations.add('undo', { what: 'a' });
    compensations.add('undo', { what: 'b', fails: true });
    compensations.add('undo', { what: 'c' });
    compensations.add('undo', { what: 'd', fails: true });
    try {
      await compensations.run();
    } catch (caught) {
      assert.ok(caught instanceof CompensationError);
      assert.equal(caught.code, 'compensation_failed');
      assert.deepEqual(caught.errors.map(({ message }) => message), ['d stays', 'b stays']);
      assert.equal(caught.cause, caught.errors[0]);
      const [first] = caught.failed;
      assert.deepEqual([first!.action, first!.parameters], ['undo', { what: 'd', fails: true }]);
      await compensations.run(); // none is left
      throw caught;
    }
  });
  assert.deepEqual(setting.ran, ['d', 'c', 'b', 'a']);
  assert.deepEqual([status, result], ['failed', undefined]);
  assert.equal(error!.name, 'CompensationError');
  assert.equal(error!.message, '2 of 4 compensations failed: undo: d stays; undo: b stays');
  assert.deepEqual(error!.details, {
    failed: [
      { action: 'undo', parameters: { what: 'd', fails: true }, message: 'd stays' },
      { action: 'undo', parameters: { what: 'b', fails: true }, message: 'b stays' },
    ],
  });
});

test('what can not be carried or run is refused where it is added', async (t) => {
  const setting = setUpBookings(t);
  const { status } = await outcomeOf(setting, async ({ compensations }) => {
    assert.throws(() => compensations.add('undo', { n: NaN }), PayloadError);
    assert.throws(() => compensations.add(''), InvalidArgumentError);
    assert.throws(() => compensations.add('undo', {}, { retry: { maxAttempts: 0 } }), InvalidArgumentError);
    await compensations.run();
  });
  assert.equal(status, 'completed');
  assert.deepEqual(setting.ran, []);
});

test('options are those of a call', async (t) => {
  const setting = setUp(t);
  let attempts = 0;
  setting.registry.registerAction({ name: 'Flaky' }, () => {
    attempts++;
    throw new Error('never');
  });
  const { status } = await outcomeOf(setting, async ({ compensations }) => {
    compensations.add('flaky', {}, { retry: { maxAttempts: 2, initialInterval: 1 } });
    await compensations.run();
  });
  assert.deepEqual([status, attempts], ['failed', 2]);
});

test('after cancellation they run; what the cancellation stops counts as failed', async (t) => {
  const setting = setUpBookings(t);
  let began = false;
  setting.registry.registerAction({ name: 'Slow', parameters: [], unknown: 'allow' }, (_, { signal }) => {
    began = true;
    return new Promise((_resolve, reject) => {
      signal.addEventListener('abort', () => reject(signal.reason as Error));
    });
  });
  const { runtime } = setting;
  runtime.registerWorkflow(
    defineWorkflow('Booking', async ({ compensations, events }: WorkflowContext) => {
      compensations.add('undo', { what: 'first' });
      compensations.add('slow', { what: 'slow' });
      try {
        await events.waitFor('Confirm', { timeout: 1 });
      } catch {
        await compensations.run();
      }
    }),
  );
  const id = await runtime.startWorkflow('Booking', { tenant });
  await until(() => began, Boolean);
  await runtime.cancelWorkflow(id, tenant);
  const { error } = await runtime.waitForWorkflowCompletion(id, tenant);
  assert.deepEqual(setting.ran, ['first']);
  assert.equal(error!.name, 'CompensationError');
});
