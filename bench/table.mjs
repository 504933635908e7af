// The last run of the suite as a table, from its lines of JSON; with --page, written between the markers of that page:
//
//   node bench/table.mjs [build/bench.jsonl] [--page docs/performance.md]
import { readFileSync, writeFileSync } from 'node:fs';
import { relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { replaceBlock } from './page_block.mjs';

const whole = (value) => Math.round(value).toLocaleString('en-US');
const under = (most, value, text) => ({ text, met: value < most });

const perS = (least) => (line) => [{ text: `${whole(least)}/s`, met: line.per_s >= least }];
const p50InAppends = (most) => (line, append) => {
  if (append === undefined) return [];
  const ratio = line.p50_ms / append.p50_ms;
  return [under(most, ratio, `p50 < ${most} appends (${ratio.toFixed(1)})`)];
};
const p99InP50 = (most) => (line) => {
  const ratio = line.p99_ms / line.p50_ms;
  return [under(most, ratio, `p99 < ${most} p50 (${ratio.toFixed(1)})`)];
};
const all =
  (...targets) =>
  (...given) =>
    targets.flatMap((target) => target(...given));
const parked = (line) =>
  line.n < 1_000_000
    ? []
    : [
        under(300, line.rss_mib, '< 300 MiB'),
        under(1_024, line.disk_bytes_each, '< 1 KiB each'),
        under(2, line.ready_s, `ready < 2 s (${line.ready_s.toFixed(1)} s)`),
      ];

// By workload, host and clients; for a machine of 2 cores. Appends are those of the raw disk, just before.
const targets = {
  'three-step cpp 1': all(p50InAppends(6), p99InP50(4)),
  'three-step ts 1': all(p50InAppends(8), p99InP50(4)),
  'three-step cpp 256': perS(25_000),
  'three-step ts 256': perS(15_000),
  'approval ts 64': perS(7_000),
  'event ts 1': p50InAppends(3),
  'fan-out ts 16': perS(60_000),
  'parked cpp 256': parked,
  'parked-woken cpp 256': perS(8_000),
  'replay cpp 1': perS(1_000_000),
  'replay ts 1': perS(300_000),
  'start cpp 256': perS(40_000),
  'idle cpp 1': (line) => [under(0.5, line.core_percent, `< 0.5 % of a core (${line.core_percent})`)],
};

/** Whether the disk has to be asked before such a run. */
export function isMeasuredInAppends(workload, concurrency) {
  return concurrency === 1 && (workload === 'three-step' || workload === 'event');
}

// Those with a field are empty where it is null.
const columns = [
  { title: 'workload', left: true, of: (line) => [line.workload, line.variant].filter(Boolean).join(': ') },
  { title: 'host', left: true, of: (line) => line.host },
  { title: 'at once', field: 'concurrency', of: whole },
  { title: 'n', field: 'n', of: whole },
  { title: 'per second', field: 'per_s', of: whole },
  { title: 'of', left: true, of: (line) => line.unit },
  { title: 'p50 ms', field: 'p50_ms', of: (ms) => ms.toFixed(2) },
  { title: 'p99 ms', field: 'p99_ms', of: (ms) => ms.toFixed(2) },
  { title: 'CPU µs', field: 'cpu_us', of: whole },
  { title: 'RSS MiB', field: 'rss_mib', of: whole },
  { title: 'bytes each', field: 'disk_bytes_each', of: whole },
  { title: 'syncs', field: 'syncs', of: whole },
  { title: 'target', left: true, of: targetOf },
];

const common = new Set([...columns.map(({ field }) => field), 'workload', 'variant', 'host', 'store', 'unit']);

/** What a line says beyond the columns. */
function restOf(line) {
  const rest = Object.entries(line).filter(([name]) => !common.has(name));
  if (rest.length === 0) return [];
  const name = columns[0].of(line);
  return [`${name} (${line.host}): ${rest.map(([field, value]) => `${field} ${value}`).join(', ')}`];
}

function targetOf(line, append) {
  const met = targets[`${line.workload} ${line.host} ${line.concurrency}`]?.(line, append) ?? [];
  return met.map((target) => `${target.met ? '✓' : '✗'} ${target.text}`).join('  ');
}

function cellsOf(line, append) {
  return columns.map(({ field, of }) => {
    if (field === undefined) return of(line, append);
    return line[field] === null ? '' : of(line[field]);
  });
}

function head(machine) {
  const settings = Object.entries(machine.settings).map(([name, value]) => `${name} ${value}`);
  return [
    `${machine.cores} cores of ${machine.cpu}, ${whole(machine.memory_mib)} MiB, ${machine.kernel}, load average ${machine.load_average}`,
    `${relative('.', machine.folder)} on ${machine.file_system}`,
    `4 KiB appended and synced there: p50 ${machine.raw_append_p50_ms} ms, p99 ${machine.raw_append_p99_ms} ms`,
    `${settings.join(', ')}`,
    '',
  ];
}

/** Of the lines of one run. */
export function table(lines) {
  const rows = [columns.map(({ title }) => title)];
  const text = [];
  const rest = [];
  let append;
  for (const line of lines) {
    if (line.workload === 'machine') {
      text.push(...head(line));
      continue;
    }
    if (line.workload === 'raw-append') append = line;
    rows.push(cellsOf(line, append));
    rest.push(...restOf(line));
  }
  const widths = columns.map((_, at) => Math.max(...rows.map((cells) => cells[at].length)));
  for (const cells of rows) {
    const padded = cells.map((cell, at) => (columns[at].left ? cell.padEnd(widths[at]) : cell.padStart(widths[at])));
    text.push(padded.join('  ').trimEnd());
  }
  if (rest.length > 0) text.push('', ...rest);
  return text.join('\n');
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { values, positionals } = parseArgs({ options: { page: { type: 'string' } }, allowPositionals: true });
  const file = positionals[0] ?? fileURLToPath(new URL('../build/bench.jsonl', import.meta.url));
  const lines = readFileSync(file, 'utf8')
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line));
  const begun = lines.findLastIndex(({ workload }) => workload === 'machine');
  const text = table(lines.slice(Math.max(0, begun)));
  if (values.page === undefined) console.log(text);
  else writeFileSync(values.page, replaceBlock(readFileSync(values.page, 'utf8'), 'bench', `\`\`\`\n${text}\n\`\`\``));
}
