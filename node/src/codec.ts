/**
 * The codec: what every value goes through on its way into the history, to another process or from
 * an action to a workflow. What code gets is what JSON says of what was given:
 *
 *   Date, and whatever else has toJSON   what toJSON returns
 *   undefined                            dropped as a member, null in an array
 *   Uint8Array, Buffer                   {"$bytes": "<base64>"}, and a Uint8Array again when read
 *   Error                                an object of name, message, stack, code and its own members
 *   other objects                        their own enumerable members
 *
 * NaN, infinities, BigInt, Map, Set, promises, functions, symbols, cycles, lone surrogates, binary
 * types other than Uint8Array, and what hides all that it holds (Response, URLSearchParams, iterators
 * …) are refused with the path to them. Of which realm (vm context) they are makes no difference.
 *
 * An object of the user's that looks like tagged bytes (one member named $bytes, $$bytes …) gets one
 * more '$' on its way in and loses it on its way out.
 */
import { types } from 'node:util';
import { PayloadError } from './errors.js';

/** JSON text; '' is the absence of a value, which JavaScript calls undefined. */
export type Encoded = string;

const depthMax = 500;
const tag = '$bytes';
const tagLike = /^\$+bytes$/;

type Ancestors = object[];

function refuse(path: string, what: string, hint = ''): never {
  throw new PayloadError(`${path}: ${what} can't be carried${hint === '' ? '' : `. ${hint}`}`);
}

function memberPath(path: string, key: string): string {
  return /^[A-Za-z_$][\w$]*$/.test(key) ? `${path}.${key}` : `${path}[${JSON.stringify(key)}]`;
}

function isTagLike(keys: readonly string[]): boolean {
  return keys.length === 1 && tagLike.test(keys[0]!);
}

/**
 * Whether JSON.stringify alone does right by the value: plain data without anything that needs a
 * second look. Says no when in doubt, so that the slow way decides.
 */
function isPlain(value: unknown, depth: number): boolean {
  switch (typeof value) {
    case 'string':
      return value.isWellFormed();
    case 'number':
      return Number.isFinite(value);
    case 'boolean':
      return true;
    case 'object':
      break;
    default:
      return false;
  }
  if (value === null) return true;
  if (depth === 0) return false;
  if (Array.isArray(value)) {
    for (let i = 0; i < value.length; i++) if (!isPlain(value[i], depth - 1)) return false;
    return (value as { toJSON?: unknown }).toJSON === undefined;
  }
  const prototype = Object.getPrototypeOf(value) as object | null;
  if (prototype !== Object.prototype && prototype !== null) return false;
  let members = 0;
  let tagged = false;
  for (const key in value) {
    if (key === 'toJSON' || !key.isWellFormed()) return false;
    const member = (value as Record<string, unknown>)[key];
    if (!isPlain(member, depth - 1)) return false;
    members++;
    if (key.charCodeAt(0) === 36 && tagLike.test(key)) tagged = true;
  }
  return !(tagged && members === 1);
}

function errorMembers(error: Error): Record<string, unknown> {
  const members: Record<string, unknown> = { name: error.name, message: error.message };
  if (typeof error.stack === 'string') members['stack'] = error.stack;
  if (error.cause !== undefined) members['cause'] = error.cause;
  if (Array.isArray((error as AggregateError).errors)) members['errors'] = (error as AggregateError).errors;
  return Object.assign(members, error);
}

function refuseObject(value: object, path: string): void {
  if (types.isMap(value)) refuse(path, 'a Map', 'Use Object.fromEntries(map), or [...map]');
  if (types.isSet(value)) refuse(path, 'a Set', 'Use [...set]');
  if (types.isPromise(value)) refuse(path, 'a promise', 'Is an await missing?');
  if (ArrayBuffer.isView(value) || types.isAnyArrayBuffer(value)) {
    refuse(path, `a ${kindOf(value)}`, 'Of the binary types, Uint8Array can');
  }
  if (types.isWeakMap(value) || types.isWeakSet(value) || types.isRegExp(value)) {
    refuse(path, `a ${kindOf(value)}`);
  }
}

/** As the specification of JavaScript names it, and classes say by Symbol.toStringTag. */
function kindOf(value: object): string {
  return Object.prototype.toString.call(value).slice('[object '.length, -1);
}

/** Of an object without members of its own: whether it is more than an empty one. */
function refuseHidden(value: object, path: string): void {
  const kind = kindOf(value);
  if (kind === 'Object' || kind === 'Arguments') return;
  const article = /^[AEIOU]/.test(kind) ? 'an' : 'a';
  refuse(path, `${article} ${kind}`, 'It shows nothing of what it holds: take out what is needed');
}

function isError(value: object): value is Error {
  return value instanceof Error || types.isNativeError(value);
}

