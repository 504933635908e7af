import { InvalidArgumentError } from './errors.js';
import { didYouMean } from './names.js';

/** Refuses options that nobody reads: a misspelt one must not be silently without effect. */
export function checkOptions(what: string, options: unknown, known: readonly string[]): void {
  if (options === undefined) return;
  if (typeof options !== 'object' || options === null || Array.isArray(options)) {
    throw new InvalidArgumentError(`${what} takes an object with ${known.join(', ')}`);
  }
  for (const key of Object.keys(options)) {
    if (known.includes(key)) continue;
    const hint = didYouMean(key, known) || `. It takes ${known.join(', ')}`;
    throw new InvalidArgumentError(`${what} knows no '${key}'${hint}`);
  }
}
