import type { Knex } from 'knex';
import type { StoreOwnDatabase } from './action_database.js';
import { ActionRunner } from './action_runner.js';
import { loadAddon, type Bridge, type EngineCounters, type NativeEngine, type Refusal } from './addon.js';
import { encode, encodeDetails, hasTags, reviveParsed } from './codec.js';
import type { EventsOf, InputOf, ResultOf, WorkflowDefinition } from './definition.js';
import {
  DeadLetterChange,
  deadLetterFields,
  deadLetterFrom,
  deadLetterKey,
  deadLettersFrom,
  type DeadLetter,
  type DeadLetterList,
  type DeadLetterQuery,
} from './dead_letters.js';
import { toMilliseconds, type Duration } from './durations.js';
import {
  AlreadyExistsError,
  ClosedError,
  errorFromCode,
  InvalidArgumentError,
  NotDeterministicError,
  PawlError,
  StoreError,
  UnknownWorkflowError,
  ValidationError,
} from './errors.js';
import { errorFromFailure, type Failure } from './failures.js';
import { graphWorkflow } from './graphs.js';
import { installGuards, removeGuards, type GuardMode } from './guards.js';
import { makeHandle, type WorkflowHandle } from './handle.js';
import { nothingKnown, type Health } from './health.js';
import { KnexDatabase } from './knex_database.js';
import { WorkflowHost } from './host.js';
import { currentInstance, type Instance } from './instance.js';
import { Locks, type Lock, type TenantLockOptions } from './locks.js';
import { logLineFrom, logToStandardError, type CarriedLogLine, type LogFunction } from './log.js';
import { checkName, checkOptionalName, didYouMean } from './names.js';
import {
  findingsMaxOf,
  integrityReportFrom,
  type IntegrityOptions,
  type IntegrityReport,
} from './integrity.js';
import { checkOptions } from './options.js';
import {
  checkSequence,
  historyFrom,
  listFields,
  listFrom,
  stateFrom,
  type ExecutionList,
  type ExecutionState,
  type ExecutionStatus,
  type HistoryRecord,
  type ListQuery,
} from './reading.js';
import {
  checkDefinition,
  checkReason,
  completionFields,
  controlFields,
  eventFields,
  failureFields,
  startFields,
  startVersionField,
  type ControlOptions,
  type ControlResult,
  type EnqueueEventResult,
  type EventSubmission,
  type StartWorkflowOptions,
} from './requests.js';
import { ignoreRejections, watchRejections } from './rejections.js';
import {
  ActionRegistry,
  findAction,
  getActionRegistry,
  setExecute,
  validateFor,
  type ExecuteActionRequest,
  type RegisteredAction,
} from './registry.js';
import { PostgresStoreDatabase } from './postgres_store_database.js';
import { checkStoreAddress, explained, isPostgres, shownAddress } from './store_address.js';
import { StoreDatabase } from './store_database.js';
import { CommandKind, writeActionOptions, type ActionLimits, type ActionRunOptions, type CarriedPayload, type FlatWriter } from './wire.js';

/** Named bounds. What goes over one is refused with an error that names it. */
export interface Limits {
  /** Of an input, event payload, parameters, result or data value as JSON. Default 2 MiB. */
  payloadBytesMax?: number;
  /** Client calls under way in the process. */
  requestsQueuedMax?: number;
  /** Of one execution: accepted and not yet consumed. */
  eventsBufferedMax?: number;
  /** Live executions kept in memory; more are replayed on demand. */
  executionsCachedMax?: number;
  /** Of one execution: actions, waits and timers open at once. */
  awaitablesPendingMax?: number;
  /** Attempts of actions handed out at once; more wait their turn. */
  actionsInFlightMax?: number;
  /** Of one tenant; tenants take turns. Default 10,000. */
  actionsInFlightPerTenantMax?: number;
  /** A history is read so many records at a time, and fewer where they are large. Default 4,096. */
  historyPageRecordsMax?: number;
  /** Of one graph: actions, with their compensations. Default 20,000. */
  graphActionsMax?: number;
  /** Of one graph: parameters, names and dependencies. Default 16 MiB. */
  graphBytesMax?: number;
  /**
   * How long a transaction on the store's own database may keep everything else from writing, in milliseconds:
   * from its first query to its end. One that takes longer is rolled back. Default 5,000.
   */
  transactionMsMax?: number;
}

/** What getWorkflowRuntime takes. */
export interface RuntimeOptions {
  /**
   * 'sqlite:FILE', or 'postgresql://USER@HOST:PORT/DATABASE', as libpq takes it. Default: PAWL_STORE of the
   * environment, then 'sqlite:pawl.db'.
   */
  store?: string;
  /**
   * Of a store in PostgreSQL: so long after a worker was killed, or can't reach the server any more, the others take
   * over what it had. From 100 ms on. Default '10s'.
   */
  lease?: Duration;
  /**
   * Of a store in PostgreSQL: what wakes the other processes, 'redis://[USER:PASSWORD@]HOST[:PORT]', 'rediss://…' with
   * TLS, or 'redis+sentinel://HOST,HOST…/MASTER'. What it carries are hints: a Redis that is away or was emptied costs
   * time and nothing else. Default: PAWL_REDIS of the environment, then PostgreSQL's own NOTIFY.
   */
  redis?: string;
  /**
   * Of a store in PostgreSQL, where this call makes it: into how many parts its executions are spread, 1 to 1,024. So
   * many workers get work at most. One that is there keeps those it has. Default 16.
   */
  partitions?: number;
  /** What happens where workflow code reaches outside. Default 'error'. */
  guards?: GuardMode;
  /** Where log lines go. Default: standard error. */
  log?: LogFunction;
  limits?: Limits;
  /** Workflow code that does not yield for that long is reported. Default '10s'. */
  watchdog?: Duration;
  /**
   * The application's database, which database actions write to: a Knex for PostgreSQL, or for an SQLite file of
   * its own (see openSqliteKnex). Whoever made it ends it, after close(). Default: the database of the store.
   */
  database?: Knex;
}

