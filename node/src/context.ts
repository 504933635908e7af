import type { WorkflowActions } from './action_types.js';
import { makeStartChild, type StartChild } from './children.js';
import { makeCompensations, type WorkflowCompensations } from './compensations.js';
import { decode, deepFreeze, encodeDetails, hasTags, type Encoded } from './codec.js';
import { toMilliseconds, type Duration } from './durations.js';
import { InvalidArgumentError } from './errors.js';
import { executeActions, type ActionExecutionResult, type ActionToExecute, type GraphOptions } from './graphs.js';
import { prepareAction, type Instance } from './instance.js';
import { checkName } from './names.js';
import { checkOptions, describeKind } from './options.js';
import type { ActionContext } from './registry.js';
import { actionRunOptionNames, CommandKind, type ActionCallOptions, type ActionRunOptions } from './wire.js';

/** Names of events and the types of their payloads, as an object type or an interface. */
export type EventMap = Record<string, any>;

/**
 * What is sent with an event of that name. If the name can be one of several, what fits all of them.
 */
export type PayloadOf<Events extends EventMap, Name extends keyof Events & string> = {
  [N in Name]: (payload: Events[N]) => void;
}[Name] extends (payload: infer Payload) => void
  ? Payload
  : never;

/** The arguments behind an event's name: the payload may be left out where its type allows undefined. */
export type PayloadArguments<Payload, More extends readonly unknown[] = []> = undefined extends Payload
  ? [payload?: Payload, ...more: More]
  : [payload: Payload, ...more: More];

/** An event as workflow code gets it. */
export interface ReceivedEvent<Name extends string = string, Payload = any> {
  readonly id: string;
  readonly name: Name;
  readonly payload: Payload;
  readonly user_id: string | undefined;
  /** When it was accepted: milliseconds since 1970, as Date.now() has them. */
  readonly timestamp: number;
  /** Of its record in the history. */
  readonly sequence: number;
}

/** One of the named events: `event.name` tells which, and with it the type of `event.payload`. */
export type EventNamed<Events extends EventMap, Name extends keyof Events & string> = {
  [N in Name]: ReceivedEvent<N, Events[N]>;
}[Name];

/** How long a wait lasts, and which events it takes. */
export interface WaitOptions<Event = ReceivedEvent> {
  /** After this the wait rejects with a TimeoutError. */
  timeout?: Duration;
  /** Aborting withdraws the wait: it takes no event, and rejects with the signal's reason. */
  signal?: AbortSignal;
  /**
   * Only events that it says yes to are taken; the others stay for other waits. It is asked once for
   * each event, may only look, and must tell at once. What it took is in the history: a replay does
   * not ask. Where it throws, the execution is set aside as stuck until a mended definition is
   * registered.
   */
  filter?: (event: Event) => boolean;
}

/** How long a condition is waited for. */
export interface ConditionOptions {
  /** After this the condition rejects with a TimeoutError. */
  timeout?: Duration;
}

/** The events of an execution: first in, first out, each taken at most once. */
export interface WorkflowEvents<Events extends EventMap = EventMap> {
  /**
   * The next event of that name, or of one of those names; `event.name` tells which, and with it the
   * type of `event.payload`. Events that came before are waiting, the oldest first. Rejects with a
   * TimeoutError when `timeout` ran out. A wait that lost a Promise.race is still there and may take
   * an event; use `signal` or `context.any` to withdraw it.
   */
  waitFor<Name extends keyof Events & string>(
    names: Name | readonly Name[],
    options?: WaitOptions<EventNamed<Events, Name>>,
  ): Promise<EventNamed<Events, Name>>;
  /**
   * An event to this execution itself, delivered after what is already under way. Rejects with a
   * PayloadError when the payload can't be carried.
   */
  emit<Name extends keyof Events & string>(
    name: Name,
    ...payload: PayloadArguments<PayloadOf<Events, Name>>
  ): Promise<void>;
  /**
   * An event to another execution of the tenant: it gets it once, after this activation is durable.
   * Where there is no such execution, or it has ended, a warning is logged.
   */
  emit(name: string, payload: unknown, target: { executionId: string }): Promise<void>;
}

/**
 * Values under keys, for the workflow and for those who read its state: part of
 * `ExecutionState.data`, at every point of the history. `set` throws a PayloadError for what can't be
 * carried.
 */
