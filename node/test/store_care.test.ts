// Backups, the check of a store, and a history that grows long.
import assert from 'node:assert/strict';
import { existsSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import {
  AlreadyExistsError,
  checkStore,
  defineWorkflow,
  InvalidArgumentError,
  StoreError,
  type WorkflowContext,
} from 'pawl';
import { setUp, until } from './support/runtime.js';
import { Program } from './support/program.js';

const tenant = 'acme';

const order = defineWorkflow('Order', async ({ actions, events, setState, data }: WorkflowContext) => {
  data.set('paid', await actions['pay']!({}));
  setState('waiting');
  await events.waitFor('Go');
  return 'gone';
});

test('a backup is a store of its own: its executions go on from it', async (t) => {
  const { folder, runtime, registry, reopen } = setUp(t);
  registry.registerAction({ name: 'Pay' }, () => 7);
  runtime.registerWorkflow(order);
  let working = true;
  const load = (async () => {
    for (let n = 0; working; n++) await runtime.startWorkflow('Order', { tenant, executionId: `wf-${n}` });
    return undefined;
  })();
  await until(
    () => runtime.getExecutionState('wf-20', tenant).catch(() => undefined),
    (state) => state?.currentState === 'waiting',
  );
  const path = join(folder, 'copy.db');
  const copy = await runtime.backup(path);
  assert.deepEqual(copy, { path, bytes: statSync(path).size });
  assert.deepEqual((await runtime.checkIntegrity()).findings, []);
  await assert.rejects(runtime.backup(path), AlreadyExistsError);
  await assert.rejects(runtime.backup(join(folder, 'nowhere', 'copy.db')), StoreError);
  await assert.rejects(runtime.backup(''), InvalidArgumentError);
  working = false;
  await load;

  const report = await checkStore(`sqlite:${path}`);
  assert.deepEqual(report.findings, []);
  assert.ok(report.executions > 20);
  const other = await reopen({ store: `sqlite:${path}` });
  other.registerWorkflow(order);
  const sent = await other.submitEvent({ execution_id: 'wf-20', event_name: 'Go', tenant });
  assert.equal(sent.consumed, true);
  assert.equal((await other.waitForWorkflowCompletion('wf-20', tenant)).result, 'gone');
  assert.deepEqual(
    readdirSync(folder).filter((name) => name.includes('unfinished')),
    [],
  );
});

test('a store is checked while another process has it open, and when nobody has', async (t) => {
  const { folder } = setUp(t);
  const file = join(folder, 'served.db');
  const store = `sqlite:${file}`;
  const server = Program.run('serve', [store, join(folder, 'journal'), '', 'start a', 'start b']);
  t.after(() => server.process.kill('SIGKILL'));
  await server.says('ready');
  assert.deepEqual((await checkStore(store)).findings, []);
  server.process.kill('SIGKILL');
  await server.ended();
  const report = await checkStore(store);
  assert.deepEqual(report.findings, []);
  assert.equal(report.executions, 2);
  assert.ok(report.records >= 2);
  assert.equal(report.more, false);

  await assert.rejects(checkStore(`sqlite:${join(folder, 'none.db')}`), StoreError);
  assert.equal(existsSync(join(folder, 'none.db')), false);
  await assert.rejects(checkStore(store, { findingsMax: 0 }), InvalidArgumentError);
  await assert.rejects(checkStore('somewhere'), InvalidArgumentError);
});