/** How an execution of a definition is started: with its input, unless that may be undefined. */
export type StartDefinitionOptions<Input = any> = Omit<
  StartWorkflowOptions<Input>,
  'version' | 'initialData'
> &
  (undefined extends Input ? { initialData?: Input } : { initialData: Input });

/** The execution as the event left it. */
export interface SubmitEventResult {
  executionId: string;
  eventId: string;
  currentState: string;
  status: ExecutionStatus;
  isComplete: boolean;
  /** A wait took it. Otherwise it waits for one. */
  consumed: boolean;
}

/** What close() takes. */
export interface CloseOptions {
  /** How long it waits for what is under way. Default '5s'; 0: not at all. */
  drain?: Duration;
}

export interface ForkOptions extends ControlOptions {
  /** The point of the history; within an activation: its start. Default: as it is now. */
  atSequence?: number;
  /** Of the new one. Default: a new UUIDv7. */
  executionId?: string;
}

/** A copy of the store. */
export interface BackupReport {
  /** In full. */
  path: string;
  bytes: number;
}

/** The numbers are those of the addon. */
const enum ControlVerb {
  cancel = 0,
  terminate = 1,
  pause = 2,
  resume = 3,
  retry = 4,
}

/** A promise of workflow code that nobody has awaited yet: a line in the log, the first time. */
function noteRejection(instance: Instance, reason: unknown): void {
  // Without an activation there is no place for it, and the report says more.
  if (instance !== currentInstance() || instance.replaying || instance.done) return;
  instance.command(
    CommandKind.log,
    2,
    'A promise was rejected and nobody has awaited it',
    encodeDetails([reason]),
  );
}

type Reply = [call: number, code: number, value: any, subject?: string];

interface Pending {
  resolve(value: any): void;
  reject(error: unknown): void;
}

const runtimeOptionNames = ['store', 'lease', 'redis', 'partitions', 'guards', 'log', 'limits', 'watchdog', 'database'] as const;

const limitNames = [
  'payloadBytesMax',
  'requestsQueuedMax',
  'eventsBufferedMax',
  'executionsCachedMax',
  'awaitablesPendingMax',
  'actionsInFlightMax',
  'actionsInFlightPerTenantMax',
  'historyPageRecordsMax',
  'graphActionsMax',
  'graphBytesMax',
  'transactionMsMax',
] as const;

const payloadBytesMaxDefault = 2 * 1024 * 1024;

const transactionMsMaxDefault = 5_000;

const drainDefault: Duration = '5s';

const leaseDefault: Duration = '10s';
const leaseMsMin = 100;
const leaseMsMax = 3_600_000;

const partitionsDefault = 16;
const partitionsMax = 1_024;

function ignore(): void {}

function writeLimits(limits: Limits | undefined): FlatWriter {
  checkOptions('options.limits', limits, limitNames);
  return limitNames.map((name) => {
    const value = limits?.[name];
    if (value === undefined) return -1;
    if (Number.isSafeInteger(value) && value > 0) return value;
    throw new InvalidArgumentError(`limits.${name} must be a whole number above 0, not ${value}`);
  });
}

function leaseMsOf(lease: Duration): number {
  const ms = toMilliseconds(lease, 'options.lease');
  if (ms >= leaseMsMin && ms <= leaseMsMax) return ms;
  throw new InvalidArgumentError(`options.lease can be ${leaseMsMin} ms to 1 hour, not ${ms} ms`);
}

function partitionsOf(partitions: number): number {
  if (Number.isSafeInteger(partitions) && partitions >= 1 && partitions <= partitionsMax) return partitions;
  throw new InvalidArgumentError(`options.partitions can be 1 to ${partitionsMax}, not ${partitions}`);
}

/** Why workflow code can't use the runtime: undefined where no such code runs. */
function fromWorkflowCode(): NotDeterministicError | undefined {
  const instance = currentInstance();
  if (instance === undefined) return undefined;
  // What it does is a side effect, and what it gives is nothing that replays.
  return new NotDeterministicError(
    `Workflow '${instance.start.workflow}' called the runtime: workflow code has its context; what ` +
      `needs the runtime belongs into an action`,
  );
}

// Several closings and openings in one process follow one another: a store has one engine.
let lastClosed: Promise<void> = Promise.resolve();

/** The engine in this process, its workflows and its actions. */
export class WorkflowRuntime {
  /** @internal */
  readonly registry: ActionRegistry;
  /** @internal */
  readonly store: string;

