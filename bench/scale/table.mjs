// The last run of `make bench-scale` as a table, from its lines of JSON; with --page, written between the markers of
// that page:
//
//   node bench/scale/table.mjs [build/bench-scale.jsonl] [--page docs/performance.md]
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { replaceBlock } from '../page_block.mjs';

const whole = (value) => Math.round(value).toLocaleString('en-US');
const few = (value) => (value < 10 ? value.toFixed(2) : whole(value));
const median = (values) => [...values].sort((a, b) => a - b)[Math.floor((values.length - 1) / 2)];
const mark = (met) => (met ? '✓' : '✗');

const targets = {
  threeStepPerS: 2_500,
  eventMs: 4,
  twoWorkers: 0.9,
  takeoverBeyondLeaseS: 1,
};

const quietCores = 0.5;

/** Where anything was measured while others did little, what was measured beside more of them does not count. */
function quietOnes(group) {
  const quiet = group.filter((line) => line.others_cores < quietCores);
  return quiet.length > 0 ? quiet : group;
}

/** Those of the same thing together. */
function groupsOf(lines) {
  const groups = new Map();
  for (const line of lines) {
    const key = JSON.stringify([line.measure, line.variant, line.concurrency, line.lease_s]);
    groups.set(key, [...(groups.get(key) ?? []), line]);
  }
  return [...groups.values()].map(quietOnes);
}

const of = (group, field) => median(group.map((line) => line[field]));

function ratioOf(groups) {
  const [one, two] = ['1 worker', '2 workers'].map((variant) => groups.find(([line]) => line.variant === variant));
  return one && two ? of(two, 'per_s') / of(one, 'per_s') : undefined;
}

function rowOf(group, groups) {
  const [{ measure, variant, concurrency, lease_s: lease, partitions }] = group;
  const rest = [whole(group.length), few(Math.max(...group.map((line) => line.others_cores)))];
  if (measure === 'takeover') {
    const most = Math.max(...group.map((line) => line.last_s));
    const target = lease + targets.takeoverBeyondLeaseS;
    return [
      `a worker of two is killed, lease ${lease} s: until an event was processed in each of its ${partitions} partitions`,
      '',
      '',
      `${of(group, 'last_s').toFixed(2)} s`,
      `${most.toFixed(2)} s (most)`,
      ...rest,
      `${mark(most < target)} < lease + ${targets.takeoverBeyondLeaseS} s`,
    ];
  }
  const rate = of(group, 'per_s');
  const target = () => {
    if (measure === 'three-step' && concurrency === 256) {
      return `${mark(rate >= targets.threeStepPerS)} ${whole(targets.threeStepPerS)}/s`;
    }
    if (measure === 'event' && variant === 'by Redis') {
      return `${mark(of(group, 'p50_ms') < targets.eventMs)} p50 < ${targets.eventMs} ms`;
    }
    const ratio = variant === '2 workers' ? ratioOf(groups) : undefined;
    return ratio === undefined ? '' : `${mark(ratio >= targets.twoWorkers)} ≥ ${targets.twoWorkers} of 1 worker (${ratio.toFixed(2)})`;
  };
  const what = {
    'three-step': `three steps, ${variant}`,
    event: `an event from a process without the workflow's code, and its answer, ${variant}`,
    workers: `three steps, ${variant}, clients in a process of their own`,
  }[measure];
  return [
    what,
    whole(concurrency),
    whole(rate),
    few(of(group, 'p50_ms')),
    few(of(group, 'p99_ms')),
    ...rest,
    target(),
  ];
}

/** Of the lines of one run. */
export function table(lines) {
  const machine = lines.find(({ workload }) => workload === 'machine');
  const measured = lines.filter(({ measure }) => measure !== undefined);
  const groups = groupsOf(measured);
  const row = (cells) => `| ${cells.join(' | ')} |`;
  const [fileSystem] = machine.file_system.split(' ');
  return [
    row(['what', 'at once', 'per second', 'p50 ms', 'p99 ms', 'runs', 'others, cores', 'target']),
    row(['---', '---:', '---:', '---:', '---:', '---:', '---:', '---']),
    ...groups.map((group) => row(rowOf(group, groups))),
    '',
    `Measured ${machine.date} on ${machine.cores} cores of ${machine.cpu}, ${machine.kernel}, ${fileSystem}, with PostgreSQL,` +
      ` Redis, workers and clients on them; 4 KiB appended and synced took ${machine.raw_append_p50_ms.toFixed(2)} ms (p50)` +
      ` before it began. Medians of the runs; "others" is the most that anything else used of the processors during one. Where there ` +
      `are runs with less than ${quietCores} of them, those with more are left out.`,
  ].join('\n');
}

export function lastRun(file) {
  const lines = readFileSync(file, 'utf8')
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line));
  return lines.slice(Math.max(0, lines.findLastIndex(({ workload }) => workload === 'machine')));
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { values, positionals } = parseArgs({ options: { page: { type: 'string' } }, allowPositionals: true });
  const file = positionals[0] ?? fileURLToPath(new URL('../../build/bench-scale.jsonl', import.meta.url));
  const text = table(lastRun(file));
  if (values.page === undefined) console.log(text);
  else writeFileSync(values.page, replaceBlock(readFileSync(values.page, 'utf8'), 'scale', text));
}
