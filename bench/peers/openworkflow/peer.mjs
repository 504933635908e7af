// OpenWorkflow: a library in the application's process, over PostgreSQL, whose worker polls. Its SQLite
// store needs node:sqlite, which Node.js 20 does not have.
//   OPENWORKFLOW_CONCURRENCY    workflows that its worker runs at once (64)
import { OpenWorkflow } from 'openworkflow';
import { BackendPostgres } from 'openworkflow/postgres';
import { sleep } from '../lib/load.mjs';
import { count, emptyDatabase, serverProcess, urlOf } from '../lib/postgres.mjs';

const database = 'bench_openworkflow';
const pollMs = 10; // for results; the library's own is 1,000
const noOp = () => 'ok';
const submittedIds = new Map(); // to whom waits for 'submitted'

let backend;
let client;
let worker;
let workflows;

function define() {
  return {
    threeStep: client.defineWorkflow({ name: 'three-step' }, async ({ step }) => {
      await step.run({ name: 'first' }, noOp);
      await step.run({ name: 'second' }, noOp);
      return step.run({ name: 'third' }, noOp);
    }),
    approval: client.defineWorkflow({ name: 'approval' }, async ({ input, step }) => {
      await step.waitForSignal({ name: 'submit', signal: `submit:${input.id}` });
      await step.run({ name: 'notify' }, noOp);
      await step.run({ name: 'submitted' }, () => {
        submittedIds.get(input.id)?.();
        return true;
      });
      const decision = await step.waitForSignal({ name: 'decide', signal: `decide:${input.id}` });
      await step.run({ name: 'update' }, noOp);
      return decision.data === 'Approve' ? 'approved' : 'rejected';
    }),
    fanOut: client.defineWorkflow({ name: 'fan-out' }, async ({ input, step }) => {
      const steps = Array.from({ length: input.width }, (_, index) => step.run({ name: `step ${index}` }, noOp));
      return (await Promise.all(steps)).length;
    }),
    parked: client.defineWorkflow({ name: 'parked' }, async ({ input, step }) => {
      await step.waitForSignal({ name: 'go', signal: `go:${input.id}` });
      return step.run({ name: 'act' }, noOp);
    }),
  };
}

export const reset = () => emptyDatabase(database);

export async function startApp() {
  backend = await BackendPostgres.connect(urlOf(database));
  client = new OpenWorkflow({ backend });
  workflows = define();
  worker = client.newWorker({ concurrency: Number(process.env.OPENWORKFLOW_CONCURRENCY ?? 64) });
  await worker.start();
}

export async function stopApp() {
  await worker.stop();
  await backend.stop();
}

export const processes = () => ({ ...serverProcess(), app: process.pid });

const succeeded = (workflow, also = '') =>
  count(
    database,
    `openworkflow.workflow_runs WHERE workflow_name = '${workflow}' AND status IN ('completed', 'succeeded') ${also}`,
  );
export const completed = (workflow) => succeeded(workflow);

async function resultOf(run) {
  run.resultPollIntervalMs = pollMs;
  return run.result({ timeoutMs: 900_000 });
}

/** One that nobody waits for yet is dropped, so it is sent until somebody does. */
async function signal(name, data) {
  while ((await client.sendSignal({ signal: name, data })).workflowRunIds.length === 0) await sleep(pollMs);
}

export const threeStep = async () => resultOf(await workflows.threeStep.run());
export const fanOut = async (_, width) => resultOf(await workflows.fanOut.run({ width }));

const runs = new Map();
export const approval = {
  async start(id) {
    runs.set(id, await workflows.approval.run({ id }));
  },
  submit: (id) => signal(`submit:${id}`, 'user-1'),
  async submitted(id) {
    await new Promise((resolve) => submittedIds.set(id, resolve));
    submittedIds.delete(id);
  },
  approve: (id) => signal(`decide:${id}`, 'Approve'),
  async result(id) {
    const run = runs.get(id);
    runs.delete(id);
    return resultOf(run);
  },
};

export const parked = {
  async start(id) {
    await workflows.parked.run({ id });
  },
  async settled(all) {
    const waiting = "openworkflow.step_attempts WHERE kind = 'signal-wait' AND status = 'running'";
    while ((await count(database, waiting)) < all) await sleep(250);
  },
  wake: (id) => signal(`go:${id}`, 'go'),
  async allDone(prefix, all) {
    while ((await succeeded('parked', `AND input->>'id' LIKE '${prefix}-%'`)) < all) await sleep(100);
  },
};
