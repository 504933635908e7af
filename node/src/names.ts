import { InvalidArgumentError } from './errors.js';

const nameBytesMax = 255;

/** Names of actions that give the same text here are one name. */
export function foldName(name: string): string {
  return name.toLowerCase().replace(/[_-]/g, '');
}

/** Refuses what is no text, empty, too long, or broken Unicode. `what` says whose name it is. */
export function checkName(name: unknown, what: string): string {
  if (typeof name !== 'string') {
    throw new InvalidArgumentError(
      `${what} must be a string, not ${name === null ? 'null' : typeof name}`,
    );
  }
  if (name === '') throw new InvalidArgumentError(`${what} must not be empty`);
  if (!name.isWellFormed()) {
    throw new InvalidArgumentError(`${what} has a lone surrogate, which UTF-8 can't carry`);
  }
  if (name.includes('\0')) throw new InvalidArgumentError(`${what} has a NUL character`);
  if (name.length > nameBytesMax / 3 && Buffer.byteLength(name) > nameBytesMax) {
    throw new InvalidArgumentError(
      `${what} has ${Buffer.byteLength(name)} bytes; it can have ${nameBytesMax}: ` +
        `'${name.slice(0, 40)}…'`,
    );
  }
  return name;
}

export function checkOptionalName(name: unknown, what: string): string {
  return name === undefined || name === null ? '' : checkName(name, what);
}

function editDistance(a: string, b: string): number {
  let previous = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const substitution = previous[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1);
      row.push(Math.min(substitution, previous[j]! + 1, row[j - 1]! + 1));
    }
    previous = row;
  }
  return previous[b.length]!;
}

/** The candidate that looks most like `name`, if one does at all. */
export function nearestName(name: string, candidates: Iterable<string>): string | undefined {
  const folded = foldName(name).slice(0, nameBytesMax);
  let best: string | undefined;
  let bestDistance = Math.max(2, Math.floor(folded.length / 2)) + 1;
  for (const candidate of candidates) {
    const distance = editDistance(folded, foldName(candidate));
    if (distance < bestDistance) {
      best = candidate;
      bestDistance = distance;
    }
  }
  return best;
}

/** " Did you mean 'X'?", or nothing. */
export function didYouMean(name: string, candidates: Iterable<string>): string {
  const nearest = nearestName(name, candidates);
  return nearest === undefined ? '' : `. Did you mean '${nearest}'?`;
}