  private readonly options: RuntimeOptions;
  private readonly limits: FlatWriter;
  private readonly payloadBytesMax: number;
  private readonly watchdogMs: number;
  private readonly leaseMs: number;
  private readonly redis: string;
  private readonly partitions: number;
  private readonly log: LogFunction;
  private readonly definitions = new Map<string, WorkflowDefinition>();
  /** Of those definitions. */
  private readonly names = new Set<string>();
  private readonly locks: Locks;
  private readonly host: WorkflowHost;
  private readonly runner: ActionRunner;
  private readonly ownDatabase: StoreOwnDatabase;
  private readonly calls = new Map<number, Pending>();
  private lastCall = 0;
  /** It is to process: at once on SQLite. */
  private engine: NativeEngine | undefined;
  private opening: Promise<NativeEngine> | undefined;
  private closing: Promise<void> | undefined;

  /** @internal */
  constructor(registry: ActionRegistry, options: RuntimeOptions) {
    checkOptions('getWorkflowRuntime', options, runtimeOptionNames);
    const guards = options.guards ?? 'error';
    if (guards !== 'off' && guards !== 'warn' && guards !== 'error') {
      throw new InvalidArgumentError(`options.guards can be 'off', 'warn' or 'error'`);
    }
    if (options.log !== undefined && typeof options.log !== 'function') {
      throw new InvalidArgumentError('options.log must be a function that takes a line');
    }
    this.registry = registry;
    this.options = { ...options, guards };
    this.store = checkStoreAddress(options.store ?? process.env['PAWL_STORE'] ?? 'sqlite:pawl.db');
    this.leaseMs = leaseMsOf(options.lease ?? leaseDefault);
    this.partitions = partitionsOf(options.partitions ?? partitionsDefault);
    this.redis = options.redis ?? process.env['PAWL_REDIS'] ?? '';
    if (typeof this.redis !== 'string') throw new InvalidArgumentError(`options.redis must be a text: 'redis://HOST'`);
    this.limits = writeLimits(options.limits);
    this.watchdogMs = Math.max(1, toMilliseconds(options.watchdog ?? '10s', 'options.watchdog'));
    this.payloadBytesMax = options.limits?.payloadBytesMax ?? payloadBytesMaxDefault;
    const write = options.log ?? logToStandardError;
    // What logs must not bring down what is logged about.
    this.log = (line) => {
      try {
        write(line);
      } catch (error) {
        process.emitWarning(`options.log threw: ${String(error)}`, 'PawlWarning');
      }
    };
    this.host = new WorkflowHost(
      this.payloadBytesMax,
      (site) => loadAddon().defineSite(site),
      (graph) => loadAddon().checkGraph(graph, this.limits),
    );
    this.registerWorkflow(graphWorkflow);
    this.ownDatabase = isPostgres(this.store)
      ? new PostgresStoreDatabase(this.store, this.log, () => this.engine, this.leaseMs)
      : new StoreDatabase(
          this.store,
          async () => (await this.open()).database(),
          options.limits?.transactionMsMax ?? transactionMsMaxDefault,
        );
    this.locks = new Locks((make) => this.call(make), isPostgres(this.store));
    this.runner = new ActionRunner(
      registry,
      this.log,
      this.payloadBytesMax,
      (outcomes) => this.engine?.actionsFinished(outcomes),
      (execution, position) => this.host.handlerAt(execution, position),
      options.database === undefined
        ? this.ownDatabase
        : KnexDatabase.over(options.database, 'getWorkflowRuntime: options.database'),
      (...beat) => this.engine?.actionHeartbeat(...beat),
      this.locks,
    );
  }

  /**
   * The database that database actions write to, for what happens outside of them, such as creating tables:
   * `options.database`, or that of the store, where tables of yours stand beside those of Pawl. In a file these
   * can be read, and not be written; in PostgreSQL they are to be left alone, too.
   */
  get database(): Knex {
    const refused = fromWorkflowCode();
    if (refused !== undefined) throw refused;
    return this.options.database ?? this.ownDatabase.knex;
  }

  /** @internal */
  get isClosed(): boolean {
    return this.closing !== undefined;
  }

  /** @internal Refuses options that this runtime was not made with; those left out are its own. */
  checkSame(options: RuntimeOptions): void {
    checkOptions('getWorkflowRuntime', options, runtimeOptionNames);
    if (options.store !== undefined && options.store !== this.store) {
      throw new AlreadyExistsError(
        `The runtime of this process has its store at '${shownAddress(this.store)}'. Close it before opening ` +
          `'${shownAddress(String(options.store))}'`,
      );
    }
    const { guards, log, limits, watchdog, lease, redis, partitions, database } = options;
    const watchdogMs = watchdog === undefined ? undefined : toMilliseconds(watchdog, 'options.watchdog');
    const limitsGiven = writeLimits(limits);
    const differs =
      guards !== undefined && guards !== this.options.guards
        ? 'guards'
        : log !== undefined && log !== this.options.log
          ? 'log'
          : database !== undefined && database !== this.options.database
            ? 'database'
            : watchdogMs !== undefined && Math.max(1, watchdogMs) !== this.watchdogMs
              ? 'watchdog'
              : redis !== undefined && redis !== this.redis
                ? 'redis'
                : lease !== undefined && leaseMsOf(lease) !== this.leaseMs
                ? 'lease'
                : partitions !== undefined && partitionsOf(partitions) !== this.partitions
                ? 'partitions'
                : limitNames
                    .map((name, i) => (limitsGiven[i] === -1 || limitsGiven[i] === this.limits[i] ? '' : `limits.${name}`))
                    .find((name) => name !== '');
    if (differs === undefined) return;
    throw new AlreadyExistsError(
      `The runtime of this process was made with another '${differs}'. Give it with the first call ` +
        `only, or the very same; or close the runtime before`,
    );
  }

