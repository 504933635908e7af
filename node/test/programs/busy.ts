// Workflow code that does not yield until it is killed: from its start on, or ("later") once another
// execution was begun and it got an event.
import { defineWorkflow, getWorkflowRuntime, type WorkflowContext } from 'pawl';

const runtime = getWorkflowRuntime(undefined, { store: process.argv[2]!, watchdog: '100ms' });
runtime.registerWorkflow(
  defineWorkflow('Busy', async ({ events }: WorkflowContext) => {
    if (process.argv[3] === 'later') await events.waitFor('Go');
    for (;;);
  }),
);
const tenant = 'acme';
await runtime.startWorkflow('Busy', { tenant, executionId: 'busy-1' });
if (process.argv[3] === 'later') {
  await runtime.startWorkflow('Busy', { tenant, executionId: 'busy-2' });
  await runtime.submitEvent({ execution_id: 'busy-1', event_name: 'Go', tenant });
}