export interface WorkflowData {
  /** A frozen snapshot, or undefined. */
  get<T = any>(key: string): T;
  /** Takes a snapshot: later changes of `value` have no effect. undefined deletes. */
  set(key: string, value: unknown): void;
  /** No error if there is none. */
  delete(key: string): void;
  /** A frozen snapshot of everything. */
  all(): Readonly<Record<string, any>>;
}

/**
 * Lines are written once what the code did is durable, and not again on replay. Details that can't
 * be carried are written as text, never refused.
 */
export interface WorkflowLogger {
  /** For who looks into a single execution. */
  debug(message: string, ...details: unknown[]): void;
  /** What happens when all is well. */
  info(message: string, ...details: unknown[]): void;
  /** What somebody should look at. */
  warn(message: string, ...details: unknown[]): void;
  /** What went wrong. */
  error(message: string, ...details: unknown[]): void;
}

/** What a workflow function gets. Every member also works detached: `const { setState } = context`. */
export interface WorkflowContext<Events extends EventMap = EventMap, Input = any> {
  /** In what a fork has of the history of another execution, the id of that one. */
  readonly executionId: string;
  readonly tenant: string;
  readonly userId: string | undefined;
  readonly correlationId: string | undefined;
  /** initialData as given to startWorkflow. */
  readonly input: Input;
  readonly actions: WorkflowActions;
  /** initialData's members are its first content. */
  /**
   * An action that is written in place: `await run('charge', () => bank.charge(order))`. What the function
   * gives, or resolves to, is recorded under that name and position, and given again on every replay
   * without a call. Until it is recorded it runs at least once: attempts, retries and time-outs are those of
   * any action, and `options` goes over the defaults. It runs outside of the workflow's code: it may use
   * what the process has, must not use the context, and gets what handlers get, with an idempotency key that
   * is the same on every attempt. Rejects as `actions` does.
   */
  run<T>(
    name: string,
    action: (attempt: ActionContext) => T | PromiseLike<T>,
    options?: ActionRunOptions,
  ): Promise<Awaited<T>>;
  /**
   * Runs actions as their dependencies let them, as parallel as that allows, without this code in between,
   * and gives what became of each, in the order given. A failure of an action is a result with `success:
   * false`, not a rejection. Rejects with an InvalidArgumentError, before anything runs, where an id comes
   * twice, a dependency is unknown or actions wait for one another; with a PayloadError for what can't be
   * carried.
   */
  executeActions(actions: readonly ActionToExecute[], options?: GraphOptions): Promise<ActionExecutionResult[]>;
  readonly data: WorkflowData;
  readonly events: WorkflowEvents<Events>;
  readonly logger: WorkflowLogger;
  /** For people and queries: `ExecutionState.currentState`. Up to 255 bytes. */
  setState(state: string): void;
  /** 'initial' before the first setState. */
  getCurrentState(): string;
  /**
   * Resolves when the predicate is met: at once, or as soon as state, data or what the code keeps in
   * variables makes it so. It is asked after each change of state or data, and whenever the code has
   * nothing more to do; conditions in order of creation. It may only look: asking for anything
   * (setState, actions …) throws in it, and what it throws the condition rejects with. Rejects with a
   * TimeoutError when `timeout` ran out.
   */
  condition(predicate: () => boolean, options?: ConditionOptions): Promise<void>;
  /** A durable pause: milliseconds, or text such as '3d'. Goes on over restarts. */
  sleep(duration: Duration): Promise<void>;
  /** The time of this activation in milliseconds since 1970; never runs backwards. */
  now(): number;
  /** From 0 up to but not including 1; the same on every replay. */
  random(): number;
  /** The same on every replay. */
  uuid(): string;
  /**
   * Settles like the first that settles, and withdraws the waits and sleeps among the others: they
   * take no event any more, and reject with an AbortError. Actions go on, and so do waits that are
   * not given themselves: `events.waitFor('X').then(…)` and what an async function of yours gives are
   * promises that `any` can't look into. Give it the wait and do the rest behind `any`, or give the
   * wait a `signal`.
   */
  any<T extends readonly unknown[] | []>(promises: T): Promise<Awaited<T[number]>>;
  /** The same, of however many there are. */
  any<T>(promises: Iterable<T | PromiseLike<T>>): Promise<Awaited<T>>;
  /**
   * Starts another execution, of the same tenant, which runs by itself: `startChild('Ship', { initialData })`,
   * or with the definition in place of the name. Where nobody has registered the workflow, it waits until
   * somebody does. Throws an InvalidArgumentError for bad options, a PayloadError for what can't be carried.
   */
  startChild: StartChild;
  /**
   * Begins the workflow anew under the same id, with another input (or the same): for executions that
   * live for long, whose history would grow without end. Nothing behind it has an effect. Events that
   * nobody took are carried over; timers, waits and actions under way are dropped, children are left as
   * when an execution ends; state and data are those of a beginning.
   */
  continueAsNew(input?: Input): Promise<never>;
  /** What is to be undone when things go wrong. */
  readonly compensations: WorkflowCompensations;
  /**
   * For code that changes while executions of it are under way: new code behind
   * `if (patched('id'))`, what was there before in the else. True where the code comes by for the
   * first time from now on, recorded in the history, and then always; false for the rest of an
   * execution that came by before the patch existed. An execution that is under way and comes by
   * later has it true from there. An id names one change; all calls with it in an execution agree.
   */
  patched(changeId: string): boolean;
  /**
   * Fires when the execution is cancelled; its reason is the CancelledError that what was awaited
   * then rejects with. What the code begins afterwards works as ever, so that it can clean up.
   */
  readonly signal: AbortSignal;
}

