import { readFileSync, writeFileSync } from 'node:fs';
import type { Run } from './workload.js';

/** What became of a run: a line of JSON. */
export interface Figures {
  workload: string;
  concurrency: number;
  n: number;
  /** Of n and per_s. */
  unit: string;
  per_s: number;
  p50_ms: number | null;
  p99_ms: number | null;
  cpu_us: number;
  rss_mib: number;
  disk_bytes_each: number | null;
  syncs: number | null;
}

const rounded = (value: number) => Math.round(value * 1_000) / 1_000;

/** Both are null of an empty list. */
export function quantiles(latencies: Float64Array): { p50_ms: number | null; p99_ms: number | null } {
  const sorted = latencies.slice().sort();
  const at = (share: number) => sorted[Math.floor((sorted.length - 1) * share)] ?? null;
  return { p50_ms: at(0.5), p99_ms: at(0.99) };
}

/** The most so far. */
function peakRssMib(): number {
  return Number(/^VmHWM:\s*(\d+) kB$/m.exec(readFileSync('/proc/self/status', 'utf8'))![1]) / 1_024;
}

/** From here on it is counted anew. */
export function forgetPeakRss(): void {
  writeFileSync('/proc/self/clear_refs', '5');
}

/** From its making to the call of `figures`. */
export class Usage {
  private readonly began = performance.now();
  private readonly cpu = process.cpuUsage();

  figures({ workload, concurrency }: Run, n: number, unit: string): Figures {
    const seconds = (performance.now() - this.began) / 1_000;
    const { user, system } = process.cpuUsage(this.cpu);
    return {
      workload,
      concurrency,
      n,
      unit,
      per_s: n / seconds,
      p50_ms: null,
      p99_ms: null,
      cpu_us: (user + system) / n,
      rss_mib: peakRssMib(),
      disk_bytes_each: null,
      syncs: null,
    };
  }
}

export function report({ workload, ...figures }: Figures, store: string): void {
  const line = { workload, host: 'ts', store, ...figures };
  const round = (_: string, value: unknown) => (typeof value === 'number' ? rounded(value) : value);
  console.log(JSON.stringify(line, round));
}
