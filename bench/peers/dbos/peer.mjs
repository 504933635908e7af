// DBOS Transact: a library in the application's process, over PostgreSQL.
//   DBOS_POOL    connections of its pool; without it the library's own number
import { DBOS } from '@dbos-inc/dbos-sdk';
import { sleep } from '../lib/load.mjs';
import { count, emptyDatabase, serverProcess, urlOf } from '../lib/postgres.mjs';

const database = 'bench_dbos';
const forever = { timeoutSeconds: 86_400 };
const noOp = async () => 'ok';

const threeStepWorkflow = DBOS.registerWorkflow(
  async () => {
    await DBOS.runStep(noOp, { name: 'first' });
    await DBOS.runStep(noOp, { name: 'second' });
    return DBOS.runStep(noOp, { name: 'third' });
  },
  { name: 'three-step' },
);

const approvalWorkflow = DBOS.registerWorkflow(
  async () => {
    await DBOS.recv('Submit', forever);
    await DBOS.runStep(noOp, { name: 'notify' });
    await DBOS.setEvent('submitted', true); // what others can see
    const decision = await DBOS.recv('Decision', forever);
    await DBOS.runStep(noOp, { name: 'update' });
    return decision === 'Approve' ? 'approved' : 'rejected';
  },
  { name: 'approval' },
);

const fanOutWorkflow = DBOS.registerWorkflow(
  async (width) => {
    const steps = Array.from({ length: width }, (_, index) => DBOS.runStep(noOp, { name: `step ${index}` }));
    return (await Promise.all(steps)).length;
  },
  { name: 'fan-out' },
);

const parkedWorkflow = DBOS.registerWorkflow(
  async () => {
    await DBOS.recv('Go', forever);
    return DBOS.runStep(noOp, { name: 'act' });
  },
  { name: 'parked' },
);

export const reset = () => emptyDatabase(database);

export async function startApp() {
  DBOS.setConfig({
    name: 'bench',
    systemDatabaseUrl: urlOf(database),
    logLevel: 'error',
    applicationVersion: '1',
    executorID: 'bench',
    ...(process.env.DBOS_POOL && { systemDatabasePoolSize: Number(process.env.DBOS_POOL) }),
  });
  await DBOS.launch();
}

export const stopApp = () => DBOS.shutdown();
export const processes = () => ({ ...serverProcess(), app: process.pid });

const succeeded = (workflow, also = '') =>
  count(database, `dbos.workflow_status WHERE name = '${workflow}' AND status = 'SUCCESS' ${also}`);
export const completed = (workflow) => succeeded(workflow);

const start = (workflow, workflowID, ...input) => DBOS.startWorkflow(workflow, { workflowID })(...input);

export const threeStep = async (id) => (await start(threeStepWorkflow, id)).getResult();
export const fanOut = async (id, width) => (await start(fanOutWorkflow, id, width)).getResult();

const handles = new Map();
export const approval = {
  async start(id) {
    handles.set(id, await start(approvalWorkflow, id));
  },
  submit: (id) => DBOS.send(id, 'user-1', 'Submit'),
  submitted: (id) => DBOS.getEvent(id, 'submitted', forever),
  approve: (id) => DBOS.send(id, 'Approve', 'Decision'),
  async result(id) {
    const handle = handles.get(id);
    handles.delete(id);
    return handle.getResult();
  },
};

export const parked = {
  async start(id) {
    await start(parkedWorkflow, id);
  },
  wake: (id) => DBOS.send(id, 'go', 'Go'),
  async allDone(prefix, all) {
    while ((await succeeded('parked', `AND workflow_uuid LIKE '${prefix}-%'`)) < all) await sleep(100);
  },
};
