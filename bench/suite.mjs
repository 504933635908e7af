// What `make bench` runs: each case of each workload in a process of its own, one after the other. Lines of JSON go
// to build/bench.jsonl, behind those of earlier runs; at the end a table is printed.
import { appendFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { hosts as allHosts, root, runsOf } from './runs.mjs';
import { isMeasuredInAppends, table } from './table.mjs';

const { giveUp, linesOf, numberOf, folderOf } = runsOf('bench');

function hostsOf(text) {
  if (text !== '' && !allHosts.includes(text)) giveUp(`HOST can be ${allHosts.join(' or ')}, not '${text}'`);
  return text === '' ? allHosts : [text];
}

/** By workload, so that both hosts are measured within the same minute. */
function casesOf(hosts, wanted, concurrency) {
  const known = [];
  for (const host of hosts) {
    const lines = linesOf(host, ['--list']) ?? giveUp(`the workloads of ${host} can't be listed`);
    known.push(...lines.map((line) => ({ ...line, host })));
  }
  const names = [...new Set(known.map(({ workload }) => workload))];
  for (const name of wanted) {
    if (!names.includes(name)) {
      const of = hosts.length === 1 ? ` of HOST=${hosts[0]}` : '';
      giveUp(`BENCH: there is no workload '${name}'${of}; there are ${names.join(', ')}`);
    }
  }
  const cases = [];
  for (const name of wanted.length > 0 ? wanted : names) {
    for (const one of known.filter(({ workload }) => workload === name)) {
      if (concurrency === undefined || !one.any_concurrency) {
        cases.push(one);
      } else if (!cases.some(({ workload, host }) => workload === name && host === one.host)) {
        cases.push({ ...one, concurrency });
      }
    }
  }
  return cases;
}

const n = numberOf('N');
const concurrency = numberOf('CONCURRENCY');
const idleSeconds = numberOf('IDLE_SECONDS');
const hosts = hostsOf(process.env['HOST'] ?? '');
const folder = folderOf(process.env['FOLDER'] ?? '');
const out = resolve(root, process.env['OUT'] || 'build/bench.jsonl');
const wanted = (process.env['BENCH'] ?? '').split(',').filter((name) => name !== '');
const cases = casesOf(hosts, [...new Set(wanted)], concurrency);

const lines = [];
let failed = 0;
/** False where it failed. */
function note(host, args) {
  const more = linesOf(host, [...args, '--folder', folder]);
  for (const line of more ?? []) {
    lines.push(line);
    appendFileSync(out, `${JSON.stringify(line)}\n`);
  }
  return more !== undefined;
}

if (!note('cpp', ['--machine'])) giveUp('there is nothing to say of the machine');
for (const { workload, host, concurrency: clients, any_concurrency: anyConcurrency } of cases) {
  const what = `${workload} (${host}${anyConcurrency ? `, ${clients} at once` : ''})`;
  console.error(`bench: ${what}`);
  if (isMeasuredInAppends(workload, clients)) note('cpp', ['raw-append', '--n', String(Math.min(n ?? 500, 500))]);
  const args = [workload, '--concurrency', String(clients)];
  if (n !== undefined) args.push('--n', String(n));
  if (idleSeconds !== undefined && workload === 'idle') args.push('--seconds', String(idleSeconds));
  // For the test of the suite: see pawl_bench.
  if (process.env['LOSE']) args.push('--lose', process.env['LOSE']);
  if (!note(host, args)) {
    console.error(`bench: ${what} failed`);
    failed++;
  }
}
console.log(table(lines));
console.log(`\nThe lines are in ${out}`);
if (failed > 0) console.error(`bench: ${failed} of ${cases.length} runs failed`);
process.exitCode = failed > 0 ? 1 : 0;