  /**
   * Executions of that workflow can be started, and those under way go on. The same definition again
   * changes nothing; another one under its name and version is refused without `replace`.
   */
  registerWorkflow(definition: WorkflowDefinition, options: { replace?: boolean } = {}): void {
    const refused = fromWorkflowCode();
    if (refused !== undefined) throw refused;
    this.checkOpen();
    checkOptions('registerWorkflow', options, ['replace']);
    if (options.replace !== undefined && typeof options.replace !== 'boolean') {
      throw new InvalidArgumentError('registerWorkflow: replace can be true or false');
    }
    const { name, version } = checkDefinition('registerWorkflow', definition);
    const key = `${name}\0${version}`;
    const before = this.definitions.get(key);
    if (before === definition) return;
    if (before !== undefined && options.replace !== true) {
      throw new AlreadyExistsError(
        `Another workflow '${name}' with version ${version} is registered already. Give this one ` +
          `another version, or pass { replace: true }`,
      );
    }
    this.definitions.set(key, definition);
    this.names.add(name);
    this.host.define(definition);
    if (this.engine !== undefined) this.tellWorkflow(this.engine, definition, before !== undefined);
  }

  /**
   * Gives the id of the new execution once its start is durable. By name, of the highest version
   * registered or of `options.version`; by definition, of that one, whose input then types
   * `initialData`.
   *
   * On PostgreSQL a process that has registered none starts those of the workers; one that none of them has waits.
   *
   * Rejects with an UnknownWorkflowError if that is not registered, an AlreadyExistsError if the
   * `executionId` is taken by a start with another input, a PayloadError if `initialData` can't be
   * carried, an InvalidArgumentError for options that make no sense, and a StoreError if the store
   * can't be written.
   */
  startWorkflow<Input = any>(name: string, options: StartWorkflowOptions<Input>): Promise<string>;
  startWorkflow<Definition extends WorkflowDefinition>(
    definition: Definition,
    options: StartDefinitionOptions<InputOf<Definition>>,
  ): Promise<string>;
  startWorkflow(what: string | WorkflowDefinition, options: StartWorkflowOptions): Promise<string> {
    return this.call((engine, call) => {
      const definition = typeof what === 'object' ? checkDefinition('startWorkflow', what) : undefined;
      const fields = startFields(definition ?? what, options);
      const workflow = fields[0];
      if (definition !== undefined && options.version !== undefined) {
        throw new InvalidArgumentError(
          `The definition given says the version, ${definition.version}. To start another one, give the name`,
        );
      }
      const version = fields[startVersionField];
      // A process that has none of the code leaves it to the workers.
      const elsewhere = isPostgres(this.store) && ![...this.names].some((name) => !name.startsWith('pawl.'));
      if (!this.names.has(workflow) && !elsewhere) {
        const meant = didYouMean(workflow, [...this.names]);
        throw new UnknownWorkflowError(
          `No workflow '${workflow}' is registered${meant || '. Call registerWorkflow first'}`,
        );
      }
      if (definition !== undefined && !elsewhere && !this.definitions.has(`${workflow}\0${version}`)) {
        throw new UnknownWorkflowError(
          `Workflow '${workflow}' is registered, but not with version ${version}. Call ` +
            `registerWorkflow with the definition first`,
        );
      }
      engine.start(call, ...fields);
    });
  }

  /** Gives its answer once what the event led to at first is durable; not after later actions. */
  submitEvent(event: EventSubmission, options: { maxWait?: Duration } = {}): Promise<SubmitEventResult> {
    return this.call((engine, call) => {
      checkOptions('submitEvent', options, ['maxWait']);
      const maxWait = options.maxWait === undefined ? -1 : toMilliseconds(options.maxWait, 'maxWait');
      engine.submit(call, maxWait, ...eventFields('submitEvent', event));
    });
  }

  /** Gives its answer as soon as the event is durable. */
  enqueueEvent(event: EventSubmission): Promise<EnqueueEventResult> {
    return this.call((engine, call) => engine.enqueue(call, ...eventFields('enqueueEvent', event)));
  }

  /** As of now, or as it was at a point of the history. Needs no code of the workflow. */
  getExecutionState(
    executionId: string,
    tenant: string,
    options: { atSequence?: number } = {},
  ): Promise<ExecutionState> {
    return this.call((engine, call) => {
      checkOptions('getExecutionState', options, ['atSequence']);
      const at = checkSequence(options.atSequence);
      engine.state(call, checkName(tenant, 'tenant'), checkName(executionId, 'executionId'), at);
    }).then(stateFrom);
  }

  /** All records, the oldest first. */
  getHistory(executionId: string, tenant: string): Promise<HistoryRecord[]> {
    return this.call((engine, call) =>
      engine.history(call, checkName(tenant, 'tenant'), checkName(executionId, 'executionId')),
    ).then(historyFrom);
  }

  /** Those of a tenant, page by page. */
  listExecutions(query: ListQuery): Promise<ExecutionList> {
    return this.call((engine, call) => {
      engine.list(call, ...listFields(query));
    }).then(listFrom);
  }