/** The value as plain data for JSON.stringify; undefined stays undefined. */
function simplify(value: unknown, path: string, ancestors: Ancestors): unknown {
  switch (typeof value) {
    case 'undefined':
    case 'boolean':
      return value;
    case 'string':
      if (!value.isWellFormed()) refuse(path, 'text with a lone surrogate');
      return value;
    case 'number':
      if (!Number.isFinite(value)) refuse(path, String(value));
      return value;
    case 'bigint':
      return refuse(path, 'a BigInt', 'Use a number or a string');
    case 'function':
      return refuse(path, 'a function');
    case 'symbol':
      return refuse(path, 'a symbol');
    default:
      return value === null ? null : simplifyObject(value as object, path, ancestors);
  }
}

function simplifyObject(value: object, path: string, ancestors: Ancestors): unknown {
  if (types.isUint8Array(value)) {
    return {
      [tag]: Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString('base64'),
    };
  }
  refuseObject(value, path);
  if (ancestors.includes(value)) refuse(path, 'a cycle', 'It contains itself');
  if (ancestors.length >= depthMax) refuse(path, `a value nested more than ${depthMax} deep`);
  if (types.isDate(value) && Number.isNaN(value.getTime())) refuse(path, 'an invalid Date');

  ancestors.push(value);
  try {
    const toJSON = (value as { toJSON?: unknown }).toJSON;
    if (typeof toJSON === 'function') {
      const key = /(?:\.([\w$]+)|\["?(.*?)"?\])$/.exec(path);
      return simplify(toJSON.call(value, key?.[1] ?? key?.[2] ?? ''), path, ancestors);
    }
    if (Array.isArray(value)) {
      return Array.from(value, (item, i) => simplify(item, `${path}[${i}]`, ancestors) ?? null);
    }
    if (types.isBoxedPrimitive(value)) return simplify(value.valueOf(), path, ancestors);
    const source = isError(value) ? errorMembers(value) : (value as Record<string, unknown>);
    const keys = Object.keys(source);
    if (keys.length === 0) refuseHidden(value, path);
    const copy: Record<string, unknown> = {};
    let kept = 0;
    for (const key of keys) {
      if (!key.isWellFormed()) refuse(path, `a member name with a lone surrogate`);
      const member = simplify(source[key], memberPath(path, key), ancestors);
      if (member === undefined) continue;
      kept++;
      // Not an assignment: '__proto__' is a name like any other.
      Object.defineProperty(copy, key, {
        value: member,
        enumerable: true,
        configurable: true,
        writable: true,
      });
    }
    const names = Object.keys(copy);
    return kept === 1 && isTagLike(names) ? { [`$${names[0]}`]: copy[names[0]!] } : copy;
  } finally {
    ancestors.pop();
  }
}

/** `path` names the value in what is refused: "payload.items[2].price: NaN can't be carried". */
export function encode(value: unknown, path = 'payload'): Encoded {
  if (value === undefined) return '';
  if (isPlain(value, 32)) return JSON.stringify(value);
  const simple = simplify(value, path, []);
  return simple === undefined ? '' : JSON.stringify(simple);
}

function revive(value: unknown): unknown {
  if (typeof value !== 'object' || value === null) return value;
  if (Array.isArray(value)) {
    for (let i = 0; i < value.length; i++) value[i] = revive(value[i]);
    return value;
  }
  const members = value as Record<string, unknown>;
  const keys = Object.keys(members);
  if (isTagLike(keys)) {
    const key = keys[0]!;
    const only = members[key];
    if (key !== tag) return { [key.slice(1)]: revive(only) };
    if (typeof only === 'string') return new Uint8Array(Buffer.from(only, 'base64'));
  }
  // JSON.parse made '__proto__' a member of its own, so this assigns to it like to any other.
  for (const key of keys) {
    const member = members[key];
    if (typeof member === 'object' && member !== null) members[key] = revive(member);
  }
  return value;
}

/** Whether JSON text may hold what `reviveParsed` has to turn back. */
export function hasTags(text: string): boolean {
  return text.includes('$bytes"');
}

/** Tagged bytes become Uint8Arrays again, in place. For a value that JSON.parse has just made. */
export function reviveParsed(value: unknown): unknown {
  return revive(value);
}

export function decode(text: Encoded): any {
  if (text === '') return undefined;
  const value: unknown = JSON.parse(text);
  return hasTags(text) ? revive(value) : value;
}

/** Freezes a decoded value all the way down. Bytes can't be frozen: decode them for each reader. */
export function deepFreeze<T>(value: T): T {
  if (typeof value !== 'object' || value === null || ArrayBuffer.isView(value)) return value;
  for (const member of Object.values(value)) deepFreeze(member);
  return Object.freeze(value);
}

/**
 * What goes beside a log message: never refused, since a log line must not change what code does.
 */
export function encodeDetails(details: readonly unknown[]): Encoded {
  if (details.length === 0) return '';
  return JSON.stringify(
    details.map((detail, i) => {
      try {
        return simplify(detail, `details[${i}]`, []) ?? null;
      } catch {
        try {
          return String(detail);
        } catch {
          return '[unprintable]';
        }
      }
    }),
  );
}
