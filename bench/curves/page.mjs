// Writes the curves into the page, between their markers, and their plots beside it, from lines of JSON:
//
//   node bench/curves/page.mjs [build/bench-curves.jsonl [docs/performance.md]]
//
// Of each curve it takes the last run that measured it and came to its end.
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { replaceBlock } from '../page_block.mjs';
import { curves } from './curves.mjs';

const root = fileURLToPath(new URL('../..', import.meta.url));

/** From lines: by curve, the machine that measured it last, and its points. */
export function lastRuns(lines) {
  const ended = new Map();
  let machine;
  let run = new Map();
  for (const line of lines) {
    if (line.workload === 'machine') {
      machine = line;
      run = new Map();
    } else if (line.workload === 'end') {
      for (const [name, measured] of run) ended.set(name, measured);
    } else {
      if (!run.has(line.curve)) run.set(line.curve, { machine, lines: [] });
      run.get(line.curve).lines.push(line);
    }
  }
  return ended;
}

const median = (values) => [...values].sort((a, b) => a - b)[Math.floor((values.length - 1) / 2)];

/** Of lines that were measured several times at the same point, one with the median of each figure. */
export function pointsOf(lines) {
  const groups = new Map();
  for (const line of lines) {
    const key = JSON.stringify([line.x, line.host, line.variant, line.concurrency]);
    groups.set(key, [...(groups.get(key) ?? []), line]);
  }
  return [...groups.values()].map((group) => {
    const line = { ...group[0] };
    for (const [name, value] of Object.entries(line)) {
      if (typeof value === 'number') line[name] = median(group.map((one) => one[name]));
    }
    return { x: line.x, line, times: group.length };
  });
}

function machineOf({ machine, lines }) {
  const others = lines.map((line) => line.others_cores);
  const usual = median(others);
  const beside =
    usual < 0.1
      ? 'Nothing else ran.'
      : `Other work ran at the time, on ${usual.toFixed(1)} cores (the median of the runs; at most ` +
        `${Math.max(...others).toFixed(1)}): a quiet machine does better.`;
  const [fileSystem] = machine.file_system.split(' ');
  const [p50, p99] = [machine.raw_append_p50_ms.toFixed(2), machine.raw_append_p99_ms.toFixed(2)];
  return (
    `Measured ${machine.date} on ${machine.cores} cores of ${machine.cpu}, ${machine.kernel}, ${fileSystem}; 4 KiB ` +
    `appended and synced took ${p50} ms (p50) and ${p99} ms (p99) before it began. ${beside}`
  );
}

function tableOf(curve, points) {
  const row = (cells) => `| ${cells.join(' | ')} |`;
  return [
    row([curve.x.title, ...curve.columns.map(({ title }) => title)]),
    row(['---:', ...curve.columns.map(({ title }) => (title === 'host' || title === 'what' ? '---' : '---:'))]),
    ...points.map(({ x, line }) => row([curve.x.format(x), ...curve.columns.map(({ of }) => of(line))])),
  ].join('\n');
}

function blockOf(name, run) {
  const points = pointsOf(run.lines);
  const repeated = Math.max(...points.map(({ times }) => times));
  const medians = repeated > 1 ? ` Each figure is the median of up to ${repeated} runs.` : '';
  const curve = curves[name];
  return {
    points,
    text: [
      curve.about,
      '',
      `![${curve.title}: ${curve.panels.map(({ title, y }) => `${title}, ${y}`).join('; ')}](plots/${name}.svg)`,
      '',
      tableOf(curve, points),
      '',
      `${machineOf(run)}${medians}`,
    ].join('\n'),
  };
}

export async function writePage(lines, file) {
  const { plot } = await import('./plot.mjs');
  const plots = join(dirname(file), 'plots');
  let page = readFileSync(file, 'utf8');
  const svgs = [];
  for (const [name, run] of lastRuns(lines)) {
    const { points, text } = blockOf(name, run);
    page = replaceBlock(page, `curves: ${name}`, text);
    svgs.push([join(plots, `${name}.svg`), await plot(curves[name], points)]);
  }
  mkdirSync(plots, { recursive: true });
  for (const [path, svg] of svgs) writeFileSync(path, svg);
  writeFileSync(file, page);
}

export const pageDefault = join(root, 'docs/performance.md');

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const lines = readFileSync(process.argv[2] ?? join(root, 'build/bench-curves.jsonl'), 'utf8')
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line));
  await writePage(lines, process.argv[3] ?? pageDefault);
}
