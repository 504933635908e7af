// Pawl: the core in the application's process, over an SQLite file or, with PAWL_STORE=postgres, over PostgreSQL.
import { createActionRegistry, defineWorkflow, getWorkflowRuntime, openClient } from 'pawl';
import { mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { sleep } from '../lib/load.mjs';
import { count as countRows, emptyDatabase, serverProcess, urlOf } from '../lib/postgres.mjs';

const onPostgres = process.env.PAWL_STORE === 'postgres';
const database = 'bench_pawl';
const folder = join(process.env.PEERS_FOLDER, 'pawl');
const store = onPostgres ? urlOf(database) : `sqlite:${join(folder, 'pawl.db')}`;
const tenant = 'bench';

const registry = createActionRegistry();
registry.registerSimpleAction('NoOp', 'Does nothing', [], () => 'ok');

const threeStepWorkflow = defineWorkflow('three-step', async ({ actions }) => {
  await actions.noOp();
  await actions.noOp();
  return actions.noOp();
});

const approvalWorkflow = defineWorkflow('approval', async ({ actions, events, setState }) => {
  await events.waitFor('Submit');
  await actions.noOp();
  setState('submitted');
  const decision = await events.waitFor(['Approve', 'Reject']);
  await actions.noOp();
  return decision.name === 'Approve' ? 'approved' : 'rejected';
});

const fanOutWorkflow = defineWorkflow('fan-out', async ({ input, actions }) => {
  const results = await Promise.all(Array.from({ length: input.width }, () => actions.noOp()));
  return results.length;
});

const parkedWorkflow = defineWorkflow('parked', async ({ actions, events }) => {
  await events.waitFor('Go');
  return actions.noOp();
});

let runtime;

export function reset() {
  if (onPostgres) return emptyDatabase(database);
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder);
}

export async function startApp() {
  runtime = getWorkflowRuntime(registry, { store });
  for (const workflow of [threeStepWorkflow, approvalWorkflow, fanOutWorkflow, parkedWorkflow]) runtime.registerWorkflow(workflow);
  await runtime.startWorker();
}

export const stopApp = () => runtime.close();
export const processes = () => ({ ...(onPostgres && serverProcess()), app: process.pid });

export async function completed(workflow) {
  if (onPostgres) return countRows(database, `workflow_executions WHERE workflow_name = '${workflow}' AND status = 'completed'`);
  const client = await openClient(store);
  let count = 0;
  let cursor;
  do {
    const page = await client.listExecutions({ tenant, workflow, status: 'completed', limit: 1_000, ...(cursor && { cursor }) });
    count += page.executions.length;
    cursor = page.cursor;
  } while (cursor !== undefined);
  await client.close();
  return count;
}

const start = (workflow, executionId, initialData) =>
  runtime.startWorkflow(workflow, { tenant, executionId, ...(initialData && { initialData }) });
const result = (id) => runtime.getHandle(id, tenant).result();

export async function threeStep(id) {
  await start(threeStepWorkflow, id);
  return result(id);
}

export async function fanOut(id, width) {
  await start(fanOutWorkflow, id, { width });
  return result(id);
}

export const approval = {
  start: (id) => start(approvalWorkflow, id),
  submit: (id) => runtime.getHandle(id, tenant).submitEvent('Submit'),
  async submitted(id) {
    const handle = runtime.getHandle(id, tenant);
    while ((await handle.getState()).currentState !== 'submitted') await sleep(1);
  },
  approve: (id) => runtime.getHandle(id, tenant).submitEvent('Approve'),
  result,
};

export const parked = {
  start: (id) => start(parkedWorkflow, id),
  wake: (id) => runtime.getHandle(id, tenant).enqueueEvent('Go'),
  result,
};
