import type { Knex } from 'knex';
import type { ActionDatabase } from './action_database.js';
import type { ActionParametersOf, ActionResultOf, AllOptional } from './action_types.js';
import { registerBuiltIns } from './builtins.js';
import type { FailureClassifier } from './classification.js';
import type { Duration } from './durations.js';
import { AlreadyExistsError, InvalidArgumentError, UnknownActionError } from './errors.js';
import { KnexDatabase } from './knex_database.js';
import type { Lock, LockOptions } from './locks.js';
import type { Logger } from './log.js';
import { checkName, didYouMean, foldName } from './names.js';
import { checkOptions, checkText, checkTexts } from './options.js';
import {
  checkDeclaration,
  isStandardSchema,
  validateParameters,
  type ActionParameter,
  type ActionParameters,
  type StandardSchema,
  type UnknownParameters,
} from './parameters.js';
import type { EnqueueEventResult, EventSubmission, StartWorkflowOptions } from './requests.js';
import {
  actionRunOptionNames,
  writeActionOptions,
  type ActionLimits,
  type ActionRunOptions,
  type RetryOptions,
} from './wire.js';

/**
 * Of a database action: what its transaction sees of others. SQLite has one writer at a time, so that all are
 * serializable there; PostgreSQL has no READ UNCOMMITTED, and takes READ COMMITTED for it.
 */
export enum TransactionIsolationLevel {
  READ_UNCOMMITTED = 'READ UNCOMMITTED',
  READ_COMMITTED = 'READ COMMITTED',
  REPEATABLE_READ = 'REPEATABLE READ',
  SERIALIZABLE = 'SERIALIZABLE',
}

/** What a handler is told beside its parameters. */
export interface ActionContext {
  readonly tenant: string;
  readonly executionId: string;
  /** The event that led to the action; '' if it was the start. */
  readonly eventId: string;
  /** The same on every attempt, also after a crash: hand it to whoever can tell a repetition by it. */
  readonly idempotencyKey: string;
  /** 1, 2, 3 … */
  readonly attempt: number;
  /** Fires when the attempt ran out of time, its execution ended or the runtime was closed. */
  readonly signal: AbortSignal;
  readonly logger: Logger;
  readonly correlationId: string | undefined;
  /** When the workflow asked for the action: milliseconds since 1970. */
  readonly scheduledAt: number;
  /**
   * What an attempt before this one told last, with its heartbeat; undefined: nothing that is known. After a
   * crash of the process it is what an attempt told that failed before.
   */
  readonly progress: any;
  /**
   * The handler is alive, and perhaps so far: that is what `heartbeatTimeout` wants to hear, again and again.
   * Throws a PayloadError for what can't be carried.
   */
  heartbeat(progress?: unknown): void;
  /**
   * What this action is completed by from elsewhere: whoever has it can do so, by `runtime.completeAction` or
   * `failAction`. '' outside of a workflow, and for a call with an idempotency key of its own, where that can't be.
   */
  readonly token: string;
  /**
   * For an action that ends elsewhere: `return context.completeLater()`. It stays open, without an attempt,
   * also over restarts; the time-out of the attempt does not count any more, `totalTimeout` does.
   */
  completeLater(): any;
  /**
   * Runs `body` while this process has that lock of the tenant's, and gives what it gives; see
   * `WorkflowRuntime.withLock`. The wait ends with the attempt.
   */
  withLock<T>(key: string, body: (lock: Lock) => T | PromiseLike<T>): Promise<T>;
  withLock<T>(key: string, options: LockOptions, body: (lock: Lock) => T | PromiseLike<T>): Promise<T>;
}

/** What the handler of a database action is told. */
export interface DatabaseActionContext extends ActionContext {
  /**
   * The transaction, for queries as Knex has them: `transaction('invoices').where(…).update(…)`. It is committed
   * with the result when the handler has returned, and rolled back when it throws.
   */
  readonly transaction: Knex.Transaction;
}

/**
 * As {@link ActionHandler}, for what writes to a database: called again after a failure and after a crash, but
 * what it wrote is there once.
 */
export type DatabaseActionHandler<Parameters = any, Result = any> = (
  params: Parameters,
  context: DatabaseActionContext,
) => Result | Promise<Result>;

/**
 * Does what the action is for. Called again after a failure and after a crash, so what it does it
 * must be able to do twice, or tell a repetition by `context.idempotencyKey`. What it throws is
 * classified, and tried again unless that would not help (see NonRetryableError).
 */
export type ActionHandler<Parameters = any, Result = any> = (
  params: Parameters,
  context: ActionContext,
) => Result | Promise<Result>;

