import { InvalidArgumentError } from './errors.js';
import { didYouMean } from './names.js';

/** Refuses options that nobody reads: a misspelt one must not be silently without effect. */
export function checkOptions(what: string, options: unknown, known: readonly string[]): void {
  if (options === undefined) return;
  if (typeof options !== 'object' || options === null || Array.isArray(options)) {
    throw new InvalidArgumentError(
      `${what} takes an object with ${known.join(', ')}, not ${describeKind(options)}`,
    );
  }
  for (const key of Object.keys(options)) {
    if (known.includes(key)) continue;
    const hint = didYouMean(key, known) || `. It takes ${known.join(', ')}`;
    throw new InvalidArgumentError(`${what} knows no '${key}'${hint}`);
  }
}

/** "a number", "an array", "the class 'Declined'": for what is refused. Never throws. */
export function describeKind(value: unknown): string {
  if (value === null || value === undefined) return String(value);
  if (Array.isArray(value)) return 'an array';
  if (typeof value === 'function') {
    const name = Object.getOwnPropertyDescriptor(value, 'name')?.value as unknown;
    const isClass = Object.getOwnPropertyDescriptor(value, 'prototype')?.writable === false;
    return typeof name === 'string' && name !== ''
      ? `the ${isClass ? 'class' : 'function'} '${name}'`
      : 'a function';
  }
  return typeof value === 'object' ? 'an object' : `a ${typeof value}`;
}

/** A text that may be left out; '' then. */
export function checkText(what: string, text: unknown): string {
  if (text === undefined) return '';
  if (typeof text === 'string') return text;
  throw new InvalidArgumentError(`${what} must be a string, not ${describeKind(text)}`);
}

/** A list of texts that may be left out; a copy of its own. `hint` is added to what is refused. */
export function checkTexts(
  what: string,
  texts: unknown,
  hint: (text: unknown) => string = () => '',
): readonly string[] {
  if (texts === undefined) return [];
  if (!Array.isArray(texts)) {
    throw new InvalidArgumentError(`${what} must be a list of strings, not ${describeKind(texts)}`);
  }
  return Object.freeze(
    // Also where a list has holes.
    Array.from(texts as unknown[], (text, i) => {
      if (typeof text === 'string') return text;
      throw new InvalidArgumentError(
        `${what}[${i}] must be a string, not ${describeKind(text)}${hint(text)}`,
      );
    }),
  );
}
