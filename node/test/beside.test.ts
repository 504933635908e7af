// Another process reads the store that a runtime has open.
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import {
  ClosedError,
  InvalidArgumentError,
  openClient,
  StoreError,
  UnknownExecutionError,
} from 'pawl';
import { temporaryFolder } from './support/runtime.js';
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