  /**
   * Runs `body` while this process has that lock of the tenant's, which no other process of the store has meanwhile,
   * and gives what it gives. The lock is renewed while `body` runs, and freed soon after. Where this process is
   * killed, stopped, or cut off from the store, another one gets it when its `ttl` is over: `lock.signal` and
   * `lock.fence` are for what this one may still do then. A lock is not to be taken again within `body`, which
   * would wait for itself.
   *
   * Rejects with what `body` rejects with; with a LockTimeoutError where others had the lock for as long as `wait`
   * says.
   */
  withLock<T>(
    key: string,
    options: TenantLockOptions,
    body: (lock: Lock) => T | PromiseLike<T>,
  ): Promise<T> {
    const refused = fromWorkflowCode();
    if (refused !== undefined) return Promise.reject(refused);
    return (async () => {
      checkOptions('withLock', options, ['tenant', 'ttl', 'wait']);
      const tenant = checkName((options as TenantLockOptions | undefined)?.tenant, 'tenant');
      return (await this.locks.with(tenant, key, options, body));
    })();
  }

  /**
   * What was sent to executions of a tenant and could not be delivered: they had ended, are not there, or it ended one
   * worker after the other. Page by page, the oldest first.
   */
  listDeadLetters(query: DeadLetterQuery): Promise<DeadLetterList> {
    return this.call((engine, call) => {
      engine.listDeadLetters(call, ...deadLetterFields(query));
    }).then(deadLettersFrom);
  }

  /**
   * Puts it back into the inbox, as if it had never been tried: whoever owns its execution takes it up again. Settles
   * once that is durable, with what it was, and one attempt more.
   *
   * Rejects with an InvalidArgumentError where there is no such row in the tenant; with a WrongStatusError where it
   * was delivered, waits to be, was dropped, or was sent once more under its idempotency key.
   */
  retryDeadLetter(id: string, tenant: string): Promise<DeadLetter> {
    return this.changeDeadLetter(DeadLetterChange.retry, id, tenant);
  }

  /**
   * It is listed no more, and its payload is gone; what comes under its idempotency key is answered as before.
   * Settles with what it was. Rejects as retryDeadLetter.
   */
  dropDeadLetter(id: string, tenant: string): Promise<DeadLetter> {
    return this.changeDeadLetter(DeadLetterChange.drop, id, tenant);
  }

  private changeDeadLetter(change: DeadLetterChange, id: string, tenant: string): Promise<DeadLetter> {
    return this.call((engine, call) => {
      engine.changeDeadLetter(call, change, ...deadLetterKey(id, tenant));
    }).then(deadLetterFrom);
  }

  /** The state of the execution once it has ended, however it ended. */
  waitForWorkflowCompletion(
    executionId: string,
    tenant: string,
    options: { maxWait?: Duration } = {},
  ): Promise<ExecutionState> {
    return this.call((engine, call) => {
      checkOptions('waitForWorkflowCompletion', options, ['maxWait']);
      const maxWait = options.maxWait === undefined ? -1 : toMilliseconds(options.maxWait, 'maxWait');
      engine.wait(call, checkName(tenant, 'tenant'), checkName(executionId, 'executionId'), maxWait);
    }).then(stateFrom);
  }

  /**
   * Asks an execution to end; settles as soon as that is durable. What its code awaits rejects with
   * a CancelledError, `context.signal` fires, actions under way are told to stop; what the code
   * begins afterwards works as ever, so that it can clean up. If it ends by that error the status is
   * 'cancelled', if it returns 'completed'. A paused or stuck execution is told when it goes on.
   * Asking again has no effect.
   */
  cancelWorkflow(executionId: string, tenant: string, options?: ControlOptions): Promise<ControlResult> {
    return this.control('cancelWorkflow', ControlVerb.cancel, executionId, tenant, options);
  }

  /** Ends an execution at once, as 'terminated'. Its code is not told and cleans nothing up. */
  terminateWorkflow(executionId: string, tenant: string, options?: ControlOptions): Promise<ControlResult> {
    return this.control('terminateWorkflow', ControlVerb.terminate, executionId, tenant, options);
  }

  /**
   * From now on none of its code runs and no action begins. Actions under way end and are recorded,
   * events wait, timers fire when it is resumed. Rejects with a WrongStatusError where it is stuck.
   */
  pauseWorkflow(executionId: string, tenant: string, options?: ControlOptions): Promise<ControlResult> {
    return this.control('pauseWorkflow', ControlVerb.pause, executionId, tenant, options);
  }

  /**
   * A paused execution goes on: what waited is delivered, each once. A running one is left as it
   * is. Rejects with a WrongStatusError where it is stuck: `registerWorkflow` mends that.
   */
  resumeWorkflow(executionId: string, tenant: string, options?: ControlOptions): Promise<ControlResult> {
    return this.control('resumeWorkflow', ControlVerb.resume, executionId, tenant, options);
  }

  /**
   * Copies the store to a new file while all goes on: whole, as of one moment between the call and its
   * answer, synced, and a store like any other. Whoever opens it takes up what was under way then,
   * with the idempotency keys that the actions had.
   *
   * Rejects with an AlreadyExistsError where there is such a file, and with a StoreError where the
   * folder is not there or the disk is full; what was begun of the copy is gone then.
   */
  backup(path: string): Promise<BackupReport> {
    return this.call((engine, call) => {
      if (typeof path !== 'string' || path === '') {
        throw new InvalidArgumentError('backup takes the path of a file that is not there yet');
      }
      engine.backup(call, path);
    });
  }