function abortError(message: string): Error {
  const error = new Error(message);
  error.name = 'AbortError';
  (error as { code?: string }).code = 'ABORT_ERR';
  return error;
}

/** What never settles: for side branches that go on after the function has returned. */
function never(): Promise<never> {
  return new Promise(() => {});
}

function makeActions(instance: Instance): WorkflowActions {
  const made = new Map<string, (parameters?: unknown, options?: ActionCallOptions) => Promise<any>>();
  return new Proxy({} as WorkflowActions, {
    get(target, name) {
      // What the language asks of every object is no action: `then` would make the proxy look like a
      // promise, toJSON and toString would run when it is printed.
      if (typeof name === 'symbol' || name === 'then' || name === 'toJSON') return undefined;
      if (name in Object.prototype) return Reflect.get(target, name) as unknown;
      let action = made.get(name);
      if (action === undefined) {
        action = (parameters, options) => runAction(instance, name, parameters, options);
        made.set(name, action);
      }
      return action;
    },
    has: (_target, name) => typeof name === 'string' && name !== 'then' && name !== 'toJSON',
    set(_target, name) {
      throw new InvalidArgumentError(
        `actions.${String(name)} can't be assigned: register the action with an ActionRegistry`,
      );
    },
  });
}

function runAction(
  instance: Instance,
  name: string,
  parameters: unknown,
  options: ActionCallOptions | undefined,
): Promise<any> {
  if (!instance.enter(`actions.${name}`)) return never();
  try {
    return instance.runAction(prepareAction(instance, name, parameters, options));
  } catch (error) {
    return Promise.reject(error);
  }
}

function describeTimeout(timeout: Duration): string {
  return typeof timeout === 'number' ? `${timeout}ms` : timeout.trim();
}

function condition(
  instance: Instance,
  predicate: () => unknown,
  options: ConditionOptions | undefined,
): Promise<void> {
  if (!instance.enter('condition')) return never();
  let timeoutMs = -1;
  let timeoutMessage: string | undefined;
  try {
    if (typeof predicate !== 'function') {
      throw new InvalidArgumentError(`condition needs a function to ask, not ${describeKind(predicate)}`);
    }
    checkOptions('condition', options, ['timeout']);
    if (options?.timeout !== undefined) {
      timeoutMs = toMilliseconds(options.timeout, 'timeout');
      timeoutMessage = `Timeout waiting for a condition after ${describeTimeout(options.timeout)}`;
    }
    // It would be so on every replay: there is nothing to record.
    if (instance.judge(predicate)) return Promise.resolve();
  } catch (error) {
    return Promise.reject(error);
  }
  const { position, promise } = instance.awaitable<void>('wait', timeoutMessage);
  // A wait for no event: the engine has its time only.
  instance.ask(CommandKind.wait, '', position, 0, timeoutMs, 0);
  instance.addCondition(position, predicate);
  return promise;
}

