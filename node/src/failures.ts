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

// Beyond these a chain of causes is cut off.
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

/** What another attempt at the thing that threw `error` is worth. Unclassifiable is transient. */
export function classify(error: unknown): FailureClass {
  for (let at: unknown = error, depth = 0; depth < causeDepthMax; depth++) {
    if (typeof at !== 'object' || at === null) break;
    const { retryable, failureClass, name, code, cause } = at as Record<string, unknown>;
    if (retryable === false) return 'permanent';
    if (typeof failureClass === 'string' && failureClass in classNumbers) {
      return failureClass as FailureClass;
    }
    if (at instanceof ValidationError) return 'validation';
    if (at instanceof PayloadError) return 'permanent';
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

function causesOf(error: object): unknown[] {
  const { cause, errors } = error as { cause?: unknown; errors?: unknown };
  if (Array.isArray(errors)) return errors.slice(0, causesMax);
  return cause === undefined || cause === null ? [] : [cause];
}

/** What was thrown, as the fields of a failure, whatever it was. Never throws. */
export function writeFailure(out: FlatWriter, thrown: unknown, depth = 0): void {
  const failureClass = classNumbers[classify(thrown)];
  if (typeof thrown !== 'object' || thrown === null) {
    out.push('Error', textOf(thrown), '', '', detailsOf(thrown), failureClass, 0);
    return;
  }
  let fields: [string, string, string, string, string];
  let causes: unknown[] = [];
  try {
    const { name, message, stack, code, details } = thrown as Record<string, unknown>;
    fields = [
      typeof name === 'string' && name !== '' ? name.toWellFormed() : 'Error',
      typeof message === 'string' ? message.toWellFormed() : textOf(thrown),
      typeof stack === 'string' ? stack.toWellFormed() : '',
      codeOf(code),
      thrown instanceof Error ? detailsOf(details) : detailsOf(thrown),
    ];
    if (depth < causeDepthMax) causes = causesOf(thrown);
  } catch {
    fields = ['Error', '[an object whose members throw]', '', '', ''];
  }
  out.push(...fields, failureClass, causes.length);
  for (const cause of causes) writeFailure(out, cause, depth + 1);
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
