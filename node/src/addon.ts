/** The addon: the engine, and what it tells JavaScript (node/addon). */
import type { FlatWriter } from './wire.js';

/** What the addon calls, on the JavaScript thread. */
export interface Bridge {
  activate(text: string): void;
  collect(): FlatWriter;
  evict(execution: number): void;
  run(text: string): void;
  abort(attempt: number): void;
  settle(text: string): void;
  log(text: string): void;
}

/** A refusal: its number, its text. */
export type Refusal = [code: number, message: string];

/** `call` is the number under which Bridge.settle reports. Absent texts are ''. */
export interface NativeEngine {
  open(
    call: number,
    store: string,
    limits: FlatWriter,
    watchdogMs: number,
    leaseMs: number,
    redis: string,
    partitions: number,
  ): void;
  /** Takes up what was under way: once what it needs is registered. */
  begin(): void;
  registerWorkflow(
    name: string,
    version: string,
    description: string,
    author: string,
    tags: readonly string[],
    replace: boolean,
  ): Refusal | undefined;
  registerAction(name: string, description: string, options: FlatWriter, replace: boolean): Refusal | undefined;
  /**
   * workflow, tenant, input, version, executionId, userId, correlationId, idempotencyKey, startAt,
   * deadline: the last two in milliseconds since 1970, as text
   */
  start(call: number, ...fields: string[]): void;
  /** tenant, executionId, name, payload, userId, idempotencyKey; waitMax -1 waits without end. */
  submit(call: number, waitMax: number, ...fields: string[]): void;
  enqueue(call: number, ...fields: string[]): void;
  /** -1 waits without end. */
  wait(call: number, tenant: string, executionId: string, maxWait: number): void;
  /** -1 is the latest. */
  state(call: number, tenant: string, executionId: string, atSequence: number): void;
  history(call: number, tenant: string, executionId: string): void;
  list(call: number, tenant: string, workflow: string, status: string, cursor: string, limit: number): void;
  /** 0: cancel, 1: terminate, 2: pause, 3: resume, 4: retry. */
  control(call: number, verb: number, tenant: string, executionId: string, by: string, reason: string): void;
  /** atSequence: -1 is the latest. */
  fork(
    call: number,
    tenant: string,
    executionId: string,
    atSequence: number,
    forkId: string,
    by: string,
    reason: string,
  ): void;
  /** tenant, executionId, eventId, idempotencyKey, name, parameters */
  executeAction(call: number, ...fields: string[]): void;
  /** 1 and a payload, or 0 and a failure. */
  completeAction(call: number, token: string, outcome: FlatWriter): void;
  /** Replies with { fence, token, query }. `number` is the caller's own, and stands for the lock from then on. */
  acquireLock(call: number, number: number, tenant: string, key: string, ttlMs: number, waitMs: number): void;
  /** Replies when it was released, and with an error when it was lost. */
  lockEnded(call: number, number: number): void;
  /** Held or waited for. Again: no effect. */
  releaseLock(number: number): void;
  listDeadLetters(call: number, tenant: string, executionId: string, cursor: string, limit: number): void;
  /** 0: retry, 1: drop. */
  changeDeadLetter(call: number, change: number, tenant: string, id: string): void;
  backup(call: number, path: string): void;
  checkIntegrity(call: number, findingsMax: number): void;
  actionsFinished(outcomes: FlatWriter): void;
  /** Of an attempt; progress as JSON, or ''. */
  actionHeartbeat(id: number, execution: number, position: number, progress: string): void;
  /** That of a store in a file. */
  database(): NativeDatabase;
  /**
   * The COMMIT of an attempt on the store's database is about to be sent. False: it was given up, and must not be
   * committed. `row` as from outcomeRow.
   */
  commitBegins(id: number, row: FlatWriter): boolean;
  /** What became of it is known. */
  commitEnded(id: number, row: FlatWriter): void;
  /** A Health as JSON. */
  health(): string;
  counters(): EngineCounters;
  /** Closes on another thread, after at most `drainMs` for what is under way, then reports. */
  close(call: number, drainMs: number): void;
  /** Closes at once, before it returns, and tells JavaScript nothing more. For the end of the process. */
  closeNow(): void;
}

/** What the engine has done since it was opened. */
export interface EngineCounters {
  commits: number;
  commitBatches: number;
  activations: number;
  replays: number;
  actionsStarted: number;
  /** Attempts handed out and not ended. */
  actionsInFlight: number;
  /** Attempts that wait for a place or for a limit. */
  actionsWaiting: number;
  executionsCached: number;
  /** Records of histories that were read to tell states and to make snapshots. */
  stateRecordsRead: number;
  snapshotsMade: number;
}

/** A store beside an engine. Each call settles with JSON: [0, value], or [code, message, subject]. */
export interface NativeClient {
  open(store: string): Promise<string>;
  /** As those of NativeEngine, without the call. */
  start(...fields: string[]): Promise<string>;
  enqueue(...fields: string[]): Promise<string>;
  /** 0: cancel, 1: terminate. */
  control(verb: number, tenant: string, executionId: string, by: string, reason: string): Promise<string>;
  completeAction(token: string, outcome: FlatWriter): Promise<string>;
  /** -1 is the latest. */
  state(tenant: string, executionId: string, atSequence: number): Promise<string>;
  history(tenant: string, executionId: string): Promise<string>;
  list(tenant: string, workflow: string, status: string, cursor: string, limit: number): Promise<string>;
  listDeadLetters(tenant: string, executionId: string, cursor: string, limit: number): Promise<string>;
  /** 0: retry, 1: drop. */
  changeDeadLetter(change: number, tenant: string, id: string): Promise<string>;
  close(): Promise<string>;
}

export interface SqlRows {
  rows: Record<string, unknown>[];
  /** The statement has columns. */
  hasRows: boolean;
  changed: number | bigint;
  lastId: number | bigint;
}

/** A connection. One call at a time; what they reject with has `code` and `failureClass`. */
export interface NativeSession {
  run(sql: string, parameters: readonly unknown[]): Promise<SqlRows>;
  /** Holds nothing before the first statement. */
  begin(): Promise<void>;
  commit(): Promise<void>;
  rollBack(): Promise<void>;
  /** Ends the statement that runs, and what comes up to rollBack(); that does not wait its turn. */
  breakOff(): void;
  /** `row` as from outcomeRow. Gives the outcome that is recorded. */
  commitOutcome(row: FlatWriter, outcome: string): Promise<string>;
  findOutcome(row: FlatWriter): Promise<string | undefined>;
  close(): Promise<void>;
}

export interface NativeDatabase {
  connect(forActions: boolean): Promise<NativeSession>;
  close(): Promise<void>;
}

interface Addon {
  /** It was built with what stores in PostgreSQL need. */
  hasPostgres: boolean;
  /** An SQLite file. */
  Database: new (filename: string) => NativeDatabase;
  Client: new () => NativeClient;
  /** Settles with JSON: [0, report], or [code, message, subject] of a refusal. */
  checkStore(store: string, findingsMax: number): Promise<string>;
  /** The number of a place in the source, for the commands that stand there; 0 when there are too many. */
  defineSite(site: string): number;
  /** What is wrong with a graph, written from its concurrency on; undefined: nothing. */
  checkGraph(graph: FlatWriter, limits: FlatWriter): Refusal | undefined;
  Engine: new (bridge: Bridge) => NativeEngine;
}

/** Loads the addon at the first call that needs it: to import the package needs none. */
export function loadAddon(): Addon {
  return require('../addon.cjs') as Addon;
}
