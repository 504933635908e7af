/**
 * How values cross between JavaScript and the addon. Towards JavaScript: JSON text. Towards the
 * addon: numbers and strings one after the other in a flat array; node/addon/flat_reader.cc reads
 * them, and the numbers here are the numbers there.
 */
import { toMilliseconds, type Duration } from './durations.js';
import { InvalidArgumentError } from './errors.js';
import { checkOptions, checkTexts, describeKind } from './options.js';

export type FlatWriter = (number | string)[];

/**
 * Below commandKindsEnd. What is written is the kind plus that many times the number of the call's site
 * (call_sites.ts); 0 for none.
 */
export const commandKindsEnd = 32;

export const enum CommandKind {
  scheduleAction = 0,
  wait = 1,
  withdraw = 2,
  startTimer = 3,
  setState = 4,
  setData = 5,
  emit = 6,
  log = 7,
  complete = 8,
  fail = 9,
  cancel = 10,
  patched = 11,
  startChild = 12,
  cancelChild = 13,
  continueAsNew = 14,
  startGraph = 15,
  runInPlace = 16,
}

export const enum JobKind {
  start = 0,
  event = 1,
  waitTimedOut = 2,
  timer = 3,
  actionCompleted = 4,
  actionFailed = 5,
  cancel = 6,
  childCompleted = 7,
  childFailed = 8,
}

export const logLevels = ['debug', 'info', 'warn', 'error'] as const;
/** How much a log line matters. */
export type LogLevel = (typeof logLevels)[number];

/** A payload inside of JSON text: [] is undefined. */
export type CarriedPayload = [] | [unknown];

/** When a failed attempt is followed by another one. */
export interface RetryOptions {
  /** In all, with the first. Default 4. */
  maxAttempts?: number;
  /** Before the second attempt. Default 1 s. */
  initialInterval?: Duration;
  /** Each interval is this many times the one before. Default 2. */
  backoff?: number;
  /** Default 30 s. */
  maxInterval?: Duration;
  /** Plus or minus this share of each interval. Default 0.2. */
  jitter?: number;
  /** Errors whose name or code is listed are not tried again: ['CardDeclined', 'E_CARD']. */
  nonRetryable?: readonly string[];
}

/** For one call of an action: what it gives goes over what the action was registered with. */
export interface ActionCallOptions {
  retry?: RetryOptions;
  /** Of one attempt. Default 60 s. */
  timeout?: Duration;
}

function numberInRange(value: number | undefined, fallback: number, low: number, high: number, what: string) {
  if (value === undefined) return fallback;
  if (typeof value !== 'number' || !(value >= low && value <= high)) {
    throw new InvalidArgumentError(
      `${what} must be a number from ${low} to ${high}, not ${typeof value === 'number' ? value : describeKind(value)}`,
    );
  }
  return value;
}

const retryOptionNames = [
  'maxAttempts',
  'initialInterval',
  'backoff',
  'maxInterval',
  'jitter',
  'nonRetryable',
] as const;

// A class does not do: what it throws has the name 'Error' unless it says otherwise, and the name is
// what lies in the history.
function whatToWrite(given: unknown): string {
  if (typeof given !== 'function' || given.name === '') return '';
  return (
    `. Errors are told apart by their name or code: write '${given.name}', and have the class say ` +
    `that name: this.name = '${given.name}'`
  );
}

/** Appends a timeout and a retry policy; checks them, and appends nothing where they are refused. */
export function writeActionOptions(out: FlatWriter, options: ActionCallOptions | undefined): void {
  const timeout = options?.timeout;
  const retry = options?.retry;
  const timeoutMs = timeout === undefined ? -1 : toMilliseconds(timeout, 'timeout');
  if (retry === undefined) {
    out.push(timeoutMs, 0);
    return;
  }
  checkOptions('retry', retry, retryOptionNames);
  const maxAttempts = numberInRange(retry.maxAttempts, 4, 1, 1_000_000, 'retry.maxAttempts');
  if (!Number.isInteger(maxAttempts)) {
    throw new InvalidArgumentError(`retry.maxAttempts must be a whole number, not ${maxAttempts}`);
  }
  const nonRetryable = checkTexts('retry.nonRetryable', retry.nonRetryable, whatToWrite);
  out.push(
    timeoutMs,
    1,
    maxAttempts,
    toMilliseconds(retry.initialInterval ?? 1_000, 'retry.initialInterval'),
    numberInRange(retry.backoff, 2, 1, 1_000, 'retry.backoff'),
    toMilliseconds(retry.maxInterval ?? 30_000, 'retry.maxInterval'),
    numberInRange(retry.jitter, 0.2, 0, 1, 'retry.jitter'),
    nonRetryable.length,
    ...nonRetryable,
  );
}