function waitFor(
  instance: Instance,
  given: string | readonly string[],
  options: WaitOptions | undefined,
): Promise<any> {
  if (!instance.enter('events.waitFor')) return never();
  const names = [...new Set(Array.isArray(given) ? (given as readonly string[]) : [given as string])];
  let timeoutMs = -1;
  let timeoutMessage: string | undefined;
  try {
    if (names.length === 0) throw new InvalidArgumentError('waitFor needs the name of an event');
    for (const name of names) checkName(name, 'The name of an event to wait for');
    checkOptions('events.waitFor', options, ['timeout', 'signal', 'filter']);
    if (options?.filter !== undefined && typeof options.filter !== 'function') {
      throw new InvalidArgumentError(
        `The filter of events.waitFor must be a function, not ${describeKind(options.filter)}`,
      );
    }
    if (options?.signal !== undefined && !(options.signal instanceof AbortSignal)) {
      throw new InvalidArgumentError(
        `The signal of events.waitFor must be an AbortSignal, not ${describeKind(options.signal)}`,
      );
    }
    if (options?.timeout !== undefined) {
      timeoutMs = toMilliseconds(options.timeout, 'timeout');
      timeoutMessage = `Timeout waiting for event(s): ${names.join(', ')} after ${describeTimeout(options.timeout)}`;
    }
    options?.signal?.throwIfAborted();
  } catch (error) {
    return Promise.reject(error);
  }
  const { position, promise } = instance.awaitable<any>('wait', timeoutMessage);
  const filter = options?.filter;
  const filtered = filter === undefined ? 0 : 1;
  instance.ask(CommandKind.wait, names.join(), position, names.length, ...names, timeoutMs, filtered);
  if (filter !== undefined) instance.awaitables.get(position)!.filter = filter;
  const signal = options?.signal;
  if (signal !== undefined) {
    const withdraw = () => {
      if (instance.enter('The signal of events.waitFor')) instance.withdraw(position, signal.reason);
    };
    signal.addEventListener('abort', withdraw, { once: true });
    instance.awaitables.get(position)!.release = () => signal.removeEventListener('abort', withdraw);
  }
  return promise;
}

function emit(instance: Instance, name: string, payload: unknown, options: unknown): Promise<void> {
  if (!instance.enter('events.emit')) return never();
  try {
    checkName(name, 'The name of an event to emit');
    checkOptions('events.emit', options, ['executionId']);
    const target = (options as { executionId?: string } | undefined)?.executionId;
    if (target !== undefined) checkName(target, 'The id of the execution to emit to');
    instance.ask(CommandKind.emit, name, name, instance.encode(payload, 'payload'), target ?? '');
  } catch (error) {
    return Promise.reject(error);
  }
  return Promise.resolve();
}

function any(instance: Instance, promises: Iterable<unknown>): Promise<any> {
  if (!instance.enter('any')) return never();
  const all = [...promises];
  if (all.length === 0) {
    return Promise.reject(new InvalidArgumentError('any needs at least one promise'));
  }
  return new Promise((resolve, reject) => {
    let settled = false;
    const settle = (winner: number, how: () => void) => {
      if (settled) return;
      settled = true;
      if (instance.enter('any')) {
        all.forEach((promise, i) => {
          if (i === winner) return;
          instance.withdrawPromise(promise, abortError('Withdrawn: another promise of any() was first'));
        });
      }
      how();
    };
    all.forEach((promise, i) => {
      Promise.resolve(promise).then(
        (value) => settle(i, () => resolve(value)),
        (error: unknown) => settle(i, () => reject(error)),
      );
    });
  });
}

/** A copy that shares nothing: for decoded values, so plain data and bytes. */
function copyOf(value: any): any {
  if (typeof value !== 'object' || value === null) return value;
  if (value instanceof Uint8Array) return value.slice();
  if (Array.isArray(value)) return value.map(copyOf);
  return Object.fromEntries(Object.entries(value).map(([key, member]) => [key, copyOf(member)]));
}

type DataEntry = { value: any; frozen: boolean } | { text: Encoded };

