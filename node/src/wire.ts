/**
 * How values cross between JavaScript and the addon. Towards JavaScript: JSON text. Towards the
 * addon: numbers and strings one after the other in a flat array; node/addon/flat_reader.cc reads
 * them, and the numbers here are the numbers there.
 */
import { toMilliseconds, type Duration } from './durations.js';
import { InvalidArgumentError } from './errors.js';
import { checkOptionalName } from './names.js';
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

/** How an action is run: as registered, and, one by one, as a call says otherwise. */
export interface ActionRunOptions {
  retry?: RetryOptions;
  /** Of one attempt. Default 60 s. */
  timeout?: Duration;
  /** Over all attempts and the pauses between them, from when it was asked for. Then it has failed. */
  totalTimeout?: Duration;
  /** An attempt whose handler has not called `context.heartbeat()` for that long is given up. */
  heartbeatTimeout?: Duration;
}

/** For one call of an action: what it gives goes over what the action was registered with. */
export interface ActionCallOptions extends ActionRunOptions {
  /** How long it waits for somebody to register the action, and then fails. Default: for ever. */
  failAfter?: Duration;
  /**
   * What has the same key in the tenant is one action with one outcome, from whichever execution, or by
   * `registry.executeAction`: a second call waits for it, and runs nothing. Another action, or other
   * parameters, under it fail. A failure that was recorded stays, too. Default: made of execution and place.
   */
  idempotencyKey?: string;
}

/** Of a registration, beside that. */
export interface ActionLimits {
  /** Attempts at it that run at once, in this process. Others wait, and keep no other action waiting. */
  concurrencyMax?: number;
  /** How many attempts at it begin within a time, in this process. */
  rateLimit?: { max: number; per: Duration };
}

export const actionRunOptionNames = ['retry', 'timeout', 'totalTimeout', 'heartbeatTimeout'] as const;
export const actionCallOptionNames = [...actionRunOptionNames, 'failAfter', 'idempotencyKey'] as const;

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

function positive(value: unknown, what: string): number {
  if (Number.isSafeInteger(value) && (value as number) >= 1 && (value as number) <= 1_000_000) return value as number;
  throw new InvalidArgumentError(
    `${what} must be a whole number from 1 to 1000000, not ${typeof value === 'number' ? value : describeKind(value)}`,
  );
}

function writeRate(rate: ActionLimits['rateLimit']): [max: number, per: number] {
  if (rate === undefined) return [-1, -1];
  checkOptions('rateLimit', rate, ['max', 'per']);
  const per = toMilliseconds(rate.per, 'rateLimit.per');
  if (per < 1) throw new InvalidArgumentError('rateLimit.per must be more than nothing');
  return [positive(rate.max, 'rateLimit.max'), per];
}

function milliseconds(duration: Duration | undefined, what: string): number {
  return duration === undefined ? -1 : toMilliseconds(duration, what);
}

/** Appends times, a key and a retry policy; checks them, and appends nothing where they are refused. */
export function writeActionOptions(out: FlatWriter, options: (ActionCallOptions & ActionLimits) | undefined): void {
  const retry = options?.retry;
  const first = [
    milliseconds(options?.timeout, 'timeout'),
    milliseconds(options?.totalTimeout, 'totalTimeout'),
    milliseconds(options?.heartbeatTimeout, 'heartbeatTimeout'),
    milliseconds(options?.failAfter, 'failAfter'),
    checkOptionalName(options?.idempotencyKey, 'idempotencyKey'),
    options?.concurrencyMax === undefined ? -1 : positive(options.concurrencyMax, 'concurrencyMax'),
    ...writeRate(options?.rateLimit),
  ];
  if (retry === undefined) {
    out.push(...first, 0);
    return;
  }
  checkOptions('retry', retry, retryOptionNames);
  const maxAttempts = numberInRange(retry.maxAttempts, 4, 1, 1_000_000, 'retry.maxAttempts');
  if (!Number.isInteger(maxAttempts)) {
    throw new InvalidArgumentError(`retry.maxAttempts must be a whole number, not ${maxAttempts}`);
  }
  const nonRetryable = checkTexts('retry.nonRetryable', retry.nonRetryable, whatToWrite);
  out.push(
    ...first,
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
