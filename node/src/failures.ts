/**
 * Errors on their way into the history and out of it. Class identity does not survive; name,
 * message, stack, code, details and causes do.
 */
import {
  causeDepthMax,
  classify,
  classNumbers,
  isA,
  membersOf,
  type FailureClass,
  type FailureClassifier,
} from './classification.js';
import { encode, encodeDetails, reviveParsed } from './codec.js';
import type { FlatWriter } from './wire.js';

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

// Of one failure, however they are nested.
const causesMax = 32;

const describing = ['name', 'message', 'stack', 'code', 'details', 'cause', 'errors'] as const;

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
export function writeFailure(
  out: FlatWriter,
  thrown: unknown,
  classifiers: readonly FailureClassifier[] = [],
): void {
  writeNested(out, thrown, 0, { left: causesMax }, classifiers);
}

function writeNested(
  out: FlatWriter,
  thrown: unknown,
  depth: number,
  causesAllowed: { left: number },
  classifiers: readonly FailureClassifier[],
): void {
  const failureClass = classNumbers[classify(thrown, classifiers)];
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
  for (const cause of causes) writeNested(out, cause, depth + 1, causesAllowed, classifiers);
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
