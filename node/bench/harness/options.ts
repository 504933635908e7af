import { existsSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import type { Run, Workload } from './workload.js';

/** What is wrong with the command line. */
export class UsageError extends Error {}

const countMax = 1_000_000_000;
const concurrencyMax = 16_384; // well within the bound on requests under way
const folderDefault = fileURLToPath(new URL('../../../build/bench', import.meta.url));

const options = {
  concurrency: { type: 'string' },
  n: { type: 'string' },
  folder: { type: 'string' },
  store: { type: 'string' },
  lose: { type: 'string' },
} as const;

function number(option: string, text: string, most: number): number {
  const value = Number(text);
  if (!/^\d+$/.test(text) || value < 1 || value > most) {
    throw new UsageError(`--${option} takes a number from 1 to ${most}, not '${text}'`);
  }
  return value;
}

function parse(args: string[]) {
  try {
    return parseArgs({ args, options, allowPositionals: false }).values;
  } catch (error) {
    throw new UsageError(`${(error as Error).message}; there are --concurrency, --n, --folder and --store`);
  }
}

/** Reads `WORKLOAD [--concurrency C] [--n N] [--folder DIR] [--store postgresql://…]`. What is not said is as in the workload's cases. */
export function parseRun([name, ...args]: string[], workloads: Workload[]): { run: Run; workload: Workload } {
  const workload = workloads.find((known) => known.name === name);
  if (workload === undefined) {
    throw new UsageError(`there is no workload '${name}'; there are ${workloads.map((w) => w.name).join(', ')}`);
  }
  const values = parse(args);
  const [first] = workload.cases;
  const concurrency =
    values.concurrency === undefined
      ? first.concurrency
      : number('concurrency', values.concurrency, concurrencyMax);
  if (!workload.anyConcurrency && concurrency !== first.concurrency) {
    throw new UsageError(`${workload.name} takes no other --concurrency than ${first.concurrency}`);
  }
  const usual = workload.cases.find((one) => one.concurrency === concurrency) ?? workload.cases.at(-1)!;
  if (values.store !== undefined && !/^postgres(ql)?:\/\//.test(values.store)) {
    throw new UsageError(`--store takes postgresql://…; a file lies in --folder`);
  }
  const folder = values.folder ?? folderDefault;
  try {
    // Not recursive: Node.js 20 tries for ever where a file system refuses.
    if (!existsSync(folder)) mkdirSync(folder);
  } catch (error) {
    throw new UsageError(`--folder takes a folder, and '${folder}' can't be one: ${(error as Error).message}`);
  }
  return {
    workload,
    run: {
      workload: workload.name,
      concurrency,
      n: values.n === undefined ? usual.n : number('n', values.n, countMax),
      folder,
      server: values.store ?? '',
      lose: values.lose ?? '',
    },
  };
}

export function help(workloads: Workload[]): string {
  const lines = workloads.map(({ name, about }) => `  ${name.padEnd(18)}${about}\n`);
  return `Measures the TypeScript package on an SQLite store; pawl_bench --help tells what the lines mean.

  node --import tsx bench/main.ts WORKLOAD [--concurrency C] [--n N] [--folder DIR]
  node --import tsx bench/main.ts WORKLOAD [--concurrency C] [--n N] --store postgresql://USER@HOST/DATABASE
                        on a store in PostgreSQL: in a database of its own, made through that one
  node --import tsx bench/main.ts --list

The rows are counted by pawl_bench, which PAWL_BENCH names (${pawlBench()}).

Workloads:

${lines.join('')}`;
}

/** A line of JSON for each case of each workload, for whoever runs all of them. */
export function list(workloads: Workload[]): string {
  return workloads
    .flatMap(({ name, cases, anyConcurrency }) =>
      cases.map((one) => `${JSON.stringify({ workload: name, ...one, any_concurrency: anyConcurrency })}\n`),
    )
    .join('');
}

export function pawlBench(): string {
  return process.env['PAWL_BENCH'] ?? join(folderDefault, '../release/bin/pawl_bench');
}
