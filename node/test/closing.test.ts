// What close() waits for, and what it leaves to the next opening.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { join } from 'node:path';
import { test } from 'node:test';
import { type ActionParameter, ClosedError, defineWorkflow, InvalidArgumentError, ValidationError, type WorkflowContext } from 'pawl';
import { Program } from './support/program.js';
import { setUp, temporaryFolder, until } from './support/runtime.js';

const tenant = 'acme';
const parameters: ActionParameter[] = [{ name: 'number', type: 'number', required: false }];

const twice = defineWorkflow('Twice', async ({ actions }: WorkflowContext) => [
  await actions['step']!({ number: 1 }),
  await actions['step']!({ number: 2 }),
]);

/** A promise, and what resolves it. */
function gate(): { opened: Promise<void>; open: () => void } {
  let open!: () => void;
  const opened = new Promise<void>((resolve) => (open = resolve));
  return { opened, open };
}

// rules: 10, 14
test('close() waits for the action under way, whose result counts; the next one begins later', async (t) => {
  const setting = setUp(t);
  const ran: [number: number, aborted: boolean][] = [];
  const begun = gate();
  const goOn = gate();
  setting.registry.registerAction({ name: 'Step', parameters }, async ({ number }: any, { signal }) => {
    begun.open();
    await goOn.opened;
    ran.push([number, signal.aborted]);
    return `step ${number}`;
  });
  setting.runtime.registerWorkflow(twice);
  const id = await setting.runtime.startWorkflow('Twice', { tenant });
  await begun.opened;
  const waiting = assert.rejects(setting.runtime.waitForWorkflowCompletion(id, tenant), ClosedError);
  const closing = setting.runtime.close({ drain: '1h' });
  assert.equal(setting.runtime.close({ drain: 0 }), closing, 'again: the same promise');
  await assert.rejects(setting.runtime.startWorkflow('Twice', { tenant }), ClosedError);
  await assert.rejects(setting.runtime.getHistory(id, tenant), ClosedError);
  goOn.open();
  await closing;
  await waiting;
  assert.deepEqual(ran, [[1, false]]);
  const runtime = await setting.reopen();
  runtime.registerWorkflow(twice);
  assert.deepEqual((await runtime.waitForWorkflowCompletion(id, tenant)).result, ['step 1', 'step 2']);
  assert.deepEqual(ran, [[1, false], [2, false]], 'the first did not run again');
});

// rule: 14
test('an action that goes on after the drain is told, and runs again under its key', async (t) => {
  const setting = setUp(t);
  const keys: string[] = [];
  const begun = gate();
  let told = '';
  setting.registry.registerAction({ name: 'Step', parameters }, async (_, { signal, idempotencyKey }) => {
    keys.push(idempotencyKey);
    if (keys.length > 1) return keys.length;
    begun.open();
    await once(signal, 'abort');
    told = signal.reason.name;
    return 'too late';
  });
  setting.runtime.registerWorkflow(twice);
  const id = await setting.runtime.startWorkflow('Twice', { tenant });
  await begun.opened;
  await setting.runtime.close({ drain: '1ms' });
  await until(() => told, (name) => name === 'AbortError');
  const runtime = await setting.reopen();
  runtime.registerWorkflow(twice);
  assert.deepEqual((await runtime.waitForWorkflowCompletion(id, tenant)).result, [2, 3]);
  assert.equal(keys[0], keys[1]);
});

// rule: 10
test('calls that were made before close() get their answers', async (t) => {
  const setting = setUp(t);
  const begun = gate();
  setting.registry.registerAction({ name: 'Step' }, () => {
    begun.open();
    return 'done';
  });
  const waits = defineWorkflow('Waits', async ({ events, setState }: WorkflowContext) => {
    for (;;) setState((await events.waitFor('Go')).payload as string);
  });
  setting.runtime.registerWorkflow(waits);
  const id = await setting.runtime.startWorkflow('Waits', { tenant });
  const event = (payload: string) => ({ execution_id: id, event_name: 'Go', tenant, payload });
  const calls = Promise.all([
    setting.runtime.submitEvent(event('one')),
    setting.runtime.startWorkflow('Waits', { tenant, executionId: 'other' }),
    setting.runtime.forkWorkflow(id, tenant, { executionId: 'fork' }),
    setting.runtime.getExecutionState(id, tenant),
    setting.registry.executeAction('Step', { tenant, idempotencyKey: 'k' }),
    setting.runtime.submitEvent(event('two')),
  ]);
  // They are with the engine once what they wait for is settled.
  await Promise.resolve();
  await new Promise(setImmediate);
  // Nothing begins while it drains.
  await begun.opened;
  await setting.runtime.close();
  const [one, other, fork, , executed, two] = await calls;
  assert.deepEqual([one.currentState, other, fork, executed, two.currentState], ['one', 'other', 'fork', 'done', 'two']);
  const runtime = await setting.reopen();
  assert.equal((await runtime.getExecutionState(id, tenant)).currentState, 'two');
});

test('what close() is given is checked, and leaves the runtime open where it is wrong', async (t) => {
  const { runtime } = setUp(t);
  await runtime.startWorker();
  await assert.rejects(runtime.close({ drain: 'soon' }), InvalidArgumentError);
  await assert.rejects(runtime.close({ drian: '1s' } as never), /knows no 'drian'. Did you mean 'drain'/);
  assert.deepEqual((await runtime.listExecutions({ tenant })).executions, []);
});

test('process.exit() does not wait for a drain', async (t) => {
  const program = Program.run('open', [`sqlite:${join(temporaryFolder(t), 'a.db')}`, 'drain']);
  await program.says('draining');
  program.process.kill('SIGTERM');
  assert.deepEqual(await program.ended(), { code: 4, signal: null }, program.output);
});

// rule: 9
test('parameters that are refused use up no key', async (t) => {
  const { registry, runtime, store } = setUp(t);
  registry.registerSimpleAction('Pay', '', [{ name: 'amount', type: 'number', required: true }], ({ amount }) => amount);
  const request = { tenant, idempotencyKey: 'k' };
  await assert.rejects(registry.executeAction('Pya', { ...request, parameters: { amount: 1 } }), { code: 'unknown_action' });
  for (const parameters of [undefined, {}, { amount: '1' }, { amount: 1, amuont: 2 }]) {
    await assert.rejects(registry.executeAction('Pay', { ...request, parameters }), ValidationError);
  }
  await assert.rejects(registry.executeAction('Pay', { ...request, parameters: { amount: 1n } }), { name: 'PayloadError' });
  assert.equal((await runtime.counters()).commits, 0, store);
  assert.equal(await registry.executeAction('Pay', { ...request, parameters: { amount: 5 } }), 5);
});
