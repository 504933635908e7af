// Opens a runtime and leaves as it is told to.
import { getWorkflowRuntime } from 'pawl';

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
  process.once('SIGTERM', () => void runtime.close().then(() => console.log('closed')));
}
