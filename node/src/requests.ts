/** What is asked of executions, by way of a runtime or of a client beside one. */
import type { FailureClassifier } from './classification.js';
import { encode } from './codec.js';
import type { WorkflowDefinition } from './definition.js';
import { timeOf, type Duration } from './durations.js';
import { InvalidArgumentError } from './errors.js';
import { writeFailure } from './failures.js';
import { checkName, checkOptionalName } from './names.js';
import { checkOptions } from './options.js';
import type { ExecutionStatus } from './reading.js';
import type { FlatWriter } from './wire.js';

/** How an execution is started. Ids and names have up to 255 bytes. */
export interface StartWorkflowOptions<Input = any> {
  tenant: string;
  /** What the workflow gets as `input`, and the first content of its `data`. */
  initialData?: Input;
  userId?: string;
  /** Default: the highest registered. */
  version?: string;
  /** Default: a new UUIDv7. The same again with the same input gives the same execution. */
  executionId?: string;
  correlationId?: string;
  /**
   * The same key again, for the same tenant and workflow, gives the same execution, whose id is made
   * of it; with another input or version it is refused (AlreadyExistsError). In place of
   * `executionId`, which does the same under a name of yours.
   */
  idempotencyKey?: string;
  /**
   * When the code runs first: a Date, or a duration from now. Until then the execution is there, with
   * the condition 'scheduled': it takes events, and can be cancelled and terminated.
   */
  startAt?: Date | Duration;
  /**
   * When the execution is cancelled, with the reason 'deadline', unless it has ended: a Date, or a
   * duration from now. Later than `startAt`.
   */
  deadline?: Date | Duration;
}

/** An event on its way to an execution. */
export interface EventSubmission {
  execution_id: string;
  event_name: string;
  payload?: unknown;
  user_id?: string;
  tenant: string;
  /** The same key again returns the first answer and has no second effect. */
  idempotency_key?: string;
}

/** The event is durable; `processingId` is that of its row in `workflow_event_processing`. */
export interface EnqueueEventResult {
  eventId: string;
  processingId: string;
}

/** What goes with what an operator does. */
export interface ControlOptions {
  /** For people. Kept in the history; a cancelled workflow sees it as the error's message. */
  reason?: string;
  /** Who asks. Kept in the history. */
  by?: string;
}

/** How the execution stands now. */
export interface ControlResult {
  executionId: string;
  /** From now on. */
  status: ExecutionStatus;
  currentState: string;
}

export function checkReason(reason: string | undefined): string {
  if (reason === undefined || typeof reason === 'string') return reason ?? '';
  throw new InvalidArgumentError(`The reason is a text, not ${typeof reason}`);
}

export function checkDefinition(what: string, definition: WorkflowDefinition): WorkflowDefinition {
  if (typeof definition !== 'object' || definition === null || typeof definition.fn !== 'function') {
    throw new InvalidArgumentError(`${what} takes what defineWorkflow returned`);
  }
  return definition;
}

/** Where the version stands among the startFields. */
export const startVersionField = 3;

/**
 * workflow, tenant, input, version, executionId, userId, correlationId, idempotencyKey, startAt,
 * deadline; absent texts are ''.
 */
export function startFields(
  what: string | WorkflowDefinition,
  options: StartWorkflowOptions,
): [string, string, string, string, ...string[]] {
  const definition = typeof what === 'object' ? checkDefinition('startWorkflow', what) : undefined;
  const workflow = checkName(definition?.name ?? what, 'The name of a workflow');
  checkOptions('startWorkflow', options, [
    'tenant',
    'initialData',
    'userId',
    'version',
    'executionId',
    'correlationId',
    'idempotencyKey',
    'startAt',
    'deadline',
  ]);
  return [
    workflow,
    checkName(options?.tenant, 'tenant'),
    encode(options.initialData, 'initialData'),
    definition?.version ?? checkOptionalName(options.version, 'version'),
    checkOptionalName(options.executionId, 'executionId'),
    checkOptionalName(options.userId, 'userId'),
    checkOptionalName(options.correlationId, 'correlationId'),
    checkOptionalName(options.idempotencyKey, 'idempotencyKey'),
    timeOf(options.startAt, 'startAt'),
    timeOf(options.deadline, 'deadline'),
  ];
}

/** tenant, executionId, name, payload, userId, idempotencyKey; absent texts are ''. */
export function eventFields(what: string, event: EventSubmission): string[] {
  checkOptions(what, event, [
    'execution_id',
    'event_name',
    'payload',
    'user_id',
    'tenant',
    'idempotency_key',
  ]);
  return [
    checkName(event?.tenant, 'tenant'),
    checkName(event.execution_id, 'execution_id'),
    checkName(event.event_name, 'event_name'),
    encode(event.payload, 'payload'),
    checkOptionalName(event.user_id, 'user_id'),
    checkOptionalName(event.idempotency_key, 'idempotency_key'),
  ];
}

/** tenant, executionId, by, reason; absent texts are ''. */
/** A token, and 1 and a payload, or 0 and a failure. */
export type CompletionFields = [token: string, outcome: FlatWriter];

export function completionFields(token: unknown, result: unknown): CompletionFields {
  return [checkToken(token), [1, encode(result, 'result')]];
}

export function failureFields(
  token: unknown,
  error: unknown,
  classifiers: readonly FailureClassifier[],
): CompletionFields {
  if (error === undefined) throw new InvalidArgumentError('failAction takes the error that the action failed with');
  const outcome: FlatWriter = [0];
  writeFailure(outcome, error, classifiers);
  return [checkToken(token), outcome];
}

function checkToken(token: unknown): string {
  if (typeof token === 'string' && token !== '') return token;
  throw new InvalidArgumentError('The token of an action is what its handler had as context.token');
}

export function controlFields(
  what: string,
  executionId: string,
  tenant: string,
  options: ControlOptions = {},
): [string, string, string, string] {
  checkOptions(what, options, ['reason', 'by']);
  const { by } = options;
  const reason = checkReason(options.reason);
  return [
    checkName(tenant, 'tenant'),
    checkName(executionId, 'executionId'),
    checkOptionalName(by, 'by'),
    reason,
  ];
}
