import type { EventMap, PayloadArguments, PayloadOf } from './context.js';
import type { WorkflowDefinition } from './definition.js';
import type { Duration } from './durations.js';
import { ExecutionFailedError, InvalidArgumentError } from './errors.js';
import { errorFromFailure } from './failures.js';
import { checkName } from './names.js';
import { checkOptions } from './options.js';
import type { ExecutionState, HistoryRecord } from './reading.js';
import type { ControlOptions, ControlResult, EnqueueEventResult, EventSubmission } from './requests.js';
import type { SubmitEventResult, WorkflowRuntime } from './runtime.js';

/** What may go with an event beside its payload. */
export interface EventOptions {
  /** Who sent it: `event.user_id` for the workflow. */
  userId?: string;
  /** The same key again returns the first answer and has no second effect. */
  idempotencyKey?: string;
}

/** What may go with an event whose answer is awaited. */
export interface SubmitOptions extends EventOptions {
  /** How long to wait for the answer; then it is a TimeoutError. Default: as long as it takes. */
  maxWait?: Duration;
}

/**
 * One execution, for repeated calls. Holds nothing open: make as many as you like.
 *
 * One made for a definition takes that workflow's events only, and its state and result are typed.
 * An execution of another workflow is told apart when its state is read: those calls then reject
 * with an InvalidArgumentError.
 *
 * Every call rejects with an UnknownExecutionError if the tenant has no such execution, a StoreError
 * if the store can't be read or written, and a ClosedError after `runtime.close()`.
 */
export interface WorkflowHandle<Events extends EventMap = EventMap, Result = any> {
  readonly executionId: string;
  readonly tenant: string;
  /**
   * As `runtime.submitEvent`: answers once what the event led to at first is durable. Rejects with
   * an ExecutionEndedError if the execution has ended, a PayloadError if the payload can't be
   * carried, a TimeoutError with the event's id after `maxWait`.
   */
  submitEvent<Name extends keyof Events & string>(
    name: Name,
    ...payload: PayloadArguments<PayloadOf<Events, Name>, [options?: SubmitOptions]>
  ): Promise<SubmitEventResult>;
  /** As `runtime.enqueueEvent`: answers as soon as the event is durable. Rejects as submitEvent. */
  enqueueEvent<Name extends keyof Events & string>(
    name: Name,
    ...payload: PayloadArguments<PayloadOf<Events, Name>, [options?: EventOptions]>
  ): Promise<EnqueueEventResult>;
  /** As `runtime.cancelWorkflow`. Rejects with an ExecutionEndedError if it has ended. */
  cancel(options?: ControlOptions): Promise<ControlResult>;
  /** As `runtime.terminateWorkflow`. Rejects with an ExecutionEndedError if it has ended. */
  terminate(options?: ControlOptions): Promise<ControlResult>;
  /**
   * As `runtime.pauseWorkflow`. Rejects with an ExecutionEndedError if it has ended, a
   * WrongStatusError where it is stuck.
   */
  pause(options?: ControlOptions): Promise<ControlResult>;
  /** As `runtime.resumeWorkflow`. Rejects as `pause` does. */
  resume(options?: ControlOptions): Promise<ControlResult>;
  /** As `runtime.retryWorkflow`. Rejects with a WrongStatusError if it has not failed. */
  retry(options?: ControlOptions): Promise<ControlResult>;
  /** As of now, or as it was at a point of the history. Needs no code of the workflow. */
  getState(options?: { atSequence?: number }): Promise<ExecutionState<Result>>;
  /** All records, the oldest first. */
  getHistory(): Promise<HistoryRecord[]>;
  /**
   * The state once the execution has ended, however it ended. Rejects with a TimeoutError after
   * `maxWait`; without it, waits for as long as it takes.
   */
  waitForCompletion(options?: { maxWait?: Duration }): Promise<ExecutionState<Result>>;
  /**
   * What the workflow's function returned, once it has. Rejects with an ExecutionFailedError if the
   * execution ends otherwise (its `cause` is the error that the function threw), and with a
   * TimeoutError after `maxWait`. A paused or stuck execution has not ended.
   */
  result(options?: { maxWait?: Duration }): Promise<Result>;
}

const endings = { failed: 'failed', cancelled: 'was cancelled', terminated: 'was terminated' };

function resultOf(state: ExecutionState): any {
  if (state.status === 'completed') return state.result;
  const { executionId, workflowName, error } = state;
  const status = state.status as ExecutionFailedError['status'];
  const why = error === undefined ? '' : `: ${error.name}: ${error.message}`;
  throw new ExecutionFailedError(
    `Execution '${executionId}' of workflow '${workflowName}' ${endings[status]}${why}`,
    executionId,
    status,
    error === undefined ? undefined : errorFromFailure(error),
  );
}

/** @internal */
export function makeHandle(
  runtime: WorkflowRuntime,
  executionId: string,
  tenant: string,
  definition?: WorkflowDefinition,
): WorkflowHandle {
  checkName(executionId, 'executionId');
  checkName(tenant, 'tenant');
  const eventOf = (name: string, payload: unknown, options: EventOptions | undefined): EventSubmission => ({
    execution_id: executionId,
    tenant,
    event_name: name,
    payload,
    ...(options?.userId === undefined ? {} : { user_id: options.userId }),
    ...(options?.idempotencyKey === undefined ? {} : { idempotency_key: options.idempotencyKey }),
  });
  const checked = (state: ExecutionState): ExecutionState => {
    if (definition === undefined || state.workflowName === definition.name) return state;
    throw new InvalidArgumentError(
      `Execution '${executionId}' is one of workflow '${state.workflowName}', and its handle was made ` +
        `for '${definition.name}': make it with the right definition, or without one`,
    );
  };
  return {
    executionId,
    tenant,
    async submitEvent(name, payload?: unknown, options?: SubmitOptions) {
      checkOptions('submitEvent', options, ['userId', 'idempotencyKey', 'maxWait']);
      const wait = options?.maxWait === undefined ? {} : { maxWait: options.maxWait };
      return runtime.submitEvent(eventOf(name, payload, options), wait);
    },
    async enqueueEvent(name, payload?: unknown, options?: EventOptions) {
      checkOptions('enqueueEvent', options, ['userId', 'idempotencyKey']);
      return runtime.enqueueEvent(eventOf(name, payload, options));
    },
    cancel: (options) => runtime.cancelWorkflow(executionId, tenant, options),
    terminate: (options) => runtime.terminateWorkflow(executionId, tenant, options),
    pause: (options) => runtime.pauseWorkflow(executionId, tenant, options),
    resume: (options) => runtime.resumeWorkflow(executionId, tenant, options),
    retry: (options) => runtime.retryWorkflow(executionId, tenant, options),
    getState: (options) => runtime.getExecutionState(executionId, tenant, options).then(checked),
    getHistory: () => runtime.getHistory(executionId, tenant),
    waitForCompletion: (options) =>
      runtime.waitForWorkflowCompletion(executionId, tenant, options).then(checked),
    result: (options) =>
      runtime.waitForWorkflowCompletion(executionId, tenant, options).then(checked).then(resultOf),
  };
}
