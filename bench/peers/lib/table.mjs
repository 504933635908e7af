// The table of what was measured, for people. As a program, of the lines of a file:
//
//   node bench/peers/lib/table.mjs build/bench-peers.jsonl [--page docs/performance.md]
//
// With --page, written between the markers of that page.
import { readFileSync, writeFileSync } from 'node:fs';
import { pathToFileURL } from 'node:url';
import { parseArgs } from 'node:util';
import { replaceBlock } from '../../page_block.mjs';
import { peers, sectionsOf, workloads } from './choices.mjs';

const whole = new Intl.NumberFormat('en-US', { maximumFractionDigits: 0 });
const precise = new Intl.NumberFormat('en-US', { maximumSignificantDigits: 3 });
// JSON has null for what is no number.
const number = (value) => (value === undefined || value === null ? '–' : (value >= 100 ? whole : precise).format(value));

const columns = ['peer', 'per s', 'p50 ms', 'p99 ms', 'MiB', 'bytes each', 'Pawl is', 'on PostgreSQL', 'durable', 'notes'];
const limitColumns = ['limit', 'per s', 'p50 ms', 'p99 ms', 'notes'];
const texts = new Set(['peer', 'limit', 'durable', 'notes']);

function notesOf({ checked, memory_kib_each: each, ready_s: ready, killed_to_all_done_s: done }, reason) {
  return [
    reason,
    each !== undefined && `${number(each)} KiB of memory each`,
    ready !== undefined && `ready after ${number(ready)} s, all done after ${number(done)} s`,
    reason === undefined && (checked === undefined ? 'not counted afterwards' : `${whole.format(checked)} counted`),
  ]
    .filter(Boolean)
    .join('; ');
}

/** Of a fan-out its steps, of all else workflows. */
const rateOf = (line) => line?.steps_per_s ?? line?.per_s;

function rowsOf(workload, section, lines) {
  const ofWorkload = lines.filter((line) => line.workload === workload.name);
  const figuresOf = (peer, of = section) =>
    ofWorkload.find((line) => line.peer === peer && line.section === of && 'per_s' in line);
  const [pawl, onPostgres] = ['pawl', 'pawl-postgres'].map((name) => rateOf(figuresOf(name)));
  const timesOf = (ours, theirs) => (ours === undefined ? '–' : `${precise.format(ours / rateOf(theirs))}×`);
  const before = sectionsOf(workload).slice(0, sectionsOf(workload).indexOf(section));
  const rows = [];
  for (const { name, durable } of peers) {
    const figures = figuresOf(name);
    const failure = ofWorkload.find((line) => line.peer === name && 'reason' in line);
    if (figures === undefined) {
      const told = before.some((earlier) => figuresOf(name, earlier) === undefined);
      if (failure !== undefined) rows.push({ peer: name, notes: told ? 'as above' : failure.reason });
      continue;
    }
    rows.push({
      peer: name,
      'per s': number(rateOf(figures)),
      'p50 ms': number(figures.p50_ms),
      'p99 ms': number(figures.p99_ms),
      MiB: number(figures.memory_mib),
      'bytes each': number(figures.bytes_each),
      'Pawl is': timesOf(pawl, figures),
      'on PostgreSQL': timesOf(onPostgres, figures),
      durable,
      // One that concerns a load which this one is not says nothing of this one.
      notes: notesOf(figures, failure?.section === undefined ? failure?.reason : undefined),
    });
  }
  return rows;
}

function limitRows(lines) {
  return lines
    .filter(({ peer }) => peer === 'limits')
    .map(({ limit, per_s, p50_ms, p99_ms, rows_per_s, reason }) => {
      if (reason !== undefined) return { limit, notes: reason };
      const rows = rows_per_s === undefined ? '' : `${number(rows_per_s)} rows per s`;
      return { limit, 'per s': number(per_s), 'p50 ms': number(p50_ms), 'p99 ms': number(p99_ms), notes: rows };
    });
}

/** `sections` are [title, rows]. The first and the last of the columns are all that a row without figures has. */
function layOut(columns, sections) {
  const rows = sections.flatMap(([, ofSection]) => ofSection);
  const padded = columns.slice(0, -1);
  const widths = padded.map((column) => Math.max(column.length, ...rows.map((row) => (row[column] ?? '').length)));
  const lineOf = (row) => {
    const cells = padded.map((column, at) => {
      const text = row[column] ?? '';
      return texts.has(column) ? text.padEnd(widths[at]) : text.padStart(widths[at]);
    });
    const shown = row['per s'] === undefined ? cells.slice(0, 1) : cells;
    return `  ${[...shown, row[columns.at(-1)]].join('  ')}`.trimEnd();
  };
  const header = lineOf(Object.fromEntries(columns.map((column) => [column, column])));
  return [header, ...sections.flatMap(([title, ofSection]) => ['', title, ...ofSection.map(lineOf)])].join('\n');
}

/** `lines` are those of build/bench-peers.jsonl. */
export function table(lines) {
  const sections = workloads.flatMap((workload) =>
    sectionsOf(workload).map((section) => {
      const unit = workload.name === 'fan-out' ? ' (steps per s)' : '';
      return [`${section}${unit}`, rowsOf(workload, section, lines)];
    }),
  );
  const parts = [
    [columns, sections],
    [limitColumns, [['limits of the machine', limitRows(lines)]]],
  ];
  return parts
    .map(([names, all]) => [names, all.filter(([, rows]) => rows.length > 0)])
    .filter(([, all]) => all.length > 0)
    .map(([names, all]) => layOut(names, all))
    .join('\n\n');
}

if (import.meta.url === pathToFileURL(process.argv[1]).href) {
  const { values, positionals } = parseArgs({ options: { page: { type: 'string' } }, allowPositionals: true });
  const lines = positionals
    .flatMap((file) => readFileSync(file, 'utf8').trim().split('\n'))
    .map((line) => JSON.parse(line));
  const text = table(lines);
  if (values.page === undefined) {
    console.log(text);
  } else {
    const { measured, others_cores: others } = lines.find((line) => 'measured' in line);
    const block = `\`\`\`\n${text}\n\`\`\`\n\nMeasured ${measured}; everything else used ${others} cores meanwhile.`;
    writeFileSync(values.page, replaceBlock(readFileSync(values.page, 'utf8'), 'peers', block));
  }
}
