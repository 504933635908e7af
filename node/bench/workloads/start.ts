import { defineWorkflow } from 'pawl';
import { finish, measure } from '../harness/measurement.js';
import { open, tenant } from '../harness/runtime.js';
import { makeStore } from '../harness/store.js';
import type { Workload } from '../harness/workload.js';

const workflow = defineWorkflow('Waiting', async ({ events }) => {
  await events.waitFor('Go');
});

export const start: Workload = {
  name: 'start',
  about: 'a start, until it is durable, of an execution that waits',
  cases: [{ concurrency: 256, n: 100_000 }],
  anyConcurrency: true,
  async run(run) {
    const store = await makeStore(run);
    const runtime = await open(store, workflow);
    const { figures, operations } = await measure(run, runtime, 'starts', async () => {
      await runtime.startWorkflow('Waiting', { tenant });
    });
    await runtime.close();
    await finish(store, { running: operations }, operations, figures);
  },
};
