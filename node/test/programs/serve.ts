// Serves until it is killed. Handlers append what they do to a file, and sync it.
import { closeSync, fsyncSync, openSync, writeSync } from 'node:fs';
import { createActionRegistry, defineWorkflow, getWorkflowRuntime, type WorkflowContext } from 'pawl';

const [, , store, journal] = process.argv;
const file = openSync(journal!, 'a');
const note = (line: string) => {
  writeSync(file, `${process.pid} ${line}\n`);
  fsyncSync(file);
};
process.on('exit', () => closeSync(file));

const registry = createActionRegistry();
registry.registerSimpleAction('First', '', [], (_, { idempotencyKey, attempt }) => {
  note(`first ${idempotencyKey} ${attempt}`);
  return 'one';
});
registry.registerSimpleAction('Second', '', [], async (_, { idempotencyKey, attempt }) => {
  note(`second ${idempotencyKey} ${attempt}`);
  // The first process is killed in here.
  if (process.argv[4] === 'hang') await new Promise(() => {});
  return 'two';
});
const runtime = getWorkflowRuntime(registry, { store: store!, lease: '3s', log: () => {} });
runtime.registerWorkflow(
  defineWorkflow('Survivor', async ({ actions, events, setState, data }: WorkflowContext) => {
    setState('working');
    const results = [await actions['first']!(), await actions['second']!()];
    data.set('results', results);
    setState('waiting');
    const { payload } = await events.waitFor('Finish');
    return [...results, payload];
  }),
);
await runtime.startWorker();
for (const line of process.argv.slice(5)) {
  const [what, id] = line.split(' ') as [string, string];
  if (what === 'start') await runtime.startWorkflow('Survivor', { tenant: 'acme', executionId: id });
  if (what === 'finish') {
    await runtime.submitEvent({ execution_id: id, event_name: 'Finish', tenant: 'acme', payload: 'three' });
    const state = await runtime.waitForWorkflowCompletion(id, 'acme');
    console.log(JSON.stringify({ id, status: state.status, result: state.result, data: state.data }));
  }
}
console.log('ready');
