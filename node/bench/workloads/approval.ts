import { defineWorkflow } from 'pawl';
import { finish, measure } from '../harness/measurement.js';
import { awaitCompletion, open, submit, tenant } from '../harness/runtime.js';
import { makeStore } from '../harness/store.js';
import type { Workload } from '../harness/workload.js';

const workflow = defineWorkflow('Approval', async ({ actions, events }) => {
  await events.waitFor('Submit');
  await actions.benchStep({ number: 1 });
  const decision = await events.waitFor(['Approve', 'Reject']);
  await actions.benchStep({ number: 2 });
  return decision.name;
});

export const approval: Workload = {
  name: 'approval',
  about: 'an event, an action, one of two events, an action',
  cases: [{ concurrency: 64, n: 30_000 }],
  anyConcurrency: true,
  async run(run) {
    const store = await makeStore(run);
    const runtime = await open(store, workflow);
    const { figures, operations } = await measure(run, runtime, 'workflows', async (number) => {
      const decision = number % 2 === 0 ? 'Approve' : 'Reject';
      const id = await runtime.startWorkflow('Approval', { tenant });
      await submit(runtime, id, 'Submit');
      await submit(runtime, id, decision);
      await awaitCompletion(runtime, id, decision);
    });
    await runtime.close();
    const both = 2 * operations;
    await finish(store, { completed: operations, actions: both, events: both }, operations, figures);
  },
};
