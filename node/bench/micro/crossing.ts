// What it costs to tell JavaScript of an activation and to take down its commands: the real addon and the
// real host, without an engine. Per activation: time, CPU time of the process, and bytes of V8's heap.
//
//   node --expose-gc --max-semi-space-size=128 --import tsx bench/micro/crossing.ts
//       [--benchmark_filter=REGEX] [--benchmark_min_time=SECONDS] [--benchmark_repetitions=N]
//
// Options and output are those of Google Benchmark, as far as scripts/bench_check needs them.
import assert from 'node:assert/strict';
import { parseArgs } from 'node:util';
import { getHeapStatistics } from 'node:v8';
import { defineWorkflow, type WorkflowContext, type WorkflowDefinition } from 'pawl';
import { Probe, type Activation, type Job } from '../../test/support/probe.js';

const { values: options } = parseArgs({
  options: {
    benchmark_filter: { type: 'string', default: '.' },
    benchmark_min_time: { type: 'string', default: '0.5' },
    benchmark_repetitions: { type: 'string', default: '1' },
    benchmark_format: { type: 'string' },
  },
});
const filter = new RegExp(options.benchmark_filter);
const minSeconds = Number(options.benchmark_min_time);
const repetitions = Number(options.benchmark_repetitions);

/** So many executions go side by side; all of a step are handed over at once. */
const executions = minSeconds > 0 ? 4_096 : 64;
const refs = Array.from({ length: executions }, (_, i) => i + 1);

const countsEvents = defineWorkflow('CountsEvents', async ({ events, data, setState }: WorkflowContext) => {
  for (let n = 1; ; n++) {
    await events.waitFor('Go');
    data.set('n', n);
    setState(n % 2 === 0 ? 'even' : 'odd');
  }
});

const threeStep = defineWorkflow('ThreeStep', async ({ actions }: WorkflowContext) => {
  let sum = 0;
  for (let i = 1; i <= 3; i++) sum += (await actions['step']!({ number: i })).number;
  return sum;
});

const start = (workflow: WorkflowDefinition): Job => ({ start: { id: 'execution', workflow: workflow.name } });
const payload = { number: 42, note: 'x'.repeat(4_096) };

/** By name: the workflow, and the job of each step after the start; without end where it goes on. */
const benchmarks: Record<string, [WorkflowDefinition, (step: number) => Job, steps: number]> = {
  'crossing/event': [countsEvents, (step) => ({ event: 'Go', position: step }), Infinity],
  'crossing/event_4KiB': [countsEvents, (step) => ({ event: 'Go', position: step, payload }), Infinity],
  'crossing/three_step': [threeStep, (step) => ({ action: step, result: { number: 1 } }), 3],
};

/** The state of what is measured, now. */
function look() {
  const { user, system } = process.cpuUsage();
  return { ns: Number(process.hrtime.bigint()), cpuNs: (user + system) * 1_000, heap: getHeapStatistics().used_heap_size };
}
type Look = ReturnType<typeof look>;

class Bench {
  private readonly probe: Probe;
  private step = 0;
  private sequence = 0;
  private first: Look | undefined;
  private last: Look | undefined;

  constructor(
    private readonly workflow: WorkflowDefinition,
    private readonly jobOf: (step: number) => Job,
    private readonly steps: number,
  ) {
    this.probe = new Probe(workflow);
    // From where JavaScript is told of the first activation to where the commands of the last turn are given.
    const { host } = this.probe;
    const activate = host.activate.bind(host);
    const collect = host.collect.bind(host);
    host.activate = (text) => {
      this.first ??= look();
      activate(text);
    };
    host.collect = () => {
      const collected = collect();
      this.last = look();
      return collected;
    };
  }

  private async deliver(job: Job): Promise<Look> {
    const sequence = ++this.sequence;
    const activations: Activation[] = refs.map((ref) => ({ ref, sequence, jobs: [job] }));
    globalThis.gc?.();
    this.first = undefined;
    const results = await this.probe.drive(...activations);
    for (const { violation } of results) assert.equal(violation, '');
    const { first, last } = { first: this.first!, last: this.last! };
    return { ns: last.ns - first.ns, cpuNs: last.cpuNs - first.cpuNs, heap: last.heap - first.heap };
  }

  /** All executions from start to end, or one event for each. Per activation. */
  async iterate(): Promise<Look> {
    const taken: Look[] = [];
    if (this.step === 0) {
      const started = await this.deliver(start(this.workflow));
      if (this.steps < Infinity) taken.push(started);
    }
    do taken.push(await this.deliver(this.jobOf(++this.step)));
    while (this.step < this.steps && this.steps < Infinity);
    if (this.step === this.steps) this.step = 0;
    const sum = (of: (one: Look) => number) => taken.reduce((all, one) => all + of(one), 0);
    const n = executions * taken.length;
    return { ns: sum((one) => one.ns) / n, cpuNs: sum((one) => one.cpuNs) / n, heap: sum((one) => one.heap) / n };
  }

  close(): void {
    this.probe.close();
  }
}

async function repeat(bench: Bench, seconds: number): Promise<Look[]> {
  const until = performance.now() + seconds * 1_000;
  const taken: Look[] = [];
  do taken.push(await bench.iterate());
  while (performance.now() < until);
  return taken;
}

const median = (values: number[]) => values.sort((a, b) => a - b)[Math.floor(values.length / 2)]!;

const lines: object[] = [];
for (const [name, parts] of Object.entries(benchmarks)) {
  if (!filter.test(name)) continue;
  const bench = new Bench(...parts);
  // Until the machine code is there.
  if (minSeconds > 0) await repeat(bench, Math.max(1, minSeconds));
  for (let repetition = 0; repetition < repetitions; repetition++) {
    const taken = await repeat(bench, minSeconds);
    lines.push({
      name,
      run_type: 'iteration',
      iterations: taken.length * executions,
      real_time: median(taken.map(({ ns }) => ns)),
      cpu_time: median(taken.map(({ cpuNs }) => cpuNs)),
      time_unit: 'ns',
      ...(globalThis.gc === undefined ? {} : { heap_bytes: median(taken.map(({ heap }) => heap)) }),
    });
  }
  bench.close();
}
console.log(JSON.stringify({ context: { node: process.version }, benchmarks: lines }, null, 2));
