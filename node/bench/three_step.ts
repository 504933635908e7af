// Three sequential actions that do nothing, from the call that starts a workflow to the answer that
// it has completed; every step durable. One at a time, then 256 at once.
//
//   node --import tsx bench/three_step.ts [--n COUNT] [--store FILE]
//
// A line of JSON per run goes to build/bench.jsonl. Afterwards the store is opened anew and what is
// in it is counted.
import assert from 'node:assert/strict';
import { appendFileSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { createActionRegistry, defineWorkflow, getWorkflowRuntime, type WorkflowRuntime } from 'pawl';

const build = fileURLToPath(new URL('../../build', import.meta.url));
mkdirSync(build, { recursive: true });
const { values } = parseArgs({ options: { n: { type: 'string' }, store: { type: 'string' } } });
const folder = mkdtempSync(join(build, 'bench-'));
const store = `sqlite:${values.store ?? join(folder, 'pawl.db')}`;
const tenant = 'bench';

const registry = createActionRegistry({ builtIns: false });
registry.registerSimpleAction('NoOp', 'Does nothing', [], () => {});
const threeStep = defineWorkflow('ThreeStep', async ({ actions }) => {
  await actions['noOp']!();
  await actions['noOp']!();
  await actions['noOp']!();
});

function open(): WorkflowRuntime {
  const runtime = getWorkflowRuntime(registry, { store });
  runtime.registerWorkflow(threeStep);
  return runtime;
}

async function run(runtime: WorkflowRuntime, concurrency: number, n: number) {
  const latencies: number[] = [];
  let left = n;
  const began = performance.now();
  const cpu = process.cpuUsage();
  const client = async () => {
    while (left-- > 0) {
      const start = performance.now();
      const id = await runtime.startWorkflow('ThreeStep', { tenant });
      const { status } = await runtime.waitForWorkflowCompletion(id, tenant);
      assert.equal(status, 'completed');
      latencies.push(performance.now() - start);
    }
  };
  await Promise.all(Array.from({ length: concurrency }, client));
  const seconds = (performance.now() - began) / 1_000;
  const { user, system } = process.cpuUsage(cpu);
  latencies.sort((a, b) => a - b);
  const at = (share: number) => Number(latencies[Math.floor((n - 1) * share)]!.toFixed(3));
  return { per_s: Math.round(n / seconds), p50_ms: at(0.5), p99_ms: at(0.99), cpu_us: Math.round((user + system) / n) };
}

let runtime = open();
await run(runtime, 64, 2_000); // until the machine code is there
let total = 2_000;
for (const [concurrency, n] of [
  [1, Number(values.n ?? 10_000) / 4],
  [256, Number(values.n ?? 10_000) * 4],
] as [number, number][]) {
  const before = await runtime.counters();
  const figures = await run(runtime, concurrency, n);
  const after = await runtime.counters();
  total += n;
  const line = {
    workload: 'three-step',
    host: 'node',
    store: 'sqlite',
    concurrency,
    n,
    ...figures,
    commits_per_batch: Number(
      ((after.commits - before.commits) / (after.commitBatches - before.commitBatches)).toFixed(1),
    ),
    rss_mib: Math.round(process.memoryUsage.rss() / 2 ** 20),
  };
  appendFileSync(join(build, 'bench.jsonl'), `${JSON.stringify(line)}\n`);
  console.log(JSON.stringify(line));
}
await runtime.close();

runtime = open();
let counted = 0;
for (let cursor: string | undefined = ''; cursor !== undefined; ) {
  const page = await runtime.listExecutions({ tenant, limit: 1_000, ...(cursor === '' ? {} : { cursor }) });
  for (const { status, sequence } of page.executions) {
    assert.deepEqual([status, sequence], ['completed', 8]);
    counted++;
  }
  cursor = page.cursor;
}
assert.equal(counted, total, 'what was acknowledged is there');
console.log(`reopened: ${counted} executions, all completed, 8 records each`);
await runtime.close();
rmSync(folder, { recursive: true, force: true });
