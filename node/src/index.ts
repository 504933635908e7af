/**
 * Pawl: workflows as async functions that survive crashes.
 *
 * @module pawl
 */
export { defineWorkflow } from './definition.js';
export type {
  EventsOf,
  InputOf,
  ResultOf,
  WorkflowDefinition,
  WorkflowFunction,
  WorkflowMetadata,
} from './definition.js';
export type {
  ActionParametersOf,
  ActionResultOf,
  ActionTypes,
  WorkflowActions,
} from './action_types.js';
export type { ChildHandle, ChildOptions, ParentClose, StartChild } from './children.js';
export type { WorkflowCompensations } from './compensations.js';
export type {
  ConditionOptions,
  EventMap,
  EventNamed,
  PayloadArguments,
  PayloadOf,
  ReceivedEvent,
  WaitOptions,
  WorkflowContext,
  WorkflowData,
  WorkflowEvents,
  WorkflowLogger,
} from './context.js';
export type {
  ActionExecutionResult,
  ActionToExecute,
  CompensationAction,
  CompensationResult,
  ErrorStrategy,
  GraphOptions,
} from './graphs.js';
export { ActionExecutor, createActionExecutor } from './executor.js';
export type { CausingEvent, ExecutorOptions } from './executor.js';
export type { EngineCounters } from './addon.js';
export type { DeadLetter, DeadLetterList, DeadLetterQuery } from './dead_letters.js';
export type { Lock, LockOptions, TenantLockOptions } from './locks.js';
export { openClient, WorkflowClient } from './client.js';
export type {
  ExecutionList,
  ExecutionState,
  ExecutionStatus,
  HistoryRecord,
  ListQuery,
} from './reading.js';
export type {
  ControlOptions,
  ControlResult,
  EnqueueEventResult,
  EventSubmission,
  StartWorkflowOptions,
} from './requests.js';
export { checkStore } from './integrity.js';
export type { IntegrityFinding, IntegrityOptions, IntegrityReport } from './integrity.js';
export { getWorkflowRuntime, WorkflowRuntime } from './runtime.js';
export type {
  BackupReport,
  CloseOptions,
  ForkOptions,
  Limits,
  RuntimeOptions,
  StartDefinitionOptions,
  SubmitEventResult,
} from './runtime.js';
export type { EventOptions, SubmitOptions, WorkflowHandle } from './handle.js';
export type { Health } from './health.js';
export {
  ActionRegistry,
  createActionRegistry,
  getActionRegistry,
  TransactionIsolationLevel,
} from './registry.js';
export type {
  ActionContext,
  ActionHandler,
  ActionMetadata,
  ActionOptions,
  DatabaseActionContext,
  DatabaseActionHandler,
  DatabaseActionOptions,
  ExecuteActionRequest,
  ExecuteActionRequestFor,
  Notification,
  NotificationChannel,
} from './registry.js';
export { openSqliteKnex } from './knex_sqlite.js';
export type {
  ActionParameter,
  ActionParameters,
  ParameterType,
  StandardSchema,
} from './parameters.js';
export {
  AlreadyExistsError,
  CancelledError,
  ChildFailedError,
  ClosedError,
  CompensationError,
  ExecutionEndedError,
  ExecutionFailedError,
  InvalidArgumentError,
  LockLostError,
  LockTimeoutError,
  NonRetryableError,
  NotDeterministicError,
  PawlError,
  PayloadError,
  StoreError,
  TimeoutError,
  UnknownActionError,
  UnknownExecutionError,
  UnknownWorkflowError,
  ValidationError,
  WrongStatusError,
} from './errors.js';
export type { FailedCompensation, PawlErrorCode } from './errors.js';
export type { FailureClass, FailureClassifier } from './classification.js';
export type { Failure } from './failures.js';
export type { HttpRequest, HttpResponse } from './http_request.js';
export type { Duration } from './durations.js';
export type { GuardMode } from './guards.js';
export type { Logger, LogFunction, LogLine } from './log.js';
export type { ActionCallOptions, ActionLimits, ActionRunOptions, LogLevel, RetryOptions } from './wire.js';
