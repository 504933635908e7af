// Another process reads the store that a runtime has open.
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import {
  AlreadyExistsError,
  ClosedError,
  defineWorkflow,
  ExecutionEndedError,
  InvalidArgumentError,
  openClient,
  StoreError,
  UnknownExecutionError,
  type WorkflowContext,
} from 'pawl';
import { setUp, temporaryFolder, until } from './support/runtime.js';
import { Program } from './support/program.js';

const tenant = 'acme';

test('a client reads what a runtime in another process writes', async (t) => {
  const folder = temporaryFolder(t);
  const store = `sqlite:${join(folder, 'served.db')}`;
  await assert.rejects(openClient(store), StoreError);
  await assert.rejects(openClient('served.db'), InvalidArgumentError);
  const server = Program.run('serve', [store, join(folder, 'journal'), '', 'start a', 'start b', 'finish a']);
  t.after(() => server.process.kill('SIGKILL'));
  await server.says('ready');
  const client = await openClient(store);
  const state = await client.getExecutionState('a', tenant);
  assert.equal(state.status, 'completed');
  assert.deepEqual(state.result, ['one', 'two', 'three']);
  assert.deepEqual(state.data, { results: ['one', 'two'] });
  const history = await client.getHistory('a', tenant);
  assert.equal(history.length, state.sequence);
  assert.equal(history[0]!.type, 'ExecutionStarted');
  const first = await client.getExecutionState('a', tenant, { atSequence: 1 });
  assert.equal(first.status, 'running');
  assert.deepEqual(first.data, {});
  const { executions, cursor } = await client.listExecutions({ tenant, limit: 1 });
  assert.equal(executions[0]!.executionId, 'b');
  const rest = await client.listExecutions({ tenant, cursor: cursor! });
  assert.deepEqual(rest.executions.map(({ executionId }) => executionId), ['a']);
  await assert.rejects(client.getExecutionState('nobody', tenant), UnknownExecutionError);
  await assert.rejects(client.getHistory('a', 'other'), UnknownExecutionError);
  await assert.rejects(client.getExecutionState('a', tenant, { atSequence: 0 }), InvalidArgumentError);

  // It may go, at any moment.
  server.process.kill('SIGKILL');
  await server.ended();
  assert.equal((await client.getExecutionState('b', tenant)).executionId, 'b');
  await client.close();
  await assert.rejects(client.getHistory('a', tenant), ClosedError);
});

// rule: 14
test('a client completes actions by their tokens', async (t) => {
  const setting = setUp(t);
  const tokens: string[] = [];
  setting.registry.registerSimpleAction('Sign', '', [], async (_, context) => {
    tokens.push(context.token);
    return context.completeLater();
  });
  setting.runtime.registerWorkflow(
    defineWorkflow('Contract', ({ actions }: WorkflowContext) =>
      actions['sign']!({}).catch((error: Error & { code: string }) => `${error.name} ${error.message} ${error.code}`),
    ),
  );
  const ids = [];
  for (let i = 0; i < 2; i++) {
    ids.push(await setting.runtime.startWorkflow('Contract', { tenant }));
    await until(() => tokens.length, (length) => length === i + 1);
  }
  const client = await openClient(setting.store);
  t.after(() => client.close());
  const [first, second] = tokens as [string, string];
  await client.completeAction(first, { by: 'ann' });
  await client.failAction(second, Object.assign(new RangeError('no pen'), { code: 'E_PEN' }));
  const results = await Promise.all(ids.map((id) => setting.runtime.waitForWorkflowCompletion(id, tenant)));
  assert.deepEqual(results.map(({ result }) => result), [{ by: 'ann' }, 'RangeError no pen E_PEN']);
  await assert.rejects(client.completeAction(first, 2), ExecutionEndedError);
  await assert.rejects(client.completeAction('nonsense', 2), InvalidArgumentError);
  await assert.rejects(client.completeAction(7 as never), InvalidArgumentError);
  await assert.rejects(client.failAction(first, undefined), InvalidArgumentError);
  await assert.rejects(client.completeAction(`${first.split('@')[0]}@others`), UnknownExecutionError);
});

test('what a client sends is taken up by a runtime in another process, and by the next one', async (t) => {
  const folder = temporaryFolder(t);
  const store = `sqlite:${join(folder, 'served.db')}`;
  const serve = () => Program.run('serve', [store, join(folder, 'journal'), '']);
  const first = serve();
  t.after(() => first.process.kill('SIGKILL'));
  await first.says('ready');
  const client = await openClient(store);
  t.after(() => client.close());
  const id = await client.startWorkflow('Survivor', { tenant, idempotencyKey: 'order 7' });
  assert.equal(await client.startWorkflow('Survivor', { tenant, idempotencyKey: 'order 7' }), id);
  await until(
    () => client.getExecutionState(id, tenant).catch(() => undefined),
    (state) => state?.currentState === 'waiting',
  );
  const event = { execution_id: id, event_name: 'Finish', tenant, payload: 'three', idempotency_key: 'k' };
  const sent = await client.enqueueEvent(event);
  assert.deepEqual(await client.enqueueEvent(event), sent);
  const ended = await until(
    () => client.getExecutionState(id, tenant),
    ({ isComplete }) => isComplete,
  );
  assert.deepEqual(ended.result, ['one', 'two', 'three']);
  await assert.rejects(client.enqueueEvent({ ...event, idempotency_key: 'other' }), ExecutionEndedError);
  await assert.rejects(client.enqueueEvent({ ...event, execution_id: 'nobody' }), UnknownExecutionError);
  await assert.rejects(
    client.startWorkflow('Survivor', { tenant, idempotencyKey: 'order 7', initialData: { other: true } }),
    AlreadyExistsError,
  );

  first.process.kill('SIGKILL');
  await first.ended();
  await client.startWorkflow('Survivor', { tenant, executionId: 'late' });
  await client.startWorkflow('Survivor', { tenant, executionId: 'never' });
  await client.enqueueEvent({ execution_id: 'late', event_name: 'Finish', tenant, payload: 3 });
  await client.terminateWorkflow('never', tenant, { by: 'ann' });
  const second = serve();
  t.after(() => second.process.kill('SIGKILL'));
  const late = await until(
    () => client.getExecutionState('late', tenant).catch(() => undefined),
    (state) => state?.isComplete === true,
  );
  assert.deepEqual(late!.result, ['one', 'two', 3]);
});
