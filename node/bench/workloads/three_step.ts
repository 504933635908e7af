import { defineWorkflow } from 'pawl';
import { finish, measure } from '../harness/measurement.js';
import { awaitCompletion, open, tenant } from '../harness/runtime.js';
import { makeStore } from '../harness/store.js';
import type { Workload } from '../harness/workload.js';

const workflow = defineWorkflow('ThreeStep', async ({ input, actions }) => {
  let sum: number = input;
  for (let number = 1; number <= 3; number++) sum += await actions.benchStep({ number });
  return sum;
});

export const threeStep: Workload = {
  name: 'three-step',
  about: 'three actions that do nothing, one after the other',
  cases: [
    { concurrency: 1, n: 2_000 },
    { concurrency: 256, n: 60_000 },
  ],
  anyConcurrency: true,
  async run(run) {
    const store = await makeStore(run);
    const runtime = await open(store, workflow);
    const { figures, operations } = await measure(run, runtime, 'workflows', async () => {
      const id = await runtime.startWorkflow('ThreeStep', { tenant, initialData: 36 });
      await awaitCompletion(runtime, id, 42);
    });
    await runtime.close();
    await finish(store, { completed: operations, actions: 3 * operations }, operations, figures);
  },
};
