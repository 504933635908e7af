/**
 * What Pawl refuses with. `code` is permanent and meant for programs; the message says what was
 * wrong, where, and what to do. The numbers are those of `pawl::ErrorCode`.
 */
const codes = [
  'internal', // 0 is no code
  'invalid_argument',
  'payload_refused',
  'payload_too_large',
  'unknown_workflow',
  'unknown_execution',
  'execution_ended',
  'already_exists',
  'unknown_action',
  'validation',
  'overloaded',
  'timeout',
  'store_unavailable',
  'store_in_use',
  'store_invalid',
  'outcome_unknown',
  'closed',
  'not_deterministic',
  'action_failed',
  'internal',
  'wrong_status',
  'lock_timeout',
  'lock_lost',
] as const;

/** What tells one refusal from another, for programs: permanent. */
export type PawlErrorCode = (typeof codes)[number] | 'execution_failed' | 'cancelled' | 'compensation_failed'
  | 'child_failed' | 'child_cancelled' | 'child_terminated' | 'child_left_behind';

/** Every refusal of Pawl's: a subclass where one says more, or this with its `code`. */
export class PawlError extends Error {
  readonly code: PawlErrorCode;

  constructor(code: PawlErrorCode, message: string) {
    super(message);
    this.code = code;
  }

  static {
    this.prototype.name = 'PawlError';
  }
}

/** A name, id, option or duration that can't be taken. */
export class InvalidArgumentError extends PawlError {
  constructor(message: string) {
    super('invalid_argument', message);
  }

  static {
    this.prototype.name = 'InvalidArgumentError';
  }
}

/** A value that can't be carried (the message has the path to it), or that is too large. */
export class PayloadError extends PawlError {
  constructor(message: string, code: 'payload_refused' | 'payload_too_large' = 'payload_refused') {
    super(code, message);
  }

  static {
    this.prototype.name = 'PayloadError';
  }
}

/** Parameters that don't fit their declaration. */
export class ValidationError extends PawlError {
  /** One line per problem, each beginning with the path of the parameter. */
  readonly issues: readonly string[];

  constructor(message: string, issues: readonly string[] = []) {
    super('validation', message);
    this.issues = issues;
  }

  static {
    this.prototype.name = 'ValidationError';
  }
}

/** A wait ran out. What was waited for may still happen. */
export class TimeoutError extends PawlError {
  /** Of a `submitEvent` whose reply did not come in time: the event, which is durable or may be. */
  readonly eventId: string | undefined;

  constructor(message: string, eventId?: string) {
    super('timeout', message);
    this.eventId = eventId;
  }

  static {
    this.prototype.name = 'TimeoutError';
  }
}

/** No workflow of that name, or not in that version, is registered with the runtime. */
export class UnknownWorkflowError extends PawlError {
  constructor(message: string) {
    super('unknown_workflow', message);
  }

  static {
    this.prototype.name = 'UnknownWorkflowError';
  }
}

/** No such execution in this tenant; a wrong tenant gets the same answer. */
export class UnknownExecutionError extends PawlError {
  constructor(message: string) {
    super('unknown_execution', message);
  }

  static {
    this.prototype.name = 'UnknownExecutionError';
  }
}

/** The execution completed or failed: it takes no more events. */
export class ExecutionEndedError extends PawlError {
  constructor(message: string) {
    super('execution_ended', message);
  }

  static {
    this.prototype.name = 'ExecutionEndedError';
  }
}

/** An execution ended without a result: `cause` is the error that its function threw, if it threw. */
export class ExecutionFailedError extends PawlError {
  readonly executionId: string;
  readonly status: 'failed' | 'cancelled' | 'terminated';

  constructor(
    message: string,
    executionId: string,
    status: ExecutionFailedError['status'],
    cause?: Error,
  ) {
    super('execution_failed', message);
    this.executionId = executionId;
    this.status = status;
    if (cause !== undefined) {
      Object.defineProperty(this, 'cause', { value: cause, configurable: true, writable: true });
    }
  }

  static {
    this.prototype.name = 'ExecutionFailedError';
  }
}

/**
 * A child execution ended without a result: `code` says how, `cause` is the error that it ended with.
 * `child_left_behind` is what a fork is told of the children of the execution that it was forked from.
 */
export class ChildFailedError extends PawlError {
  readonly executionId: string;

  constructor(
    message: string,
    code: 'child_failed' | 'child_cancelled' | 'child_terminated' | 'child_left_behind',
    executionId: string,
    cause?: unknown,
  ) {
    super(code, message);
    this.executionId = executionId;
    if (cause !== undefined) {
      Object.defineProperty(this, 'cause', { value: cause, configurable: true, writable: true });
    }
  }

  /** @internal */
  static from(error: Error & { code?: string }, executionId: string): ChildFailedError {
    const made = new ChildFailedError(
      error.message,
      (error.code ?? 'child_failed') as ChildFailedError['code'] & string as 'child_failed',
      executionId,
      error.cause,
    );
    // That of this line would be another one on replay.
    Object.defineProperty(made, 'stack', { value: error.stack, configurable: true, writable: true });
    return made;
  }

