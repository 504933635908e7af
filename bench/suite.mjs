// What `make bench` runs: each case of each workload in a process of its own, one after the other. Lines of JSON go
// to build/bench.jsonl, behind those of earlier runs; at the end a table is printed.
import { spawnSync } from 'node:child_process';
import { accessSync, appendFileSync, constants, existsSync, mkdirSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { isMeasuredInAppends, table } from './table.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));
const pawlBench = join(root, 'build/release/bin/pawl_bench');
const commands = {
  cpp: { command: pawlBench, args: [], cwd: root },
  ts: { command: process.execPath, args: ['--import', 'tsx', 'bench/main.ts'], cwd: join(root, 'node') },
};

function giveUp(why) {
  console.error(`bench: ${why}`);
  process.exit(2);
}

/** What the run prints. Undefined where it failed: by then it has said why. */
function output(host, args) {
  const { command, args: first, cwd } = commands[host];
  const env = { ...process.env, PAWL_BENCH: pawlBench };
  const { status, signal, stdout, error } = spawnSync(command, [...first, ...args], {
    cwd,
    env,
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  if (error !== undefined) giveUp(`${command} can't be run: ${error.message}`);
  if (signal !== null) console.error(`bench: ended by ${signal}`);
  return status === 0 ? stdout.trim().split('\n') : undefined;
}

const linesOf = (host, args) => output(host, args)?.map((line) => JSON.parse(line));

function numberOf(name) {
  const text = process.env[name] ?? '';
  if (text !== '' && !/^[1-9]\d*$/.test(text)) giveUp(`${name} takes a number from 1, not '${text}'`);
  return text === '' ? undefined : text;
}

function hostsOf(text) {
  const hosts = Object.keys(commands);
  if (text !== '' && !hosts.includes(text)) giveUp(`HOST can be ${hosts.join(' or ')}, not '${text}'`);
  return text === '' ? hosts : [text];
}

function folderOf(text) {
  const folder = text === '' ? join(root, 'build/bench') : resolve(text);
  try {
    // Not recursive: Node.js 20 tries for ever where a file system refuses.
    if (!existsSync(folder)) mkdirSync(folder);
    accessSync(folder, constants.W_OK);
  } catch (error) {
    giveUp(`FOLDER takes a folder that can be written to, not '${folder}': ${error.message}`);
  }
  return folder;
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
        cases.push({ ...one, concurrency: Number(concurrency) });
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
  if (isMeasuredInAppends(workload, clients)) note('cpp', ['raw-append', '--n', n < 500 ? n : '500']);
  const args = [workload, '--concurrency', String(clients)];
  if (n !== undefined) args.push('--n', n);
  if (idleSeconds !== undefined && workload === 'idle') args.push('--seconds', idleSeconds);
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
