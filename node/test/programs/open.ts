// Opens a runtime and leaves as it is told to.
import { getActionRegistry, getWorkflowRuntime } from 'pawl';

const [, , store, how] = process.argv;
const runtime = getWorkflowRuntime(undefined, { store: store! });
if (how === 'unopened') {
  console.log('unopened');
} else {
  await runtime.startWorker();
  console.log('open');
  if (how === 'exit') process.exit(3);
  if (how === 'throw') throw new Error('uncaught');
  if (how === 'close') await runtime.close();
  if (how === 'drain') {
    // For an hour, unless the process is told to end.
    getActionRegistry().registerAction({ name: 'Endless' }, () => {
      void runtime.close({ drain: '1h' });
      console.log('draining');
      return new Promise(() => {});
    });
    void getActionRegistry().executeAction('Endless', { tenant: 'acme', idempotencyKey: 'k' });
    process.once('SIGTERM', () => process.exit(4));
  }
  process.once('SIGTERM', () => void runtime.close().then(() => console.log('closed')));
}
