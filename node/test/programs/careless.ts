// Promises of workflow code are rejected before anybody awaits them, live and on replay.
import {
  createActionRegistry,
  defineWorkflow,
  getWorkflowRuntime,
  type RuntimeOptions,
  type WorkflowContext,
} from 'pawl';

const [, , store, how] = process.argv;

const registry = createActionRegistry();
registry.registerAction({ name: 'Bad', retry: { maxAttempts: 1 } }, () => {
  throw new Error('bad');
});
let lines = 0;
let warned = () => {};
const bothWarned = new Promise<void>((resolve) => (warned = resolve));
const options: RuntimeOptions = {
  store: store!,
  log: ({ level, message, details }) => {
    console.log(level, message, (details[0] as Error | undefined)?.message);
    if (++lines === 2) warned();
  },
};
const careless = defineWorkflow('Careless', async ({ actions, events }: WorkflowContext) => {
  const helper = async () => actions['bad']!();
  const first = helper();
  void helper();
  await events.waitFor('Go');
  return first.catch((error: Error) => error.message);
});

if (how === 'listen') {
  process.on('unhandledRejection', (reason) => console.log('unhandled:', (reason as Error).message));
  process.on('rejectionHandled', () => console.log('handled late'));
  process.on('warning', ({ name }) => console.log('warning:', name));
}
const listeners = process.listenerCount('unhandledRejection');

let runtime = getWorkflowRuntime(registry, options);
runtime.registerWorkflow(careless);
const id = await runtime.startWorkflow('Careless', { tenant: 'acme' });
await bothWarned;
await runtime.close();
// Opened anew, the execution is replayed.
runtime = getWorkflowRuntime(registry, options);
runtime.registerWorkflow(careless);
await runtime.submitEvent({ execution_id: id, event_name: 'Go', tenant: 'acme' });
const { result } = await runtime.waitForWorkflowCompletion(id, 'acme');
console.log('result', result);
if (process.listenerCount('unhandledRejection') !== listeners) console.log('listens');
switch (how) {
  case 'listen':
    void Promise.reject(new Error('of somebody else'));
    void runtime.getExecutionState('none', 'acme');
    void runtime.waitForWorkflowCompletion('none', 'acme');
    void runtime.startWorkflow('None', { tenant: 'acme' });
    await new Promise((resolve) => setTimeout(resolve, 100));
    await runtime.close();
    break;
  case 'foreign':
    void Promise.reject(new Error('of somebody else'));
    break;
  case 'call':
    void runtime.getExecutionState('none', 'acme');
    break;
  default:
    await runtime.close();
}
