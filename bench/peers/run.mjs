// Measures Pawl and other engines with the same workloads, and prints one table of them. README.md says how.
//
//   make bench-peers [PEERS=pawl,dbos] [WORKLOADS=three-step,parked] [N=200]
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, existsSync, mkdirSync, mkdtempSync, openSync, rmSync, statfsSync, writeFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { choose, limits, WrongChoice } from './lib/choices.mjs';
import { watchOthers } from '../processor_time.mjs';
import { lastLine, startService } from './lib/services.mjs';
import { table } from './lib/table.mjs';

const minutesMax = 5; // for one workload of one peer
const root = fileURLToPath(new URL('../..', import.meta.url));
const results = join(root, 'build', 'bench-peers.jsonl');
const logs = join(root, 'build', 'bench-peers');

/** /tmp may be in memory, where syncing costs nothing. */
function makeFolder(parent = '/var/tmp') {
  const tmpfs = 0x01021994;
  if (!existsSync(parent)) throw new WrongChoice(`PEERS_TMP: there is no folder '${parent}'`);
  if (statfsSync(parent).type === tmpfs) {
    throw new WrongChoice(`'${parent}' is in memory: name a folder on a disk with PEERS_TMP`);
  }
  const folder = mkdtempSync(join(parent, 'pawl-peers-'));
  chmodSync(folder, 0o755); // PostgreSQL is another user's.
  return folder;
}

function orExit(make) {
  try {
    return make();
  } catch (error) {
    if (!(error instanceof WrongChoice)) throw error;
    console.error(`bench-peers: ${error.message}`);
    process.exit(2);
  }
}

const chosen = orExit(() => choose(process.env));
const folder = orExit(() => makeFolder(process.env.PEERS_TMP));
const lines = [];
const noService = { name: undefined, environment: {} };
let service = noService; // what runs: { name, environment, stop }; or { name, reason } where it does not
let servicesStarted = 0;
let running; // the process that measures
let interrupted = false;
const others = watchOthers(); // what they use of the processors, all in all

function add(line) {
  lines.push(line);
  const { peer, workload, section, limit, per_s, steps_per_s, reason } = line;
  const what = limit ?? section ?? workload;
  console.error(`${peer}: ${what}: ${reason ?? `${Math.round(steps_per_s ?? per_s)} per s`}`);
}

/** Runs what measures; gives its messages to `tell`, and says at the end why it failed, if it did. */
async function measure(name, module, args, environment, tell) {
  const log = join(logs, `${name}.log`);
  const output = openSync(log, 'w');
  const child = fork(fileURLToPath(new URL(module, import.meta.url)), args, {
    env: { ...process.env, ...environment, PEERS_FOLDER: folder },
    stdio: ['ignore', output, output, 'ipc'],
  });
  running = child;
  let told = false;
  let late = false;
  child.on('message', (message) => {
    told ||= 'reason' in message;
    tell(message);
  });
  const limit = setTimeout(() => {
    late = true;
    child.kill('SIGKILL');
  }, minutesMax * 60_000);
  // The last messages may come after the end.
  const [[code, signal]] = await Promise.all([once(child, 'exit'), once(child, 'disconnect')]);
  clearTimeout(limit);
  running = undefined;
  if (code === 0 || told || interrupted) return;
  const ended = `ended ${signal ? `by ${signal}` : `with status ${code}`}, and ${relative(root, log)} with: ${lastLine(log)}`;
  tell({ reason: late ? `not done after ${minutesMax} minutes` : ended });
}

/** The service that is asked for runs afterwards, and no other one. */
async function haveService(name) {
  if (service.name === name) return service;
  await service.stop?.();
  service = noService;
  if (name === undefined) return service;
  try {
    service = { name, ...(await startService(name, join(folder, `${name}-${++servicesStarted}`))) };
  } catch (error) {
    service = { name, reason: error.message };
  }
  return service;
}

async function measureWorkload(peer, workload) {
  const about = { peer: peer.name, workload: workload.name };
  const lacks = peer.lacks?.[workload.name];
  if (lacks !== undefined) return add({ ...about, reason: lacks });
  const { reason, environment } = await haveService(peer.service);
  if (reason !== undefined) return add({ ...about, reason });
  const settings = {
    workload: workload.name,
    count: chosen.count ?? workload.count,
    seconds: chosen.seconds,
    idleSeconds: chosen.idleSeconds,
  };
  const mine = [];
  await measure(
    `${peer.name}-${workload.name}`,
    'lib/driver.mjs',
    [peer.module, JSON.stringify(settings)],
    { ...environment, ...peer.environment },
    ({ checked, ...line }) => {
      if (checked !== undefined) {
        for (const each of mine) each.checked = checked;
        return;
      }
      mine.push({ ...about, durable: peer.durable, ...line });
      add(mine.at(-1));
    },
  );
}

async function measureAll() {
  for (const peer of chosen.peers) {
    for (const workload of chosen.workloads) {
      if (interrupted) return;
      await measureWorkload(peer, workload);
    }
  }
  for (const [part, needed] of chosen.limits ? Object.entries(limits.parts) : []) {
    if (interrupted) return;
    const { reason, environment } = await haveService(needed);
    const tell = (line) => add({ peer: limits.name, limit: part, ...line });
    if (reason !== undefined) tell({ reason });
    else await measure(`limits-${part}`, 'limits/limits.mjs', [part, `${chosen.seconds}`], environment, tell);
  }
}

async function end() {
  await service.stop?.();
  rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
  if (lines.length === 0) return;
  lines.push({ measured: new Date().toISOString().slice(0, 10), others_cores: others() });
  writeFileSync(results, lines.map((line) => `${JSON.stringify(line)}\n`).join(''));
  console.log(`\n${table(lines)}\n\nEach line as JSON: ${relative(root, results)}`);
}

for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) {
  process.on(signal, () => {
    interrupted = true;
    running?.kill('SIGKILL'); // What it had started ends with it.
  });
}
mkdirSync(logs, { recursive: true });
try {
  await measureAll();
} finally {
  await end();
}
const oursFailed = lines.some(({ peer, reason }) => peer?.startsWith('pawl') && reason !== undefined);
process.exit(interrupted ? 130 : oursFailed ? 1 : 0);
