// What the processors of this machine were busy with, from /proc, so that a figure can say what else ran.
import { readFileSync, readdirSync } from 'node:fs';

const ticksPerS = 100;

/** Of all processors together, since the machine began. */
function busySeconds() {
  const [user, nice, system, , , irq, softirq] = readFileSync('/proc/stat', 'utf8')
    .split('\n', 1)[0]
    .split(/\s+/)
    .slice(1)
    .map(Number);
  return (user + nice + system + irq + softirq) / ticksPerS;
}

function statOf(pid) {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'utf8');
    return text.slice(text.lastIndexOf(')') + 2).split(' ').map(Number);
  } catch {
    return undefined; // It has ended.
  }
}

/** This process, those that it started, and those that it has waited for. */
function ownSeconds() {
  const children = new Map();
  for (const name of readdirSync('/proc')) {
    const parent = /^\d+$/.test(name) ? statOf(name)?.[1] : undefined;
    if (parent !== undefined) children.set(parent, [...(children.get(parent) ?? []), Number(name)]);
  }
  let ticks = 0;
  for (const left = [process.pid]; left.length > 0; ) {
    const pid = left.pop();
    const [utime, stime, cutime, cstime] = statOf(pid)?.slice(11, 15) ?? [0, 0, 0, 0];
    ticks += utime + stime + cutime + cstime;
    left.push(...(children.get(pid) ?? []));
  }
  return ticks / ticksPerS;
}

/** Begins; the function that it gives tells how many cores everything else used since, the kernel's threads among it. */
export function watchOthers() {
  const began = { at: performance.now(), busy: busySeconds(), own: ownSeconds() };
  return () => {
    const seconds = (performance.now() - began.at) / 1_000;
    const others = (busySeconds() - began.busy - (ownSeconds() - began.own)) / seconds;
    return Math.max(0, Math.round(others * 100) / 100);
  };
}
