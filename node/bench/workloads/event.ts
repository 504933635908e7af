import { defineWorkflow } from 'pawl';
import { finish, measure } from '../harness/measurement.js';
import { open, submit, tenant } from '../harness/runtime.js';
import { makeStore } from '../harness/store.js';
import type { Workload } from '../harness/workload.js';

const workflow = defineWorkflow('Ticks', async ({ events }) => {
  for (;;) await events.waitFor('Tick');
});

export const event: Workload = {
  name: 'event',
  about: 'an event to one execution, from its submission to the answer',
  cases: [{ concurrency: 1, n: 2_000 }],
  anyConcurrency: true,
  async run(run) {
    const store = await makeStore(run);
    const runtime = await open(store, workflow);
    const id = await runtime.startWorkflow('Ticks', { tenant });
    const { figures, operations } = await measure(run, runtime, 'events', async () => {
      await submit(runtime, id, 'Tick');
    });
    await runtime.close();
    await finish(store, { running: 1, events: operations }, operations, figures);
  },
};