/** How an action is registered. */
export interface ActionOptions<Parameters extends ActionParameters = ActionParameters>
  extends ActionRunOptions,
    ActionLimits {
  name: string;
  description?: string;
  /** A list, or a schema that implements Standard Schema (zod, valibot, arktype …). */
  parameters?: Parameters;
  /** What becomes of parameters that a list does not declare. Default 'refuse'. */
  unknown?: 'strip' | 'allow';
  category?: string;
  tags?: readonly string[];
  /**
   * A schema that implements Standard Schema: what it gives is the result. A result that it refuses fails
   * the action, and is not tried again.
   */
  result?: StandardSchema<any>;
  /** Takes the place of a built-in action. */
  override?: boolean;
}

/** How a database action is registered. */
export interface DatabaseActionOptions<Parameters extends ActionParameters = ActionParameters>
  extends ActionOptions<Parameters> {
  isolation: TransactionIsolationLevel;
  /** Of this action alone, as `database` of getWorkflowRuntime. Default: what that says. */
  database?: Knex;
}

/** What is known of a registered action. */
export interface ActionMetadata {
  readonly name: string;
  readonly description: string;
  /** Empty where a schema checks the parameters. */
  readonly parameters: readonly ActionParameter[];
  readonly category: string | undefined;
  readonly tags: readonly string[];
  readonly retry: RetryOptions | undefined;
  readonly timeout: Duration | undefined;
  readonly totalTimeout: Duration | undefined;
  readonly heartbeatTimeout: Duration | undefined;
  readonly concurrencyMax: number | undefined;
  readonly rateLimit: ActionLimits['rateLimit'];
  /** Of a database action. */
  readonly isolation: TransactionIsolationLevel | undefined;
  readonly builtIn: boolean;
}

/** An action to run outside of any workflow. */
export interface ExecuteActionRequest<Parameters = any> {
  tenant: string;
  /** Noted with the result; the execution need not exist. */
  executionId?: string;
  eventId?: string;
  /** The same key again gives the recorded result and runs nothing. */
  idempotencyKey: string;
  parameters?: Parameters;
}

/** As {@link ExecuteActionRequest}, for an action whose parameters are known. */
export type ExecuteActionRequestFor<Parameters> = ExecuteActionRequest<Parameters> &
  (AllOptional<Parameters> extends true ? unknown : { parameters: Parameters });

/** What send_notification was given. */
export interface Notification {
  recipient: string;
  message: string;
  channel: string;
  [more: string]: unknown;
}

/**
 * Delivers a notification; what it gives is the receipt. Called again when it throws, as the handler
 * of an action is.
 */
export type NotificationChannel = (notification: Notification, context: ActionContext) => unknown;

/** @internal */
export interface RegisteredAction {
  readonly metadata: ActionMetadata;
  readonly declared: ActionParameters;
  readonly unknown: UnknownParameters;
  readonly result: StandardSchema<any> | undefined;
  /** Its own, where it has one. */
  readonly database: ActionDatabase | undefined;
  readonly handler: ActionHandler;
}

// What a schema gives is more precise than what callers are asked for: it has the defaults.
type HandlerFor<Name extends string, P extends ActionParameters> = ActionHandler<
  [P] extends [StandardSchema<infer Output>] ? Output : ActionParametersOf<Name>,
  ActionResultOf<Name>
>;

type DatabaseHandlerFor<Name extends string, P extends ActionParameters> = DatabaseActionHandler<
  [P] extends [StandardSchema<infer Output>] ? Output : ActionParametersOf<Name>,
  ActionResultOf<Name>
>;

/** @internal What the runtime needs of a registry. */
export interface RegistryLink {
  find(name: string): RegisteredAction | undefined;
  names(): string[];
  all(): RegisteredAction[];
  /** Called for each action that is registered from now on. */
  listener: ((action: RegisteredAction) => void) | undefined;
  channel(name: string): NotificationChannel | undefined;
  channelNames(): string[];
  readonly classifiers: readonly FailureClassifier[];
  /** While it is open. */
  runtime: RuntimeOfActions | undefined;
}

/** @internal What built-in actions do with the runtime that runs them. */
export interface RuntimeOfActions {
  startWorkflow(name: string, options: StartWorkflowOptions): Promise<string>;
  enqueueEvent(event: EventSubmission): Promise<EnqueueEventResult>;
}

type Execute = (registry: ActionRegistry, name: string, request: ExecuteActionRequest) => Promise<any>;

let execute: Execute | undefined;

/** @internal The runtime says how actions run outside of workflows. */
export function setExecute(fn: Execute): void {
  execute = fn;
}

const actionOptionNames = [
  'name',
  'description',
  'parameters',
  'unknown',
  'category',
  'tags',
  ...actionRunOptionNames,
  'concurrencyMax',
  'rateLimit',
  'result',
  'override',
  'isolation',
  'database',
] as const;

const isolationLevels = Object.values(TransactionIsolationLevel);

