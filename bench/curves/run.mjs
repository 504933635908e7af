// What `make bench-curves` runs: each point of each curve in a process of its own, one after the other. Lines of JSON
// go to build/bench-curves.jsonl, behind those of earlier runs; the page is written anew from them. The environment
// says what is measured: see scripts/bench_curves.
import { appendFileSync, existsSync, statfsSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { watchOthers } from '../processor_time.mjs';
import { root, runsOf } from '../runs.mjs';
import { curves } from './curves.mjs';
import { pageDefault, writePage } from './page.mjs';

const { giveUp, linesOf, numberOf, folderOf } = runsOf('bench-curves');

function curvesOf(text) {
  const names = [...new Set(text.split(',').filter((name) => name !== ''))];
  for (const name of names) {
    if (!Object.hasOwn(curves, name)) {
      giveUp(`CURVES: there is no curve '${name}'; there are ${Object.keys(curves).join(', ')}`);
    }
  }
  return names.length > 0 ? names : Object.keys(curves);
}

function pointsOf(name, max) {
  const { xs, more = [] } = curves[name];
  const wanted = max === undefined ? xs : [...xs, ...more].filter((x) => x <= max);
  if (wanted.length === 0) giveUp(`MAX=${max} leaves nothing of the curve '${name}', which begins at ${xs[0]}`);
  return wanted;
}

/** What a large point takes is said before it is begun, and refused where there is no room. */
function checkRoom(name, points) {
  const { bytesEach, more = [] } = curves[name];
  const most = points.at(-1);
  if (bytesEach === undefined || !more.includes(most)) return;
  const needed = most * bytesEach;
  const { bavail, bsize } = statfsSync(folder);
  const gib = (bytes) => (bytes / 2 ** 30).toFixed(1);
  console.error(`bench-curves: ${name} at ${most.toLocaleString('en-US')} takes about ${gib(needed)} GiB in ${folder}`);
  if (bavail * bsize < 2 * needed) {
    giveUp(`${folder} has ${gib(bavail * bsize)} GiB free, and there should be twice what that takes`);
  }
}

/** With the cores that everything else on this machine used meanwhile. */
function measured(host, args) {
  const others = watchOthers();
  const lines = linesOf(host, args);
  const others_cores = others();
  return lines?.map((line) => ({ ...line, others_cores }));
}

const max = numberOf('MAX');
const rounds = numberOf('ROUNDS') ?? 1;
const n = numberOf('N');
const names = curvesOf(process.env['CURVES'] ?? '');
const folder = folderOf(process.env['FOLDER'] ?? '');
const out = resolve(root, process.env['OUT'] || 'build/bench-curves.jsonl');
const page = resolve(root, process.env['PAGE'] || pageDefault);
if (!existsSync(page)) giveUp(`PAGE takes a file that is there, with the markers of the curves, not '${page}'`);
const plan = names.map((name) => ({ name, points: pointsOf(name, max) }));
for (const { name, points } of plan) checkRoom(name, points);
if (!existsSync(join(root, 'bench/curves/node_modules'))) {
  giveUp("the packages that draw are missing: 'scripts/bootstrap curves' installs them");
}

// For the test: see pawl_bench.
const lose = process.env['LOSE'] ? ['--lose', process.env['LOSE']] : [];
const lines = [];
function note(line) {
  lines.push(line);
  appendFileSync(out, `${JSON.stringify(line)}\n`);
}

const [machine] = linesOf('cpp', ['--machine', '--folder', folder]) ?? giveUp('there is nothing to say of the machine');
note({ ...machine, date: new Date().toISOString().slice(0, 10) });
let failed = 0;
for (const { name, points } of plan) {
  for (let round = 0; round < rounds; round++) {
    for (const x of points) {
      console.error(`bench-curves: ${name}, ${x.toLocaleString('en-US')}`);
      for (const { host, args } of curves[name].runs(x, n)) {
        for (let time = 0; time < (curves[name].repeats?.(x) ?? 1); time++) {
          const more = measured(host, [...args, '--folder', folder, ...lose]);
          if (more === undefined) {
            console.error(`bench-curves: ${args.join(' ')} (${host}) failed`);
            failed++;
          }
          for (const line of more ?? []) note({ curve: name, x, ...line });
        }
      }
    }
  }
}
if (failed > 0) {
  console.error(`bench-curves: ${failed} runs failed; ${page} is left as it was`);
  process.exit(1);
}
note({ workload: 'end' });
await writePage(lines, page);
console.log(`The curves are in ${page}, the lines in ${out}`);
