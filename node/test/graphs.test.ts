// Graphs of actions, in workflows and outside of them, on the real engine and a real file.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  ClosedError,
  createActionExecutor,
  defineWorkflow,
  InvalidArgumentError,
  NonRetryableError,
  type ActionExecutionResult,
  type ActionRegistry,
  type ActionToExecute,
  type WorkflowContext,
} from 'pawl';
import { setUp } from './support/runtime.js';

const tenant = 'acme';

/** Actions that note that they ran; `fail` throws. */
function registerActions(registry: ActionRegistry): string[] {
  const ran: string[] = [];
  for (const name of ['echo', 'undo']) {
    registry.registerAction({ name, parameters: [], unknown: 'allow' }, async (params: any) => {
      ran.push(name === 'undo' ? `undo ${params.id}` : params.id);
      return params.id;
    });
  }
  registry.registerAction({ name: 'fail', parameters: [], unknown: 'allow' }, async (params: any, { attempt }) => {
    ran.push(`${params.id} ${attempt}`);
    throw Object.assign(new NonRetryableError('no stock'), { name: 'NoStock', code: 'E_STOCK' });
  });
  return ran;
}

function action(id: string, dependsOn: string[] = [], more: Partial<ActionToExecute> = {}): ActionToExecute {
  return { id, name: 'echo', parameters: { id }, dependsOn, ...more };
}

/** A workflow that runs what it is given, and gives back what code sees of it. */
const graph = defineWorkflow('Graph', async ({ executeActions, input }: WorkflowContext) => {
  const results = await executeActions(input.actions, input.options);
  return results.map(({ error, ...rest }) =>
    error === undefined ? rest : { ...rest, error: [error instanceof Error, error.name, error.message] },
  );
});

const summary = (results: ActionExecutionResult[]) =>
  results.map(({ actionId, success, attempts }) => `${actionId} ${success ? 'succeeded' : 'failed'} ${attempts}`);

// rule: 16
test('actions run as their dependencies let them; results come in the order given', async (t) => {
  const { runtime, registry } = setUp(t);
  const ran = registerActions(registry);
  runtime.registerWorkflow(graph);
  const actions = [action('c', ['a', 'ready']), action('a'), action('b', [], { syncPoint: 'ready' })];
  const id = await runtime.startWorkflow('Graph', { tenant, initialData: { actions } });
  const { result } = await runtime.waitForWorkflowCompletion(id, tenant);
  assert.deepEqual(result, [
    { actionId: 'c', actionName: 'echo', success: true, result: 'c', attempts: 1 },
    { actionId: 'a', actionName: 'echo', success: true, result: 'a', attempts: 1 },
    { actionId: 'b', actionName: 'echo', success: true, result: 'b', attempts: 1 },
  ]);
  assert.deepEqual(ran, ['a', 'b', 'c']);
});

// rule: 16
test('stop, continue, retry and compensate; errors are errors', async (t) => {
  const { runtime, registry } = setUp(t);
  const ran = registerActions(registry);
  runtime.registerWorkflow(graph);
  const outcome = async (actions: ActionToExecute[]) => {
    ran.length = 0;
    const id = await runtime.startWorkflow('Graph', { tenant, initialData: { actions } });
    return (await runtime.waitForWorkflowCompletion(id, tenant)).result;
  };
  const stopped = await outcome([action('a', [], { name: 'fail' }), action('b', ['a'])]);
  assert.deepEqual(stopped[0].error, [true, 'NoStock', 'no stock']);
  assert.equal(stopped[1].error[1], 'ActionSkippedError');
  assert.equal(stopped[1].attempts, 0);
  assert.deepEqual(ran, ['a 1']);

  const went = await outcome([action('a', [], { name: 'fail', errorStrategy: 'continue' }), action('b', ['a'])]);
  assert.deepEqual(summary(went), ['a failed 1', 'b succeeded 1']);

  const retry = { initialInterval: 1 };
  const tried = await outcome([action('a', [], { name: 'fail', errorStrategy: 'retry', maxRetries: 2, retry })]);
  assert.deepEqual(summary(tried), ['a failed 3']);
  assert.deepEqual(ran, ['a 1', 'a 2', 'a 3']);

  const undo = (id: string) => ({ compensationActions: [{ name: 'undo', parameters: { id } }] });
  const undone = await outcome([
    action('a', [], undo('a')),
    action('b', ['a'], undo('b')),
    action('c', ['b'], { name: 'fail', errorStrategy: 'compensate', ...undo('c') }),
  ]);
  assert.deepEqual(ran, ['a', 'b', 'c 1', 'undo b', 'undo a']);
  assert.deepEqual(undone[0].compensations, [{ actionName: 'undo', success: true, result: 'a', attempts: 1 }]);
  assert.equal(undone[2].compensations, undefined);
});

// rule: 16
test('no more run at once than maxConcurrency says', async (t) => {
  const { runtime, registry } = setUp(t);
  let running = 0;
  let most = 0;
  registry.registerAction({ name: 'echo', parameters: [], unknown: 'allow' }, async () => {
    most = Math.max(most, ++running);
    await new Promise((resolve) => setTimeout(resolve, 2));
    running--;
  });
  runtime.registerWorkflow(graph);
  const actions = Array.from({ length: 30 }, (_, i) => action(`${i}`));
  const id = await runtime.startWorkflow('Graph', { tenant, initialData: { actions, options: { maxConcurrency: 4 } } });
  await runtime.waitForWorkflowCompletion(id, tenant);
  assert.equal(most, 4);
});