/** The actions of a process, by names that meet in every casing. */
export class ActionRegistry {
  private readonly actions = new Map<string, RegisteredAction>();
  private readonly channels = new Map<string, NotificationChannel>();
  private readonly classifiers: FailureClassifier[] = [];

  /** @internal */
  readonly link: RegistryLink = {
    find: (name) => this.actions.get(foldName(name)),
    names: () => [...this.actions.values()].map(({ metadata }) => metadata.name),
    all: () => [...this.actions.values()],
    listener: undefined,
    channel: (name) => this.channels.get(name),
    channelNames: () => [...this.channels.keys()],
    classifiers: this.classifiers,
    runtime: undefined,
  };

  constructor(options: { builtIns?: boolean } = {}) {
    checkOptions('createActionRegistry', options, ['builtIns']);
    if (options.builtIns !== false) {
      registerBuiltIns(this, (action, handler) => this.add(action, handler, true));
    }
  }

  /**
   * Registers what has no need of options. The handler's types are those of {@link ActionTypes} for
   * the name, or of the schema. The same handler again under the name changes nothing.
   *
   * Throws an InvalidArgumentError where the declaration makes no sense, and an AlreadyExistsError
   * where another action has the name, in any casing.
   */
  registerSimpleAction<const P extends ActionParameters, const Name extends string = string>(
    name: Name,
    description: string,
    parameters: P,
    handler: HandlerFor<Name, P>,
  ): void {
    this.add({ name, description, parameters }, handler, false);
  }

  /**
   * An action that writes to a database, in `context.transaction`: what it writes and its result are one commit,
   * so that it is done once, whatever happens in between.
   *
   * Throws as registerSimpleAction.
   */
  registerDatabaseAction<const P extends ActionParameters, const Name extends string = string>(
    name: Name,
    description: string,
    parameters: P,
    isolation: TransactionIsolationLevel,
    handler: DatabaseHandlerFor<Name, P>,
  ): void {
    this.add({ name, description, parameters, isolation }, handler as ActionHandler, false);
  }

  /**
   * As registerSimpleAction, with retries, time-outs and the other options of an action; with `isolation`, as
   * registerDatabaseAction.
   */
  registerAction<const P extends ActionParameters, const Name extends string = string>(
    action: DatabaseActionOptions<P> & { name: Name },
    handler: DatabaseHandlerFor<Name, P>,
  ): void;
  registerAction<const P extends ActionParameters, const Name extends string = string>(
    action: ActionOptions<P> & { name: Name },
    handler: HandlerFor<Name, P>,
  ): void;
  registerAction(action: ActionOptions & { name: string }, handler: any): void {
    checkOptions('registerAction', action, actionOptionNames);
    this.add(action, handler as ActionHandler, false);
  }

  /** Another way for send_notification to deliver, for calls that name it in `channel`. */
  registerNotificationChannel(name: string, send: NotificationChannel): void {
    checkName(name, 'The name of a notification channel');
    if (typeof send !== 'function') {
      throw new InvalidArgumentError(`The notification channel '${name}' must be a function`);
    }
    this.channels.set(name, send);
  }

  /**
   * Has a say in what another attempt at an action is worth, before what is known of PostgreSQL, SQLite,
   * Node.js and HTTP. Those that are registered later are asked first; the first to name a class decides.
   * One that throws has nothing to say.
   */
  registerFailureClassifier(classifier: FailureClassifier): void {
    if (typeof classifier !== 'function') {
      throw new InvalidArgumentError('A classifier of failures must be a function');
    }
    this.classifiers.unshift(classifier);
  }

  /**
   * Runs an action outside of any workflow and gives its result. Done once per tenant and
   * idempotency key. For an action in {@link ActionTypes}, parameters and result are typed.
   *
   * Rejects with the action's own error; and before anything is recorded under the key, with an
   * UnknownActionError for a name that nobody registered, a ValidationError for parameters that do
   * not fit, an InvalidArgumentError without tenant or key.
   */
  executeAction<const Name extends string>(
    name: Name,
    request: ExecuteActionRequestFor<ActionParametersOf<Name>>,
  ): Promise<ActionResultOf<Name>> {
    return execute!(this, name, request);
  }

  /** Of the action of that name, in any casing. */
  getActionMetadata(name: string): ActionMetadata | undefined {
    return this.actions.get(foldName(name))?.metadata;
  }

  /** Built-in ones too. */
  getAllActions(): ActionMetadata[] {
    return [...this.actions.values()].map(({ metadata }) => metadata);
  }

  /** Those registered with exactly that category. */
  getActionsByCategory(category: string): ActionMetadata[] {
    return this.getAllActions().filter((action) => action.category === category);
  }

