// Works until its disk is full, hears why, makes room, and goes on. Arguments: the folder of its store,
// and what fills it: 'limit' (a bound on the size of files) or 'disk' (a small one, mounted there).
import { spawnSync } from 'node:child_process';
import { closeSync, openSync, rmSync, statSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { createActionRegistry, defineWorkflow, getWorkflowRuntime, type WorkflowContext } from 'pawl';

const [, , folder, how] = process.argv as [string, string, string, string];
const file = join(folder, 'pawl.db');
const tenant = 'acme';

const filler = join(folder, 'filler');
const limitFiles = (bytes: string) => {
  const { status, stderr } = spawnSync('prlimit', ['--pid', String(process.pid), `--fsize=${bytes}:`], {
    encoding: 'utf8',
  });
  if (status !== 0) throw new Error(`prlimit: ${stderr}`);
};
const disk =
  how === 'limit'
    ? {
        fill: () => limitFiles(String(statSync(`${file}-wal`).size + 10_000)),
        empty: () => limitFiles('unlimited'),
      }
    : {
        fill() {
          const handle = openSync(filler, 'w');
          try {
            for (;;) writeSync(handle, Buffer.alloc(4_096));
          } catch (error) {
            if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error;
          } finally {
            closeSync(handle);
          }
        },
        empty: () => rmSync(filler),
      };

const collect = defineWorkflow('Collect', async ({ events, actions, setState }: WorkflowContext) => {
  const seen: number[] = [];
  for (;;) {
    const { name, payload } = await events.waitFor(['Add', 'End']);
    if (name === 'End') return { seen, noted: await actions['note']!({ n: seen.length }) };
    seen.push(payload.n);
    setState(`has ${seen.length}`);
  }
});
const registry = createActionRegistry();
registry.registerSimpleAction('Note', '', [{ name: 'n', type: 'number', required: true }], ({ n }) => n);
const open = () => {
  const runtime = getWorkflowRuntime(registry, { store: `sqlite:${file}`, log: () => {} });
  runtime.registerWorkflow(collect);
  return runtime;
};
let runtime = open();
const add = (n: number) =>
  runtime.submitEvent({
    execution_id: 'c',
    event_name: 'Add',
    payload: { n, ballast: 'x'.repeat(50_000) },
    tenant,
    idempotency_key: `add ${n}`,
  });
const refusals: string[] = [];
const tried = async (call: Promise<unknown>) => {
  try {
    await call;
    return true;
  } catch (error) {
    const { name, code, message } = error as Error & { code: string };
    refusals.push(`${name} ${code}: ${message}`);
    return false;
  }
};

await runtime.startWorkflow('Collect', { tenant, executionId: 'c' });
let n = 0;
for (; n < 3; n++) await add(n);
disk.fill();
while (await tried(add(n))) n++;
// As long as there is no room, nothing is acknowledged; what is there can be read.
const taken = await Promise.all([
  tried(add(n)),
  tried(runtime.startWorkflow('Collect', { tenant, executionId: 'd', initialData: 'x'.repeat(50_000) })),
]);
const { currentState } = await runtime.getExecutionState('c', tenant);
disk.empty();
// The same call again, until it is taken; then the rest.
while (!(await tried(add(n)))) await new Promise((resolve) => setTimeout(resolve, 20));
const last = n + 3;
while (n < last) await add(++n);
await runtime.submitEvent({ execution_id: 'c', event_name: 'End', tenant });
await runtime.waitForWorkflowCompletion('c', tenant);
await runtime.close();
runtime = open();
const { status, result } = await runtime.getExecutionState('c', tenant);
await runtime.close();
console.log(JSON.stringify({ refusals, taken, currentState, n, status, result }));
