// The built-in actions that start executions and send events, on the real engine and a real file.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { defineWorkflow, type WorkflowContext } from 'pawl';
import { setUp } from './support/runtime.js';

const tenant = 'acme';

// rules: 9, 14, 24
test('an execution is started and sent an event, once each, though the actions are tried again', async (t) => {
  const setting = setUp(t);
  const { runtime, registry } = setting;
  runtime.registerWorkflow(
    defineWorkflow('Listener', async ({ events, input }: WorkflowContext) => [input, (await events.waitFor('Hello')).payload]),
  );
  const ask = (name: string, idempotencyKey: string, parameters: object) =>
    registry.executeAction(name, { tenant, idempotencyKey, parameters }) as Promise<any>;
  const { executionId } = await ask('start_workflow', 'start', { workflow: 'Listener', input: { n: 1 } });
  assert.deepEqual(await ask('start_workflow', 'start', { workflow: 'Listener', input: { n: 1 } }), { executionId });
  const named = await ask('startWorkflow', 'named', { workflow: 'Listener', executionId: 'listener-1', version: '1.0.0' });
  assert.deepEqual(named, { executionId: 'listener-1' });
  const sent = await ask('emit_event', 'hello', { executionId, name: 'Hello', payload: { from: 'ann' } });
  assert.equal(typeof sent.eventId, 'string');
  const { result } = await runtime.waitForWorkflowCompletion(executionId, tenant);
  assert.deepEqual(result, [{ n: 1 }, { from: 'ann' }]);
  for (const [name, parameters, code] of [
    ['start_workflow', { workflow: 'Nobody' }, 'unknown_workflow'],
    ['emit_event', { executionId: 'nobody', name: 'Hello' }, 'unknown_execution'],
    ['emit_event', { executionId, name: 'Hello' }, 'execution_ended'],
  ] as const) {
    await assert.rejects(ask(name, code, parameters), (error: any) => {
      assert.deepEqual([error.code, error.failureClass], [code, 'permanent']);
      return true;
    });
  }
  assert.equal((await runtime.listExecutions({ tenant })).executions.length, 2);
});

// rule: 14
test('a workflow starts another one that is nobody’s child', async (t) => {
  const { runtime } = setUp(t);
  runtime.registerWorkflow(defineWorkflow('Other', async ({ input }: WorkflowContext) => input));
  runtime.registerWorkflow(
    defineWorkflow('Starter', async ({ actions }: WorkflowContext) => actions['startWorkflow']!({ workflow: 'Other', input: 7 })),
  );
  const id = await runtime.startWorkflow('Starter', { tenant });
  const { executionId } = (await runtime.waitForWorkflowCompletion(id, tenant)).result;
  assert.equal((await runtime.waitForWorkflowCompletion(executionId, tenant)).result, 7);
});