  static {
    this.prototype.name = 'ChildFailedError';
  }
}

/** The same id or name again, with something else behind it. */
export class AlreadyExistsError extends PawlError {
  constructor(message: string) {
    super('already_exists', message);
  }

  static {
    this.prototype.name = 'AlreadyExistsError';
  }
}

/** No action of that name is registered, in any casing. */
export class UnknownActionError extends PawlError {
  constructor(message: string) {
    super('unknown_action', message);
  }

  static {
    this.prototype.name = 'UnknownActionError';
  }
}

/** The database refused: in use by another engine, not a database of ours, disk full, read-only … */
export class StoreError extends PawlError {
  static {
    this.prototype.name = 'StoreError';
  }
}

/** The runtime is closing or closed. */
export class ClosedError extends PawlError {
  constructor(message: string) {
    super('closed', message);
  }

  static {
    this.prototype.name = 'ClosedError';
  }
}

/**
 * What the awaits of a cancelled execution reject with. Catch it to clean up, and throw it on: an
 * execution that ends by it is `cancelled`, one that returns is `completed`.
 */
export class CancelledError extends PawlError {
  constructor(message: string) {
    super('cancelled', message);
  }

  static {
    this.prototype.name = 'CancelledError';
  }
}

/** A compensation that failed. */
export interface FailedCompensation {
  /** The action's name, as it was given. */
  readonly action: string;
  /** As they were given. */
  readonly parameters: any;
  /** Of its last attempt. */
  readonly error: Error;
}

/** Some of the compensations failed: what they were to undo is still there. All the others ran. */
export class CompensationError extends PawlError {
  /** Those that failed, in the order in which they ran. */
  readonly failed: readonly FailedCompensation[];
  /** The errors of those. */
  readonly errors: readonly Error[];
  /** Stored with the error of an execution that ends by this. */
  readonly details: { readonly failed: readonly { action: string; parameters: any; message: string }[] };

  constructor(failed: readonly FailedCompensation[], all: number) {
    const lines = failed.map(({ action, error }) => `${action}: ${error.message}`);
    super('compensation_failed', `${failed.length} of ${all} compensations failed: ${lines.join('; ')}`);
    this.failed = failed;
    this.errors = failed.map(({ error }) => error);
    this.cause = this.errors[0];
    this.details = {
      failed: failed.map(({ action, parameters, error: { message } }) => ({ action, parameters, message })),
    };
  }

  static {
    this.prototype.name = 'CompensationError';
  }
}

/** The execution's status does not allow it. */
export class WrongStatusError extends PawlError {
  constructor(message: string) {
    super('wrong_status', message);
  }

  static {
    this.prototype.name = 'WrongStatusError';
  }
}

/** Others had the lock for as long as it was waited for. An action that fails by it is tried again. */
export class LockTimeoutError extends PawlError {
  constructor(message: string) {
    super('lock_timeout', message);
  }

  static {
    this.prototype.name = 'LockTimeoutError';
  }
}

/** The lock is not held any more. An action that fails by it is tried again. */
export class LockLostError extends PawlError {
  constructor(message: string) {
    super('lock_lost', message);
  }

  static {
    this.prototype.name = 'LockLostError';
  }
}

/** Workflow code did what it can't do and stay replayable. */
export class NotDeterministicError extends PawlError {
  constructor(message: string) {
    super('not_deterministic', message);
  }

  static {
    this.prototype.name = 'NotDeterministicError';
  }
}

/** Thrown by an action's handler: another attempt would not help. */
export class NonRetryableError extends Error {
  readonly retryable = false;

  static {
    this.prototype.name = 'NonRetryableError';
  }
}

/** The error for a refusal that came from the engine. */
export function errorFromCode(number: number, message: string, subject: string): PawlError {
  const code = codes[number] ?? 'internal';
  switch (code) {
    case 'invalid_argument':
      return new InvalidArgumentError(message);
    case 'payload_refused':
    case 'payload_too_large':
      return new PayloadError(message, code);
    case 'unknown_workflow':
      return new UnknownWorkflowError(message);
    case 'unknown_execution':
      return new UnknownExecutionError(message);
    case 'execution_ended':
      return new ExecutionEndedError(message);
    case 'already_exists':
      return new AlreadyExistsError(message);
    case 'unknown_action':
      return new UnknownActionError(message);
    case 'validation':
      return new ValidationError(message);
    case 'timeout':
      return new TimeoutError(message, subject === '' ? undefined : subject);
    case 'store_unavailable':
    case 'store_in_use':
    case 'store_invalid':
    case 'outcome_unknown':
      return new StoreError(code, message);
    case 'wrong_status':
      return new WrongStatusError(message);
    case 'lock_timeout':
      return new LockTimeoutError(message);
    case 'lock_lost':
      return new LockLostError(message);
    case 'closed':
      return new ClosedError(message);
    case 'not_deterministic':
      return new NotDeterministicError(message);
    default:
      return new PawlError(code, message);
  }
}
