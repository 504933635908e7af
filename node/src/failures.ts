/**
 * Errors on their way into the history and out of it. Class identity does not survive; name,
 * message, stack, code, details and causes do.
 */
import { encode, encodeDetails, reviveParsed } from './codec.js';
import { PayloadError, ValidationError } from './errors.js';
import type { FlatWriter } from './wire.js';

/** How the engine treats a failed attempt. The first four are tried again. */
export type FailureClass =
  | 'transient'
  | 'contention'
  | 'external'
  | 'timeout'
  | 'permanent'
  | 'validation'
  | 'consistency';

const classNumbers: Record<FailureClass, number> = {
  transient: 0,
  contention: 1,
  external: 2,
  timeout: 3,
  permanent: 4,
  validation: 5,
  consistency: 6,
};

/** A failure as it lies in the history. */
export interface Failure {
  name: string;
  message: string;
  stack?: string;
  code?: string;
  details?: any;
  causes?: Failure[];
  class: FailureClass;
}

// Beyond these a chain of causes is cut off. The second one counts all of one failure.
const causeDepthMax = 8;
const causesMax = 32;

const timeoutCodes = new Set([
  'ETIMEDOUT',
  'ESOCKETTIMEDOUT',
  'UND_ERR_CONNECT_TIMEOUT',
  'UND_ERR_HEADERS_TIMEOUT',
  'UND_ERR_BODY_TIMEOUT',
]);

const externalCodes = new Set([
  'ECONNREFUSED',
  'ECONNRESET',
  'ECONNABORTED',
  'ENOTFOUND',
  'EAI_AGAIN',
  'EHOSTUNREACH',
  'EHOSTDOWN',
  'ENETUNREACH',
  'ENETDOWN',
  'EPIPE',
  'EPROTO',
  'UND_ERR_SOCKET',
]);

// Of PostgreSQL: serialization failure, deadlock, lock not available. Of SQLite: busy, locked.
const contentionCodes = new Set(['40001', '40P01', '55P03', 'SQLITE_BUSY', 'SQLITE_LOCKED']);

// Of PostgreSQL (class 23) and SQLite: a constraint was violated.
const consistencyCode = /^(23[0-9A-Z]{3}|SQLITE_CONSTRAINT(_.*)?)$/;

const classifying = ['retryable', 'failureClass', 'name', 'code', 'cause'] as const;
const describing = ['name', 'message', 'stack', 'code', 'details', 'cause', 'errors'] as const;

/** Those members that can be read: a getter may throw, and a revoked proxy has none. */
function membersOf<Key extends string>(
  object: object,
  keys: readonly Key[],
): { [K in Key]?: unknown } {
  const members: { [K in Key]?: unknown } = {};
  for (const key of keys) {
    try {
      members[key] = (object as { [K in Key]?: unknown })[key];
    } catch {
      // As if it were not there: what else there is says more than this.
    }
  }
  return members;
}

/** instanceof asks a proxy for its prototype, and a revoked one has none to tell. */
function isA(value: unknown, constructor: abstract new (...args: any[]) => unknown): boolean {
  try {
    return value instanceof constructor;
  } catch {
    return false;
  }
}

/**
 * What another attempt at the thing that threw `error` is worth. Unclassifiable is transient. Never
 * throws.
 */
export function classify(error: unknown): FailureClass {
  for (let at: unknown = error, depth = 0; depth < causeDepthMax; depth++) {
    if (typeof at !== 'object' || at === null) break;
    const { retryable, failureClass, name, code, cause } = membersOf(at, classifying);
    if (retryable === false) return 'permanent';
    if (typeof failureClass === 'string' && Object.hasOwn(classNumbers, failureClass)) {
      return failureClass as FailureClass;
    }
    if (isA(at, ValidationError)) return 'validation';
    if (isA(at, PayloadError)) return 'permanent';
    if (name === 'TimeoutError' || name === 'AbortError') return 'timeout';
    if (typeof code === 'string') {
      if (timeoutCodes.has(code)) return 'timeout';
      if (externalCodes.has(code)) return 'external';
      if (contentionCodes.has(code)) return 'contention';
      if (consistencyCode.test(code)) return 'consistency';
    }
    // fetch() wraps what went wrong: TypeError: fetch failed, caused by ECONNREFUSED.
    at = cause;
  }
  return 'transient';
}

function textOf(value: unknown): string {
  try {
    return String(value).toWellFormed();
  } catch {
    return '[unprintable]';
  }
}

function codeOf(code: unknown): string {
  return typeof code === 'string' || typeof code === 'number' ? textOf(code) : '';
}

function detailsOf(details: unknown): string {
  try {
    return encode(details);
  } catch {
    return encodeDetails([details]);
  }
}

function causesOf({ cause, errors }: { cause?: unknown; errors?: unknown }): unknown[] {
  try {
    if (Array.isArray(errors)) return Array.from(errors.slice(0, causesMax) as unknown[]);
  } catch {
    // No list that can be read.
  }
  return cause === undefined || cause === null ? [] : [cause];
}

/** What was thrown, as the fields of a failure, whatever it was. Never throws. */
export function writeFailure(out: FlatWriter, thrown: unknown): void {
  writeNested(out, thrown, 0, { left: causesMax });
}

function writeNested(out: FlatWriter, thrown: unknown, depth: number, causesAllowed: { left: number }): void {
  const failureClass = classNumbers[classify(thrown)];
  if (typeof thrown !== 'object' || thrown === null) {
    out.push('Error', textOf(thrown), '', '', detailsOf(thrown), failureClass, 0);
    return;
  }
  const { name, message, stack, code, details, ...nested } = membersOf(thrown, describing);
  const causes = depth < causeDepthMax ? causesOf(nested).slice(0, causesAllowed.left) : [];
  causesAllowed.left -= causes.length;
  out.push(
    typeof name === 'string' && name !== '' ? name.toWellFormed() : 'Error',
    typeof message === 'string' ? message.toWellFormed() : textOf(thrown),
    typeof stack === 'string' ? stack.toWellFormed() : '',
    codeOf(code),
    isA(thrown, Error) ? detailsOf(details) : detailsOf(thrown),
    failureClass,
    causes.length,
  );
  for (const cause of causes) writeNested(out, cause, depth + 1, causesAllowed);
}

/** A failure out of the history as an Error: what workflow code catches. */
export function errorFromFailure(failure: Failure): Error {
  const error = new Error(failure.message);
  const define = (key: string, value: unknown) =>
    Object.defineProperty(error, key, { value, configurable: true, writable: true });
  define('name', failure.name);
  // The recorded stack, or none: that of this line would mislead.
  define('stack', failure.stack ?? `${failure.name}: ${failure.message}`);
  if (failure.code !== undefined) (error as { code?: string }).code = failure.code;
  if (failure.details !== undefined) {
    (error as { details?: unknown }).details = reviveParsed(failure.details);
  }
  define('failureClass', failure.class);
  if (failure.causes !== undefined && failure.causes.length > 0) {
    const causes = failure.causes.map(errorFromFailure);
    define('cause', causes[0]);
    if (failure.name === 'AggregateError') define('errors', causes);
  }
  return error;
}
