import { defineWorkflow } from 'pawl';
import { finish, measure } from '../harness/measurement.js';
import { awaitCompletion, open, tenant } from '../harness/runtime.js';
import { makeStore } from '../harness/store.js';
import type { Workload } from '../harness/workload.js';

const actionsEach = 100;

const workflow = defineWorkflow('FanOut', async ({ actions }) => {
  const calls = Array.from({ length: actionsEach }, () => actions.benchStep({ number: 1 }));
  return (await Promise.all(calls)).reduce((sum, number) => sum + number, 0);
});

export const fanOut: Workload = {
  name: 'fan-out',
  about: '100 actions side by side, and a join',
  cases: [{ concurrency: 16, n: 300_000 }],
  anyConcurrency: true,
  async run(run) {
    const store = await makeStore(run);
    const runtime = await open(store, workflow);
    const { figures, operations } = await measure(
      run,
      runtime,
      'actions',
      async () => {
        const id = await runtime.startWorkflow('FanOut', { tenant });
        await awaitCompletion(runtime, id, actionsEach);
      },
      actionsEach,
    );
    await runtime.close();
    const actions = actionsEach * operations;
    await finish(store, { completed: operations, actions }, actions, figures);
  },
};
