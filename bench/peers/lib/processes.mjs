// Memory, processor time and what was written, of processes with all of their descendants, from /proc.
// Where several are measured they have roles: { postgres: 4711, app: 4712 }.
import { spawn } from 'node:child_process';
import { readFileSync, readdirSync } from 'node:fs';
import { rounded } from './load.mjs';

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

function sumOf(file, pattern, pid) {
  let sum = 0;
  for (const member of family(pid)) {
    try {
      sum += Number(pattern.exec(readFileSync(`/proc/${member}/${file}`, 'utf8'))?.[1] ?? 0);
    } catch {
      // It has ended.
    }
  }
  return sum;
}

/** MiB of memory, pages that several share counted once: what would be free without these. */
export function memoryMib(roles) {
  const kib = Object.values(roles).reduce((sum, pid) => sum + sumOf('smaps_rollup', /^Pss:\s+(\d+)/m, pid), 0);
  return rounded(kib / 1_024);
}

/** Bytes sent to storage, those of descendants that have ended among them. */
export function bytesWritten(roles) {
  return Object.values(roles).reduce((sum, pid) => sum + sumOf('io', /^write_bytes: (\d+)/m, pid), 0);
}

function processorSeconds(pid) {
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