  /** Whether what lies in the store fits together: as `checkStore`, over the store of this runtime. */
  checkIntegrity(options: IntegrityOptions = {}): Promise<IntegrityReport> {
    return this.call((engine, call) => engine.checkIntegrity(call, findingsMaxOf('checkIntegrity', options))).then(
      integrityReportFrom,
    );
  }

  /**
   * One execution, for repeated calls; with a definition, typed by it. Reads nothing yet: an unknown
   * execution shows with the first call.
   *
   * Throws an InvalidArgumentError for an id or a tenant that can be none.
   */
  getHandle(executionId: string, tenant: string): WorkflowHandle;
  getHandle<Definition extends WorkflowDefinition>(
    definition: Definition,
    executionId: string,
    tenant: string,
  ): WorkflowHandle<EventsOf<Definition>, ResultOf<Definition>>;
  getHandle(
    ...given:
      | [executionId: string, tenant: string]
      | [definition: WorkflowDefinition, executionId: string, tenant: string]
  ): WorkflowHandle {
    if (typeof given[0] !== 'object') {
      const [executionId, tenant] = given;
      return makeHandle(this, executionId, tenant as string);
    }
    const [definition, executionId, tenant] = given;
    return makeHandle(this, executionId, tenant as string, checkDefinition('getHandle', definition));
  }

  /**
   * From now on this process processes: it opens the store, and goes on with what was under way. On SQLite an open
   * runtime processes by itself, and the first call opens it. On PostgreSQL this makes it one of the workers, which
   * share the executions among them, and take over those of a worker that is gone. A process that does not call it
   * starts executions, sends events and reads all the same: they are run where a worker owns them.
   *
   * Rejects with a StoreError where the store can't be opened (`store_unavailable`, `store_in_use`, `store_invalid`).
   */
  async startWorker(): Promise<void> {
    const refused = fromWorkflowCode();
    if (refused !== undefined) throw refused;
    (await this.open()).begin();
  }

  /**
   * Takes no more calls (they reject with a ClosedError), begins no attempt of an action, fires no timer,
   * and waits until the actions under way have ended and their outcomes are recorded, and until what was
   * asked before is answered: for `drain` at most, by default 5 seconds. Actions that run all the same are
   * told by their `signal`, with an AbortError; they run again, under their keys, once the store is opened
   * anew. Then it stops the engine and restores what the guards replaced.
   *
   * Called again, it gives the same promise. An action must not await it, which would wait for that
   * action; nor can workflow code call it.
   */
  close(options: CloseOptions = {}): Promise<void> {
    const refused = fromWorkflowCode();
    if (refused !== undefined) return Promise.reject(refused);
    if (this.closing === undefined) {
      let drainMs: number;
      try {
        checkOptions('close', options, ['drain']);
        drainMs = toMilliseconds(options.drain ?? drainDefault, 'close: drain');
      } catch (error) {
        return Promise.reject(error as Error);
      }
      this.closing = this.closeOnce(drainMs);
    }
    return this.closing;
  }

  /**
   * How this process stands, for whoever probes it: it never rejects. Where the store is not open yet, it is opened; what
   * comes of that is told. Workflow code can't ask.
   */
  async health(): Promise<Health> {
    const refused = fromWorkflowCode();
    if (refused !== undefined) throw refused;
    try {
      return JSON.parse((await this.open()).health()) as Health;
    } catch (error) {
      return { ...nothingKnown, troubles: [(error as Error).message] };
    }
  }

  /** What the engine has done since it was opened, for tests and benchmarks. */
  async counters(): Promise<EngineCounters> {
    const refused = fromWorkflowCode();
    if (refused !== undefined) throw refused;
    return (await this.open()).counters();
  }

  /** @internal */
  executeAction(name: string, request: ExecuteActionRequest): Promise<any> {
    return this.call(async (engine, call) => {
      const action = findAction(this.registry, checkName(name, 'The name of an action'));
      checkOptions('executeAction', request, [
        'tenant',
        'executionId',
        'eventId',
        'idempotencyKey',
        'parameters',
      ]);
      const fields = [
        checkName(request?.tenant, 'tenant'),
        checkOptionalName(request.executionId, 'executionId'),
        checkOptionalName(request.eventId, 'eventId'),
        checkName(request.idempotencyKey, 'idempotencyKey'),
        action.metadata.name,
        encode(request.parameters ?? {}, 'parameters'),
      ];
      // What does not fit is refused before anything is recorded under the key.
      await validateFor(action, reviveParsed(JSON.parse(fields[5]!)));
      engine.executeAction(call, ...fields);
    }).then((result: CarriedPayload) => result[0]);
  }

  /**
   * What became of an action whose handler returned `context.completeLater()`, or has not returned yet; settles once
   * that is durable. The first outcome counts.
   *
   * Rejects with an InvalidArgumentError for what is no token, an UnknownExecutionError or an ExecutionEndedError,
   * a WrongStatusError where the action has an outcome already or its execution is stuck, and a PayloadError for a
   * result that can't be carried.
   */
  completeAction(token: string, result?: unknown): Promise<void> {
    return this.call((engine, call) => {
      engine.completeAction(call, ...completionFields(token, result));
    }).then(ignore);
  }

  /** As completeAction, with a failure, which is not followed by another attempt. */
  failAction(token: string, error: unknown): Promise<void> {
    return this.call((engine, call) => {
      engine.completeAction(call, ...failureFields(token, error, this.registry.link.classifiers));
    }).then(ignore);
  }

