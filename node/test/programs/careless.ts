// Promises of workflow code are rejected before anybody awaits them.
import { createActionRegistry, defineWorkflow, getWorkflowRuntime, type WorkflowContext } from 'pawl';

const registry = createActionRegistry();
registry.registerAction({ name: 'Bad', retry: { maxAttempts: 1 } }, () => {
  throw new Error('bad');
});
let lines = 0;
let warned = () => {};
const bothWarned = new Promise<void>((resolve) => (warned = resolve));
const runtime = getWorkflowRuntime(registry, {
  store: process.argv[2]!,
  log: ({ level, message, details }) => {
    console.log(level, message, (details[0] as Error | undefined)?.message);
    if (++lines === 2) warned();
  },
});
runtime.registerWorkflow(
  defineWorkflow('Careless', async ({ actions, events }: WorkflowContext) => {
    const helper = async () => actions['bad']!();
    const first = helper();
    void helper();
    await events.waitFor('Go');
    return first.catch((error: Error) => error.message);
  }),
);
const id = await runtime.startWorkflow('Careless', { tenant: 'acme' });
await bothWarned;
await runtime.submitEvent({ execution_id: id, event_name: 'Go', tenant: 'acme' });
const { result } = await runtime.waitForWorkflowCompletion(id, 'acme');
console.log('result', result);
if (process.argv[3] === 'foreign') void Promise.reject(new Error('of somebody else'));
else await runtime.close();