// rule: 16
test('what can not run is refused before anything does', async (t) => {
  const { runtime, registry } = setUp(t);
  const ran = registerActions(registry);
  const refusals = defineWorkflow('Refused', async ({ executeActions, input }: WorkflowContext) => {
    const messages: string[] = [];
    for (const actions of input.graphs) {
      await executeActions(actions).catch((error: Error) => messages.push(`${error.name}: ${error.message}`));
    }
    return messages;
  });
  runtime.registerWorkflow(refusals);
  const graphs = [
    [action('a', ['b']), action('b', ['a'])],
    [action('a'), action('a')],
    [action('stock'), action('b', ['stok'])],
    [action('a', [], { errorStrategy: 'explode' as 'stop' })],
    [{ ...action('a'), dependson: [] }],
    [action('a', [], { maxRetries: -1 })],
    [5],
  ];
  const id = await runtime.startWorkflow('Refused', { tenant, initialData: { graphs } });
  const { result } = await runtime.waitForWorkflowCompletion(id, tenant);
  assert.deepEqual(result, [
    "InvalidArgumentError: The actions of the graph wait for one another: 'a' waits for 'b', which waits for 'a'.",
    "InvalidArgumentError: Two actions of the graph have the id 'a'.",
    "InvalidArgumentError: Action 'b' depends on 'stok', which is no action, sync point or group of the graph; did you mean stock?",
    "InvalidArgumentError: actions[0].errorStrategy can be stop, continue, retry, compensate, not 'explode'",
    "InvalidArgumentError: actions[0] knows no 'dependson'. Did you mean 'dependsOn'?",
    'InvalidArgumentError: actions[0].maxRetries must be a whole number from 0 to 1000000, not -1',
    'InvalidArgumentError: actions[0] must be an object with id and name, not a number',
  ]);
  assert.deepEqual(ran, []);
});

// rule: 16
test('an executor runs a graph outside of workflows, once per event', async (t) => {
  const { runtime, registry } = setUp(t);
  const ran = registerActions(registry);
  const executor = createActionExecutor({ registry, maxConcurrency: 2 });
  const actions = [action('b', ['a']), action('a'), action('c', ['b'], { name: 'fail' })];
  const event = { id: 'evt-1', name: 'Submit', payload: {} };
  const results = await executor.executeActions(actions, event, tenant);
  assert.deepEqual(summary(results), ['b succeeded 1', 'a succeeded 1', 'c failed 1']);
  assert.ok(results[2]!.error instanceof Error);
  assert.equal(String(results[2]!.error), 'NoStock: no stock');
  assert.equal((results[2]!.error as Error & { code: string }).code, 'E_STOCK');
  assert.deepEqual(await executor.executeActions(actions, event, tenant), results);
  assert.deepEqual(ran, ['a', 'b', 'c 1'], 'the same event with the same actions runs nothing again');
  const other = createActionExecutor({ registry, maxConcurrency: 3 });
  const turned = actions.map((each) => Object.fromEntries(Object.entries(each).reverse()) as unknown as ActionToExecute);
  assert.deepEqual(await other.executeActions(turned, { event_id: 'evt-1' }, tenant), results);
  assert.deepEqual(ran, ['a', 'b', 'c 1'], 'nor with another bound, or written in another order');
  await executor.executeActions([action('d')], event, tenant);
  await executor.executeActions(actions.slice(0, 2), {}, tenant);
  await executor.executeActions(actions.slice(0, 2), {}, tenant);
  assert.deepEqual(ran.slice(3), ['d', 'a', 'b', 'a', 'b']);
  assert.deepEqual(await executor.executeActions([], event, tenant), []);
  await assert.rejects(executor.executeActions([action('a', ['a'])], event, tenant), InvalidArgumentError);
  await assert.rejects(executor.executeActions('a' as any, event, tenant), InvalidArgumentError);
  await assert.rejects(executor.executeActions(actions, undefined as any, tenant), InvalidArgumentError);
  assert.equal((await runtime.listExecutions({ tenant, workflow: 'pawl.executeActions' })).executions.length, 5);
  for (const options of [null, 5, { maxConcurrency: 0 }, { maxConcurrency: Infinity }, { concurrency: 1 }]) {
    assert.throws(() => createActionExecutor(options as any), InvalidArgumentError, String(options));
  }
  await runtime.close();
  await assert.rejects(executor.executeActions(actions, event, tenant), ClosedError);
});

// rule: 16
test('an executor gives results that are larger than a result of a workflow may be', async (t) => {
  const { registry } = setUp(t, { limits: { payloadBytesMax: 10_000 } });
  registry.registerAction({ name: 'echo', parameters: [], unknown: 'allow' }, () => 'x'.repeat(9_000));
  const results = await createActionExecutor({ registry }).executeActions([action('a'), action('b')], { id: 'e' }, tenant);
  assert.deepEqual(results.map(({ result }) => result.length), [9_000, 9_000]);
});