  /**
   * A failed execution goes on from before the activation in which it failed: an action whose failure
   * woke it runs again, under a key of its own, and everything else that woke it is delivered once
   * more. For what was mended outside (an account, a service), or in the code with `replace`.
   *
   * Rejects with a WrongStatusError if it has not failed.
   */
  retryWorkflow(executionId: string, tenant: string, options?: ControlOptions): Promise<ControlResult> {
    return this.control('retryWorkflow', ControlVerb.retry, executionId, tenant, options);
  }

  /**
   * Gives the id of a new execution that has this one's history up to `atSequence` (within an
   * activation: up to its start; default: now), its version and input, and goes on from there.
   * Actions under way at that point run again, under keys of their own. This one is not touched. The
   * same fork again, under the same id, is the same execution.
   *
   * Rejects with a WrongStatusError if that point is its end, an AlreadyExistsError if `executionId`
   * is another execution's.
   */
  forkWorkflow(executionId: string, tenant: string, options: ForkOptions = {}): Promise<string> {
    return this.call((engine, call) => {
      checkOptions('forkWorkflow', options, ['atSequence', 'executionId', 'reason', 'by']);
      engine.fork(
        call,
        checkName(tenant, 'tenant'),
        checkName(executionId, 'executionId'),
        checkSequence(options.atSequence),
        checkOptionalName(options.executionId, 'executionId'),
        checkOptionalName(options.by, 'by'),
        checkReason(options.reason),
      );
    });
  }

  private control(
    what: string,
    verb: ControlVerb,
    executionId: string,
    tenant: string,
    options: ControlOptions = {},
  ): Promise<ControlResult> {
    return this.call((engine, call) => {
      engine.control(call, verb, ...controlFields(what, executionId, tenant, options));
    });
  }

  private checkOpen(): void {
    if (this.closing !== undefined) {
      throw new ClosedError('This runtime is closed. getWorkflowRuntime() gives a new one');
    }
  }

  /** A call into the engine: opens it first, settles with its reply. */
  private call(make: (engine: NativeEngine, call: number) => void | Promise<void>): Promise<any> {
    const refused = fromWorkflowCode();
    if (refused !== undefined) return Promise.reject(refused);
    const opened = this.closing === undefined ? this.engine : undefined;
    return opened === undefined ? this.callOpened(make) : this.callEngine(opened, make);
  }

  private async callOpened(
    make: (engine: NativeEngine, call: number) => void | Promise<void>,
  ): Promise<any> {
    this.checkOpen();
    return this.callEngine(await this.open(), make);
  }

  private callEngine(
    engine: NativeEngine,
    make: (engine: NativeEngine, call: number) => void | Promise<void>,
  ): Promise<any> {
    const call = ++this.lastCall;
    return new Promise((resolve, reject) => {
      this.calls.set(call, { resolve, reject });
      const refuse = (error: unknown) => {
        this.calls.delete(call);
        reject(error as Error);
      };
      try {
        const made = make(engine, call);
        if (made !== undefined) made.catch(refuse);
      } catch (error) {
        refuse(error);
      }
    });
  }

  private open(): Promise<NativeEngine> {
    if (this.closing !== undefined) {
      return Promise.reject(
        new ClosedError('This runtime is closed. getWorkflowRuntime() gives a new one'),
      );
    }
    if (this.opening === undefined) {
      const opening = lastClosed.then(() => this.openOnce());
      this.opening = opening;
      // A later call tries again: the file may be free by then.
      opening.catch(() => {
        if (this.opening === opening) this.opening = undefined;
      });
    }
    return this.opening;
  }

  private async openOnce(): Promise<NativeEngine> {
    const { Engine, hasPostgres } = loadAddon();
    const postgres = isPostgres(this.store);
    if (postgres && !hasPostgres) {
      throw new StoreError(
        'store_unavailable',
        `The store '${shownAddress(this.store)}' can't be opened: the addon was built without PostgreSQL. ` +
          'Run scripts/build_libpq, and build it again',
      );
    }
    const engine = new Engine(this.bridge());
    const call = ++this.lastCall;
    try {
      await new Promise((resolve, reject) => {
        this.calls.set(call, { resolve, reject });
        engine.open(call, this.store, this.limits, this.watchdogMs, this.leaseMs, this.redis, this.partitions);
      });
    } catch (error) {
      engine.closeNow();
      throw postgres && error instanceof PawlError ? explained(error, this.store) : error;
    }
    this.engine = engine;
    process.on('exit', this.atExit);
    watchRejections(noteRejection);
    installGuards(this.options.guards!);
    try {
      const { link } = this.registry;
      link.listener = (action) => this.tellAction(engine, action);
      link.runtime = this;
      for (const action of link.all()) this.tellAction(engine, action);
      // For what context.run asks for.
      const none: FlatWriter = [];
      writeActionOptions(none, undefined);
      this.check(engine.registerAction('pawl.run', 'Handlers that are written in workflow code', none, true));
      for (const definition of this.definitions.values()) this.tellWorkflow(engine, definition, false);
      // On a server it is startWorker() that takes a part in the work.
      if (!postgres) engine.begin();
    } catch (error) {
      // Half of what was registered must not go on alone.
      this.release();
      engine.closeNow();
      throw error;
    }
    return engine;
  }

