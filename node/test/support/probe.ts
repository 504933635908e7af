// The Node.js host without an engine: activations go in from another thread, commands come out.
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import type { WorkflowDefinition } from 'pawl';
import { reviveParsed } from '../../dist/codec.js';
import { WorkflowHost } from '../../dist/host.js';

type FlatWriter = (number | string)[];

export type Job =
  | { start: { id: string; workflow: string; input?: unknown; seed?: number } }
  | { event: string; position: number; payload?: unknown }
  | { timedOut: number }
  | { timer: number }
  | { action: number; result?: unknown }
  | { failed: number; name?: string; message: string };

export interface Activation {
  ref: number;
  sequence: number;
  now?: number;
  replaying?: boolean;
  jobs: Job[];
}

export type Command = [kind: string, ...fields: any[]];

export interface Result {
  ref: number;
  sequence: number;
  violation: string;
  commands: Command[];
}

interface NativeProbe {
  drive(call: number, batches: FlatWriter[]): void;
  evict(ref: number): void;
  close(): void;
}

function text(value: unknown): string {
  return value === undefined ? '' : JSON.stringify(value);
}

function flattenJob(job: Job): FlatWriter {
  if ('start' in job) {
    const { id, workflow, input, seed } = job.start;
    return ['start', id, workflow, text(input), seed ?? 42];
  }
  if ('event' in job) return ['event', job.position, job.event, text(job.payload)];
  if ('timedOut' in job) return ['timed_out', job.timedOut];
  if ('timer' in job) return ['timer', job.timer];
  if ('action' in job) return ['action', job.action, text(job.result)];
  return ['failed', job.failed, job.name ?? 'Error', job.message, '', '', '', 0, 0];
}

function flatten(batch: Activation[]): FlatWriter {
  return batch.flatMap(({ ref, sequence, now = 1_000, replaying = false, jobs }) => [
    ref,
    sequence,
    now,
    replaying ? 1 : 0,
    jobs.length,
    ...jobs.flatMap(flattenJob),
  ]);
}

export class Probe {
  readonly host = new WorkflowHost(2 * 1024 * 1024, () => 0);
  private readonly calls = new Map<number, (value: any) => void>();
  private readonly native: NativeProbe;
  private lastCall = 0;

  constructor(...definitions: WorkflowDefinition[]) {
    for (const definition of definitions) this.host.define(definition);
    const path = new URL('../../../build/release/node/pawl_probe.node', import.meta.url).pathname;
    const named = process.env['PAWL_PROBE'] ?? path;
    if (!existsSync(named)) throw new Error(`${named} is not there: build it with "make build"`);
    const { Probe: Native } = createRequire(import.meta.url)(named) as {
      Probe: new (bridge: object) => NativeProbe;
    };
    const { host } = this;
    this.native = new Native({
      activate: (json: string) => host.activate(json),
      collect: () => host.collect(),
      evict: (ref: number) => host.evict(ref),
      run: () => host.leave(),
      abort: () => host.leave(),
      log: () => host.leave(),
      settle: (json: string) => {
        host.leave();
        for (const [call, , value] of JSON.parse(json) as [number, number, unknown][]) {
          this.calls.get(call)!(reviveParsed(value));
          this.calls.delete(call);
        }
      },
    });
  }

  /** Each batch crosses at once. `replies` has how many results came back together. */
  async driveBatches(batches: Activation[][]): Promise<{ results: Result[]; replies: number[] }> {
    const call = ++this.lastCall;
    const { results, replies } = await new Promise<any>((resolve) => {
      this.calls.set(call, resolve);
      this.native.drive(call, batches.map(flatten));
    });
    return {
      replies,
      results: (results as [number, number, string, Command[]][]).map(
        ([ref, sequence, violation, commands]) => ({ ref, sequence, violation, commands }),
      ),
    };
  }

  async drive(...activations: Activation[]): Promise<Result[]> {
    return (await this.driveBatches([activations])).results;
  }

  evict(ref: number): void {
    this.native.evict(ref);
  }

  close(): void {
    this.native.close();
  }
}

/** Starts one execution with `jobs` following one activation each; the commands of each. */
export async function tell(
  definition: WorkflowDefinition,
  input: unknown,
  ...following: Job[][]
): Promise<Result[]> {
  const probe = new Probe(definition);
  try {
    const start: Job = { start: { id: 'wf-1', workflow: definition.name, input } };
    return await probe.drive(
      ...[[start], ...following].map((jobs, i) => ({ ref: 1, sequence: i + 1, now: 1_000 + i, jobs })),
    );
  } finally {
    probe.close();
  }
}
