import type { WorkflowRuntime } from 'pawl';
import { closedLoop, type Operation } from './load.js';
import { quantiles, report, Usage, type Figures } from './report.js';
import type { Acknowledged, Store } from './store.js';
import type { Run } from './workload.js';

const warmUpMin = 16;
const warmUpMax = 4_000; // until the machine code is there
const warmUpClients = 64;

export interface Measured {
  figures: Figures;
  /** With those of the warm-up. */
  operations: number;
}

/** Runs the operations, `unitsEach` of the run's n in each of them, after a warm-up. */
export async function measure(
  run: Run,
  runtime: WorkflowRuntime,
  unit: string,
  operation: Operation,
  unitsEach = 1,
): Promise<Measured> {
  const operations = Math.ceil(run.n / unitsEach);
  const warm = Math.max(warmUpMin, Math.min(warmUpMax, Math.floor(operations / 5)));
  await closedLoop(0, warm, Math.max(run.concurrency, warmUpClients), operation);
  const syncsBefore = (await runtime.counters()).commitBatches;
  const usage = new Usage();
  const latencies = await closedLoop(warm, operations, run.concurrency, operation);
  const figures = usage.figures(run, operations * unitsEach, unit);
  const syncs = (await runtime.counters()).commitBatches - syncsBefore;
  return { figures: { ...figures, ...quantiles(latencies), syncs }, operations: warm + operations };
}

/**
 * The end of a run: the store, closed by now, is counted and deleted, and the line printed. Its size is divided
 * by all units that are in it.
 */
export async function finish(
  store: Store,
  acknowledged: Acknowledged,
  units: number,
  figures: Figures,
): Promise<void> {
  const disk_bytes_each = (await store.bytes()) / units;
  await store.check(acknowledged);
  await store.remove();
  report({ ...figures, disk_bytes_each }, store.kind);
}
