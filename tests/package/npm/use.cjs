'use strict';

// What a user's first hour does: a workflow with an event and an action, in a file of its own.
const assert = require('node:assert/strict');
const { mkdtempSync, rmSync } = require('node:fs');
const { tmpdir } = require('node:os');
const { join } = require('node:path');

exports.use = async function use(pawl, how) {
  const folder = mkdtempSync(join(tmpdir(), 'pawl-package-'));
  const registry = pawl.createActionRegistry({ builtIns: false });
  registry.registerSimpleAction(
    'double',
    'twice a number',
    [{ name: 'value', type: 'number', required: true }],
    async ({ value }) => 2 * value,
  );
  const runtime = pawl.getWorkflowRuntime(registry, { store: `sqlite:${join(folder, 'pawl.db')}` });
  try {
    const workflow = pawl.defineWorkflow('Doubling', async ({ actions, events, setState }) => {
      setState('waiting');
      const { payload } = await events.waitFor('Number');
      return actions.double({ value: payload.value });
    });
    runtime.registerWorkflow(workflow);
    const tenant = 'package-test';
    const id = await runtime.startWorkflow('Doubling', { tenant, initialData: {} });
    await runtime.submitEvent({
      execution_id: id,
      event_name: 'Number',
      payload: { value: 21 },
      tenant,
    });
    await runtime.waitForWorkflowCompletion(id, tenant, { maxWait: 60_000 });
    const state = await runtime.getExecutionState(id, tenant);
    assert.equal(state.status, 'completed');
    assert.equal(state.currentState, 'waiting');
    assert.equal(state.result, 42);
  } finally {
    await runtime.close();
    rmSync(folder, { recursive: true, force: true });
  }
  // The addon has what it takes to look for a server, whatever the machine has.
  const elsewhere = pawl.getWorkflowRuntime(registry, { store: 'postgresql://me@127.0.0.1:1/none?sslmode=require' });
  await assert.rejects(elsewhere.startWorker(), { code: 'store_unavailable', message: /Connection refused/ });
  await elsewhere.close();
  console.log(`pawl, ${how}, Node.js ${process.version}: an execution completed`);
};
