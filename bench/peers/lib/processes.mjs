// What a load costs. Memory and processor time are of processes with all of their descendants, from /proc; where
// several are measured they have roles: { postgres: 4711, app: 4712 }.
import { execFile, spawn } from 'node:child_process';
import { existsSync, readFileSync, readdirSync, statSync } from 'node:fs';
import { promisify } from 'node:util';
import { rounded } from './load.mjs';

const run = promisify(execFile);
const ticksPerSecond = 100;

function stat(pid) {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'utf8');
    const fields = text.slice(text.lastIndexOf(')') + 2).split(' ').map(Number);
    return {
      parent: fields[1],
      own: (fields[11] + fields[12]) / ticksPerSecond,
      ofEndedChildren: (fields[13] + fields[14]) / ticksPerSecond,
    };
  } catch {
    return undefined; // It has ended.
  }
}

/** The process and its descendants; of this process itself only that, since its children have roles of their own. */
function family(pid) {
  if (pid === process.pid) return [pid];
  const children = new Map();
  for (const name of readdirSync('/proc')) {
    const parent = /^\d+$/.test(name) ? stat(name)?.parent : undefined;
    if (parent !== undefined) children.set(parent, [...(children.get(parent) ?? []), Number(name)]);
  }
  const found = [];
  for (const left = [pid]; left.length > 0; ) {
    const next = left.pop();
    found.push(next);
    left.push(...(children.get(next) ?? []));
  }
  return found;
}

function memoryKib(pid) {
  try {
    return Number(/^Pss:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8'))?.[1] ?? 0);
  } catch {
    return 0; // It has ended.
  }
}

/** MiB of memory, pages that several share counted once: what would be free without these. */
export function memoryMib(roles) {
  const members = Object.values(roles).flatMap(family);
  return rounded(members.reduce((sum, pid) => sum + memoryKib(pid), 0) / 1_024);
}

/**
 * Bytes that the disk below the folder was given so far, by whomever, after everything that waits in memory; NaN
 * where no disk of its own is below it, as in a container. What /proc says of processes is of no use here: a
 * kernel that keeps files in large folios counts all of one for each page that is written into it.
 */
export async function bytesOnDisk(folder) {
  await run('sync', ['--file-system', folder]);
  const { dev } = statSync(folder, { bigint: true });
  const major = (dev >> 8n) & 0xfffn;
  const minor = (dev & 0xffn) | ((dev >> 12n) & ~0xffn);
  const statistics = `/sys/dev/block/${major}:${minor}/stat`;
  if (!existsSync(statistics)) return NaN;
  const sectorsWritten = Number(readFileSync(statistics, 'utf8').trim().split(/\s+/)[6]);
  return sectorsWritten * 512;
}

/** Seconds on the processors so far, with those of its descendants. */
export function processorSeconds(pid) {
  const ended = pid === process.pid ? 0 : (stat(pid)?.ofEndedChildren ?? 0);
  return family(pid).reduce((sum, member) => sum + (stat(member)?.own ?? 0), ended);
}

/** Begins to measure; the function that it gives tells how many processors each role has used since. */
export function measureCores(roles) {
  const began = performance.now();
  const before = Object.entries(roles).map(([role, pid]) => [role, pid, processorSeconds(pid)]);
  return () => {
    const seconds = (performance.now() - began) / 1_000;
    return Object.fromEntries(
      before.map(([role, pid, then]) => [role, rounded((processorSeconds(pid) - then) / seconds)]),
    );
  };
}

/**
 * A server that ends with this process, however that ends: by `signal`. Its pid is that of the server itself.
 * Root runs it as `user`, if one is given.
 */
export function spawnServer(command, { signal, user, ...options }) {
  const as = user !== undefined && process.getuid() === 0 ? ['--reuid', user, '--regid', user, '--init-groups'] : [];
  const server = spawn('setpriv', ['--pdeathsig', signal, ...as, ...command], options);
  // An own property, so that whoever comes later than the event knows too.
  server.ended = new Promise((resolve) => {
    server.once('error', (error) => resolve(`could not be started: ${error.message}`));
    server.once('exit', (code, by) => resolve(`ended ${by === null ? `with status ${code}` : `by ${by}`}`));
  });
  return server;
}
