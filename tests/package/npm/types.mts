// Type-checked, not run: a user's strict project sees the declarations by import …
import { defineWorkflow, getWorkflowRuntime } from 'pawl';

export const approval = defineWorkflow('Approval', async ({ events, input, setState }) => {
  setState('waiting');
  const decision = await events.waitFor(['Approve', 'Reject'], { timeout: '3d' });
  return { name: decision.name, input };
});

export async function start(): Promise<string> {
  const runtime = getWorkflowRuntime();
  runtime.registerWorkflow(approval);
  return runtime.startWorkflow('Approval', { tenant: 'a', initialData: { amount: 1 } });
}