function makeData(instance: Instance): WorkflowData {
  const entries = new Map<string, DataEntry>();
  const { input } = instance.start;
  if (typeof input === 'object' && input !== null && !Array.isArray(input) && !ArrayBuffer.isView(input)) {
    for (const [key, value] of Object.entries(input)) entries.set(key, { value, frozen: false });
  }
  const read = (key: string): any => {
    const entry = entries.get(key);
    if (entry === undefined) return undefined;
    if ('text' in entry) {
      const value: unknown = deepFreeze(decode(entry.text));
      // Bytes can't be frozen, so each reader gets its own.
      if (!hasTags(entry.text)) entries.set(key, { value, frozen: true });
      return value;
    }
    if (!entry.frozen) {
      entry.value = deepFreeze(copyOf(entry.value));
      entry.frozen = true;
    }
    return entry.value;
  };
  const remove = (key: string) => {
    if (!entries.delete(key)) return;
    instance.ask(CommandKind.setData, key, key, '');
    instance.look();
  };
  return {
    get: (key) => read(key),
    set(key, value) {
      if (!instance.enter('data.set')) return;
      checkName(key, 'A key of data');
      const text = instance.encode(value, `data.${key}`);
      if (text === '') {
        remove(key);
        return;
      }
      entries.set(key, { text });
      instance.ask(CommandKind.setData, key, key, text);
      instance.look();
    },
    delete(key) {
      if (!instance.enter('data.delete')) return;
      remove(checkName(key, 'A key of data'));
    },
    all: () => Object.freeze(Object.fromEntries([...entries.keys()].map((key) => [key, read(key)]))),
  };
}

function makeLogger(instance: Instance): WorkflowLogger {
  const at =
    (level: number, name: string) =>
    (message: string, ...details: unknown[]) => {
      if (!instance.enter(`logger.${name}`) || instance.replaying) return;
      instance.command(CommandKind.log, level, String(message).toWellFormed(), encodeDetails(details));
    };
  return { debug: at(0, 'debug'), info: at(1, 'info'), warn: at(2, 'warn'), error: at(3, 'error') };
}

export function makeContext(instance: Instance): WorkflowContext {
  const { start } = instance;
  let input: { value: any } | undefined;
  return {
    get executionId() {
      return start.executionId;
    },
    tenant: start.tenant,
    userId: start.userId,
    correlationId: start.correlationId,
    get input() {
      input ??= { value: copyOf(start.input) };
      return input.value;
    },
    actions: makeActions(instance),
    run(name, action, options) {
      if (!instance.enter('run')) return never();
      try {
        if (typeof action !== 'function') {
          throw new InvalidArgumentError(`run needs a function behind the name, not ${describeKind(action)}`);
        }
        return instance.runInPlace(prepareAction(instance, name, {}, options, 'run', actionRunOptionNames), action);
      } catch (error) {
        return Promise.reject(error);
      }
    },
    executeActions(actions, options) {
      if (!instance.enter('executeActions')) return never();
      try {
        const results = executeActions(instance, actions, options);
        results.catch(() => {});
        return results;
      } catch (error) {
        return Promise.reject(error);
      }
    },
    data: makeData(instance),
    events: {
      waitFor: (names: string | readonly string[], options?: WaitOptions) =>
        waitFor(instance, names, options),
      emit: (name: string, payload?: unknown, ...more: unknown[]) =>
        emit(instance, name, payload, more[0]),
    } as WorkflowEvents,
    logger: makeLogger(instance),
    setState(state) {
      if (!instance.enter('setState')) return;
      checkName(state, 'A state');
      instance.state = state;
      instance.ask(CommandKind.setState, state, state);
      instance.look();
    },
    getCurrentState: () => instance.state,
    sleep(duration) {
      if (!instance.enter('sleep')) return never();
      let ms: number;
      try {
        ms = toMilliseconds(duration);
      } catch (error) {
        return Promise.reject(error);
      }
      const { position, promise } = instance.awaitable<void>('timer');
      instance.ask(CommandKind.startTimer, '', position, ms);
      return promise;
    },
    now: () => instance.now,
    random() {
      instance.enter('random');
      return start.random.fraction();
    },
    uuid() {
      instance.enter('uuid');
      return start.random.uuid();
    },
    any: (promises: Iterable<unknown>) => any(instance, promises),
    patched(changeId) {
      if (!instance.enter('patched')) return instance.patches.get(changeId) ?? false;
      return instance.patched(checkName(changeId, 'The id of a change'));
    },
    startChild: makeStartChild(instance, (executionId, name, payload) =>
      emit(instance, name, payload, { executionId }),
    ),
    continueAsNew(...given: [input?: unknown]) {
      if (!instance.enter('continueAsNew')) return never();
      instance.continueAsNew(instance.encode(given.length === 0 ? start.input : given[0], 'input'));
      return never();
    },
    condition: (predicate, options) => condition(instance, predicate, options),
    compensations: makeCompensations(instance),
    get signal() {
      if (instance.abort === undefined) {
        instance.abort = new AbortController();
        if (instance.cancelled !== undefined) instance.abort.abort(instance.cancelled);
      }
      return instance.abort.signal;
    },
  };
}