  private add(
    action: ActionOptions & Partial<DatabaseActionOptions>,
    handler: ActionHandler,
    builtIn: boolean,
  ): void {
    const name = checkName(action.name, 'The name of an action');
    if (typeof handler !== 'function') {
      throw new InvalidArgumentError(`Action '${name}' needs a function that does it`);
    }
    const declared = action.parameters ?? [];
    checkDeclaration(name, declared);
    if (action.unknown !== undefined && action.unknown !== 'strip' && action.unknown !== 'allow') {
      throw new InvalidArgumentError(`Action '${name}': unknown can be 'strip' or 'allow'`);
    }
    if (action.result !== undefined) {
      if (!isStandardSchema(action.result)) {
        throw new InvalidArgumentError(
          `Action '${name}': result must be a schema that implements Standard Schema`,
        );
      }
      checkDeclaration(name, action.result);
    }
    const description = checkText(`Action '${name}': its description`, action.description);
    checkText(`Action '${name}': its category`, action.category);
    const tags = checkTexts(`Action '${name}': its tags`, action.tags);
    if (action.override !== undefined && typeof action.override !== 'boolean') {
      throw new InvalidArgumentError(`Action '${name}': override can be true or false`);
    }
    if ('isolation' in action && !isolationLevels.includes(action.isolation!)) {
      throw new InvalidArgumentError(
        `Action '${name}': its isolation level can be one of TransactionIsolationLevel: ` +
          `${isolationLevels.map((level) => `'${level}'`).join(', ')}; not ${String(action.isolation)}`,
      );
    }
    if (action.database !== undefined && action.isolation === undefined) {
      throw new InvalidArgumentError(
        `Action '${name}' has a database and no isolation: with that it would be a database action`,
      );
    }
    const database =
      action.database === undefined ? undefined : KnexDatabase.over(action.database, `Action '${name}': its database`);
    try {
      writeActionOptions([], action);
    } catch (error) {
      throw new InvalidArgumentError(`Action '${name}': ${(error as Error).message}`);
    }

    const folded = foldName(name);
    if (folded === '') throw new InvalidArgumentError(`'${name}' has no letter to call the action by`);
    const before = this.actions.get(folded);
    if (before !== undefined) {
      if (before.handler === handler) return;
      if (!before.metadata.builtIn) {
        throw new AlreadyExistsError(
          `Action '${name}' is registered already${same(before.metadata.name, name)}`,
        );
      }
      if (action.override !== true) {
        throw new AlreadyExistsError(
          `'${before.metadata.name}' is a built-in action. To put yours in its place, register it ` +
            `with registerAction({ name: '${name}', override: true, … })`,
        );
      }
    }
    const registered: RegisteredAction = {
      metadata: Object.freeze({
        name,
        description,
        parameters: isStandardSchema(declared) ? [] : Object.freeze(declared.map((one) => Object.freeze({ ...one }))),
        category: action.category,
        tags,
        retry: copyOf(action.retry),
        timeout: action.timeout,
        totalTimeout: action.totalTimeout,
        heartbeatTimeout: action.heartbeatTimeout,
        concurrencyMax: action.concurrencyMax,
        rateLimit: action.rateLimit === undefined ? undefined : Object.freeze({ ...action.rateLimit }),
        isolation: action.isolation,
        builtIn,
      }),
      declared: isStandardSchema(declared) ? declared : declared.map((one) => ({ ...one })),
      unknown: action.unknown ?? 'refuse',
      result: action.result,
      database,
      handler,
    };
    this.actions.set(folded, registered);
    this.link.listener?.(registered);
  }
}

/** What the caller does with its own object later has no effect. */
function copyOf(retry: RetryOptions | undefined): RetryOptions | undefined {
  if (retry === undefined) return undefined;
  const { nonRetryable } = retry;
  return Object.freeze({
    ...retry,
    ...(nonRetryable === undefined ? {} : { nonRetryable: Object.freeze([...nonRetryable]) }),
  });
}

function same(registered: string, name: string): string {
  return registered === name ? '' : ` as '${registered}', which is the same name`;
}

/** @internal The registered action, or an error that names the nearest one. */
export function findAction(registry: ActionRegistry, name: string): RegisteredAction {
  const action = registry.link.find(name);
  if (action !== undefined) return action;
  throw new UnknownActionError(
    `No action '${name}' is registered${didYouMean(name, registry.link.names())}`,
  );
}

/** @internal */
export function validateFor(action: RegisteredAction, parameters: unknown): any {
  return validateParameters(action.metadata.name, action.declared, action.unknown, parameters);
}

let processRegistry: ActionRegistry | undefined;

/** The registry of the process, with the built-in actions. */
export function getActionRegistry(): ActionRegistry {
  processRegistry ??= new ActionRegistry();
  return processRegistry;
}

/** A registry of its own, with the built-in actions unless `builtIns` is false. */
export function createActionRegistry(options: { builtIns?: boolean } = {}): ActionRegistry {
  return new ActionRegistry(options);
}
