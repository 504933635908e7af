/** What is read of executions, by a runtime and by a client beside one. */
import { InvalidArgumentError } from './errors.js';
import type { Failure } from './failures.js';
import { checkName, checkOptionalName } from './names.js';
import { checkOptions, describeKind } from './options.js';
import type { CarriedPayload } from './wire.js';

/** How an execution stands; the last four are ends. A stuck one waits for its code to be mended. */
export type ExecutionStatus =
  | 'running'
  | 'paused'
  | 'stuck'
  | 'completed'
  | 'failed'
  | 'cancelled'
  | 'terminated';

/** An execution at one point of its history, read from the store alone. */
export interface ExecutionState<Result = any> {
  executionId: string;
  tenant: string;
  workflowName: string;
  version: string;
  status: ExecutionStatus;
  /**
   * Why nothing moves: 'waiting' for an event or a timer, 'no_worker' while nobody has registered its
   * version of its workflow and something waits for that, 'no_action', 'scheduled' before its
   * `startAt`; or ''. The detail names what is missing.
   */
  condition: string;
  conditionDetail: string;
  currentState: string;
  data: Record<string, any>;
  /** Of a completed one. */
  result?: Result;
  /** Of a failed or stuck one. */
  error?: Failure;
  isComplete: boolean;
  /** Of the record up to which this holds. */
  sequence: number;
  userId: string | undefined;
  correlationId: string | undefined;
  /** Milliseconds since 1970. */
  createdAt: number;
  updatedAt: number;
}

/** One record of a history: append-only, without gaps. */
export interface HistoryRecord {
  sequence: number;
  /** 'ExecutionStarted', 'EventReceived', 'ActionScheduled' … */
  type: string;
  /** Milliseconds since 1970. */
  at: number;
  /** Sequence of the event that led to it. */
  cause: number;
  /** Of the action, wait or timer it belongs to; 0: none. */
  position: number;
  /** The last one of what was handed to the code at once. */
  endsActivation: boolean;
  /** Of the event, action, state or key. */
  name: string;
  payload?: any;
  /** By type. Whole numbers of more than 15 digits are texts, so that none is rounded. */
  attributes: Record<string, any>;
  /**
   * Of what the code asked for: where that stands in its source, as 'approval.ts:41:9'; where it is
   * known.
   */
  site?: string;
}

/** Which executions listExecutions gives. */
export interface ListQuery {
  tenant: string;
  workflow?: string;
  status?: ExecutionStatus;
  /** 1 to 1,000; default 100. */
  limit?: number;
  /** As given with the last page. */
  cursor?: string;
}

/** A page of executions. */
export interface ExecutionList {
  /** The newest first, without data. */
  executions: Omit<ExecutionState, 'data'>[];
  /** Of the next page; absent on the last one. */
  cursor?: string;
}

export function checkLimit(limit: number | undefined): number {
  if (limit === undefined) return 100;
  if (Number.isInteger(limit) && limit >= 1 && limit <= 1_000) return limit;
  const given = typeof limit === 'number' ? limit : describeKind(limit);
  throw new InvalidArgumentError(`limit must be a whole number from 1 to 1000, not ${given}`);
}

/** -1 is the latest. */
export function checkSequence(at: number | undefined): number {
  if (at === undefined) return -1;
  if (Number.isSafeInteger(at) && at >= 1) return at;
  throw new InvalidArgumentError(`atSequence must be a whole number from 1, not ${at}`);
}

export interface CarriedState extends Omit<ExecutionState, 'data' | 'result' | 'userId' | 'correlationId'> {
  data: CarriedPayload;
  result: CarriedPayload;
  userId: string;
  correlationId: string;
}

export function stateFrom(carried: CarriedState): ExecutionState {
  // Member by member: a rest and a spread cost more than all else that a call does here.
  const state: ExecutionState = {
    executionId: carried.executionId,
    tenant: carried.tenant,
    workflowName: carried.workflowName,
    version: carried.version,
    status: carried.status,
    condition: carried.condition,
    conditionDetail: carried.conditionDetail,
    currentState: carried.currentState,
    isComplete: carried.isComplete,
    sequence: carried.sequence,
    createdAt: carried.createdAt,
    updatedAt: carried.updatedAt,
    data: (carried.data[0] ?? {}) as Record<string, any>,
    userId: carried.userId === '' ? undefined : carried.userId,
    correlationId: carried.correlationId === '' ? undefined : carried.correlationId,
  };
  if (carried.result.length === 1) state.result = carried.result[0];
  if (carried.error !== undefined) state.error = carried.error;
  return state;
}

export function historyFrom(carried: (HistoryRecord & { payload: CarriedPayload })[]): HistoryRecord[] {
  return carried.map(({ payload, ...record }) =>
    payload.length === 1 ? { ...record, payload: payload[0] } : record,
  );
}

/** tenant, workflow, status, cursor, limit; absent texts are ''. */
export function listFields(query: ListQuery): [string, string, string, string, number] {
  checkOptions('listExecutions', query, ['tenant', 'workflow', 'status', 'limit', 'cursor']);
  return [
    checkName(query?.tenant, 'tenant'),
    checkOptionalName(query.workflow, 'workflow'),
    checkOptionalName(query.status, 'status'),
    checkOptionalName(query.cursor, 'cursor'),
    checkLimit(query.limit),
  ];
}

export function listFrom({ executions, cursor }: { executions: CarriedState[]; cursor: string }): ExecutionList {
  return {
    executions: executions.map((carried) => {
      const { data: _, ...rest } = stateFrom(carried);
      return rest;
    }),
    ...(cursor === '' ? {} : { cursor }),
  };
}
