// Workflow code that does not yield until it is killed.
import { defineWorkflow, getWorkflowRuntime } from 'pawl';

const runtime = getWorkflowRuntime(undefined, { store: process.argv[2]!, watchdog: '100ms' });
runtime.registerWorkflow(
  defineWorkflow('Busy', async () => {
    for (;;);
  }),
);
await runtime.startWorkflow('Busy', { tenant: 'acme' });