  private async closeOnce(drainMs: number): Promise<void> {
    if (processRuntime === this) processRuntime = undefined;
    const closed = this.closeEngine(drainMs);
    lastClosed = closed.catch(ignore);
    await closed;
  }

  private async closeEngine(drainMs: number): Promise<void> {
    const end = Date.now() + drainMs;
    // What is begun on a file keeps it from being closed. On a server it is nobody's affair, and actions that the
    // engine waits for need their connections.
    const { ownDatabase } = this;
    if (ownDatabase instanceof StoreDatabase) await ownDatabase.close(drainMs);
    try {
      await this.stopEngine(end);
    } finally {
      if (!(ownDatabase instanceof StoreDatabase)) await ownDatabase.close(Math.max(0, end - Date.now()));
    }
  }

  private async stopEngine(end: number): Promise<void> {
    const engine = await this.opening?.catch(() => undefined);
    if (engine === undefined) return;
    const call = ++this.lastCall;
    await new Promise((resolve, reject) => {
      this.calls.set(call, { resolve, reject });
      engine.close(call, Math.max(0, end - Date.now()));
    });
    this.release();
    engine.closeNow();
    this.runner.abortAll();
    const error = new ClosedError('The runtime was closed before there was an answer');
    for (const { reject } of this.calls.values()) reject(error);
    this.calls.clear();
  }

  private release(): void {
    process.off('exit', this.atExit);
    ignoreRejections();
    this.registry.link.listener = undefined;
    this.registry.link.runtime = undefined;
    this.engine = undefined;
    removeGuards();
  }

  /** The threads of the engine must be gone before the process takes its memory down. */
  private readonly atExit = (): void => this.engine?.closeNow();

  private tellWorkflow(engine: NativeEngine, definition: WorkflowDefinition, replace: boolean): void {
    const { name, version, metadata } = definition;
    this.check(
      engine.registerWorkflow(
        name,
        version,
        metadata.description ?? '',
        metadata.author ?? '',
        metadata.tags ?? [],
        replace,
      ),
    );
  }

  private tellAction(engine: NativeEngine, { metadata }: RegisteredAction): void {
    const options: FlatWriter = [];
    writeActionOptions(options, metadata as ActionRunOptions & ActionLimits);
    // The registry has decided about names; the engine follows it.
    this.check(engine.registerAction(metadata.name, metadata.description, options, true));
  }

  private check(refusal: Refusal | undefined): void {
    if (refusal !== undefined) throw errorFromCode(refusal[0], refusal[1], '');
  }

  private bridge(): Bridge {
    const { host, runner } = this;
    return {
      activate: (text) => host.activate(text),
      collect: () => host.collect(),
      evict: (execution) => host.evict(execution),
      run(text) {
        host.leave();
        runner.run(text);
      },
      abort(attempt) {
        host.leave();
        runner.abort(attempt);
      },
      settle: (text) => {
        host.leave();
        this.settle(text);
      },
      log: (text) => {
        host.leave();
        const line = JSON.parse(text) as CarriedLogLine;
        if (hasTags(text)) reviveParsed(line.details);
        this.log(logLineFrom(line));
      },
    };
  }

  private settle(text: string): void {
    const replies = JSON.parse(text) as Reply[];
    const tagged = hasTags(text);
    for (const [call, code, value, subject] of replies) {
      const pending = this.calls.get(call);
      if (pending === undefined) continue;
      this.calls.delete(call);
      if (code === 0) pending.resolve(tagged ? reviveParsed(value) : value);
      else pending.reject(errorFromReply(code, value as string, subject ?? ''));
    }
  }
}

const actionFailedCode = 18;

function errorFromReply(code: number, message: string, subject: string): Error {
  if (code !== actionFailedCode) return errorFromCode(code, message, subject);
  const failure = JSON.parse(subject) as Failure;
  if (failure.class === 'validation') return new ValidationError(failure.message);
  return errorFromFailure(failure);
}

let processRuntime: WorkflowRuntime | undefined;

/**
 * The runtime of this process. The first call makes it, with the registry and the options given; it
 * opens its store with the first call that needs one. Once open it keeps the process alive, as a
 * server does, until `close()`.
 *
 * Later calls need neither; what they give must be what the runtime has, or they throw an
 * AlreadyExistsError. Throws an InvalidArgumentError for options that make no sense.
 */
export function getWorkflowRuntime(registry?: ActionRegistry, options?: RuntimeOptions): WorkflowRuntime {
  if (registry !== undefined && !(registry instanceof ActionRegistry)) {
    throw new InvalidArgumentError('getWorkflowRuntime takes an action registry first, or undefined');
  }
  if (processRuntime === undefined) {
    processRuntime = new WorkflowRuntime(registry ?? getActionRegistry(), options ?? {});
    return processRuntime;
  }
  if (registry !== undefined && registry !== processRuntime.registry) {
    throw new AlreadyExistsError(
      'The runtime of this process has another action registry. Close it first, or register the ' +
        'actions with that one',
    );
  }
  processRuntime.checkSame(options ?? {});
  return processRuntime;
}

setExecute((registry, name, request) => {
  if (processRuntime !== undefined && processRuntime.registry !== registry) {
    return Promise.reject(
      new AlreadyExistsError(
        'The runtime of this process has another action registry, and results are recorded by a ' +
          'runtime. Pass this registry to getWorkflowRuntime, after closing the other runtime',
      ),
    );
  }
  return getWorkflowRuntime(registry).executeAction(name, request);
});
