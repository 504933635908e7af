// What docs/rules.md promises and no other test shows, on the real engine and a real file.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { defineWorkflow, type WorkflowContext } from 'pawl';
import { setUp, until } from './support/runtime.js';

const tenant = 'acme';

function event(event_name: string, payload?: unknown) {
  return { execution_id: 'a', event_name, tenant, payload };
}

// rule: 7
test('of waits that are open the first one created is offered an event first, and kept events go oldest first', async (t) => {
  const setting = setUp(t);
  const definition = defineWorkflow('Waits', async ({ events }: WorkflowContext) => {
    const open = await Promise.all(['first', 'second'].map(async (wait) => [wait, (await events.waitFor('Go')).payload]));
    await events.waitFor('Then');
    const kept = [];
    for (let n = 0; n < 2; n++) kept.push((await events.waitFor(['Kept', 'Other'])).payload);
    return [open, kept];
  });
  setting.runtime.registerWorkflow(definition);
  await setting.runtime.startWorkflow('Waits', { tenant, executionId: 'a' });
  for (const n of [1, 2, 3]) await setting.runtime.submitEvent(event(n === 2 ? 'Other' : 'Kept', n));
  await setting.runtime.submitEvent(event('Go', 'one'));
  const runtime = await setting.reopen();
  runtime.registerWorkflow(definition);
  await runtime.submitEvent(event('Go', 'two'));
  await runtime.submitEvent(event('Then'));
  const { result } = await runtime.waitForWorkflowCompletion('a', tenant);
  assert.deepEqual(result, [[['first', 'one'], ['second', 'two']], [1, 2]]);
  const left = (await runtime.getHistory('a', tenant)).filter(({ type }) => type === 'EventDiscarded');
  assert.equal(left.length, 1, 'what nobody took is recorded as discarded');
});

// rule: 8
test('a wait that lost a race takes the event that a later wait asks for', async (t) => {
  const { runtime } = setUp(t);
  runtime.registerWorkflow(
    defineWorkflow('Races', async ({ events, sleep, any }: WorkflowContext) => {
      const lost = events.waitFor('Go');
      await Promise.race([lost, sleep(1)]);
      const withdrawn = events.waitFor('Go');
      await any([withdrawn, sleep(1)]).catch(() => {});
      withdrawn.catch(() => {});
      const later = events.waitFor('Go');
      return [(await lost).payload, (await later).payload];
    }),
  );
  await runtime.startWorkflow('Races', { tenant, executionId: 'a' });
  await until(
    () => runtime.getHistory('a', tenant),
    (history) => history.filter(({ type }) => type === 'WaitStarted').length === 3,
  );
  await runtime.submitEvent(event('Go', 1));
  await runtime.submitEvent(event('Go', 2));
  assert.deepEqual((await runtime.waitForWorkflowCompletion('a', tenant)).result, [1, 2]);
});

// rules: 6, 10
test('submitEvent does not wait for the actions that follow, which name its event', async (t) => {
  const { runtime, registry } = setUp(t);
  let finish: ((result: string) => void) | undefined;
  registry.registerAction({ name: 'Slow' }, () => new Promise<string>((resolve) => (finish = resolve)));
  runtime.registerWorkflow(
    defineWorkflow('Answers', async ({ events, actions, setState }: WorkflowContext) => {
      await events.waitFor('Go');
      setState('going');
      return actions['slow']!();
    }),
  );
  await runtime.startWorkflow('Answers', { tenant, executionId: 'a' });
  const early = await runtime.submitEvent(event('Later'));
  assert.deepEqual([early.consumed, early.currentState], [false, 'initial']);
  const reply = await runtime.submitEvent(event('Go'));
  assert.deepEqual([reply.consumed, reply.currentState, reply.isComplete], [true, 'going', false]);
  await until(() => finish, Boolean);
  finish!('done');
  assert.equal((await runtime.waitForWorkflowCompletion('a', tenant)).result, 'done');
  const history = await runtime.getHistory('a', tenant);
  const go = history.find(({ type, name }) => type === 'EventReceived' && name === 'Go')!;
  for (const type of ['StateChanged', 'ActionScheduled', 'ActionCompleted', 'ExecutionCompleted']) {
    assert.equal(history.find((record) => record.type === type)!.cause, go.sequence, type);
  }
});

// rules: 18, 20
test('an action with other parameters than its record is a departure', async (t) => {
  const setting = setUp(t);
  let runs = 0;
  setting.registry.registerAction({ name: 'Pay', parameters: [], unknown: 'allow' }, () => ++runs);
  const version = (amount: number) =>
    defineWorkflow('Pays', async ({ actions, events }: WorkflowContext) => {
      await actions['pay']!({ amount });
      return (await events.waitFor('Go')).name;
    });
  setting.runtime.registerWorkflow(version(5));
  await setting.runtime.startWorkflow('Pays', { tenant, executionId: 'a' });
  await until(() => setting.runtime.getHistory('a', tenant), (history) => history.at(-1)!.type === 'WaitStarted');
  const before = await setting.runtime.getHistory('a', tenant);
  const runtime = await setting.reopen();
  runtime.registerWorkflow(version(6));
  await runtime.enqueueEvent(event('Go'));
  const stuck = await until(() => runtime.getExecutionState('a', tenant), ({ status }) => status === 'stuck');
  assert.match(stuck.error!.message, /pay/i);
  assert.deepEqual(await runtime.getHistory('a', tenant), before, 'the history is left as it is');
  // Mended by a deployment: another start of the engine, with the code of before.
  const mended = await setting.reopen();
  mended.registerWorkflow(version(5));
  assert.equal((await mended.waitForWorkflowCompletion('a', tenant)).result, 'Go');
  assert.equal(runs, 1);
});
