import type { CallSites } from './call_sites.js';
import { encode, type Encoded } from './codec.js';
import type { Refusal } from './addon.js';
import { CancelledError, errorFromCode, InvalidArgumentError, NotDeterministicError, PayloadError } from './errors.js';
import { writeFailure } from './failures.js';
import type { SeededRandom } from './random.js';
import type { ActionContext } from './registry.js';
import { checkName } from './names.js';
import { checkOptions } from './options.js';
import {
  commandKindsEnd,
  CommandKind,
  actionCallOptionNames,
  writeActionOptions,
  type ActionCallOptions,
  type FlatWriter,
} from './wire.js';

/** What the code of an execution waits for, by its position. */
export interface Awaitable {
  readonly kind: 'wait' | 'timer' | 'action' | 'child';
  resolve(value: any): void;
  reject(error: unknown): void;
  /** Of a wait: the text of its TimeoutError. */
  readonly timeoutMessage?: string;
  /** Lets go of an AbortSignal once settled. */
  release?: () => void;
  /** Of a wait: whether it takes that event. */
  filter?: (event: any) => unknown;
  /** Of a child: its execution id. */
  childId?: string;
  /** Of a child: opens its position once more, with another promise. */
  renew?: () => void;
}

/** Of a promise that context methods made: where it is among the awaitables of its instance. */
const positionKey = Symbol('pawl.position');
type Positioned = { [positionKey]?: { instance: Instance; position: number } };

/** What an action does that is written in place. */
export type InPlaceHandler = (context: ActionContext) => unknown;

function ignore(): void {}

// The originals, whatever a test puts in their place.
const { nextTick } = process;
const { queueMicrotask } = globalThis;

export interface InstanceStart {
  readonly ref: number;
  readonly tenant: string;
  /** A fork begins under the id of the execution that it was forked from. */
  executionId: string;
  readonly workflow: string;
  readonly version: string;
  readonly userId: string | undefined;
  readonly correlationId: string | undefined;
  readonly input: any;
  readonly random: SeededRandom;
  readonly startedAt: number;
  readonly firstPosition: number;
  readonly payloadBytesMax: number;
  readonly sites: CallSites;
  /** What is wrong with a graph as it is written, if anything is. */
  readonly checkGraph: (graph: FlatWriter) => Refusal | undefined;
}

/** One execution's code, live in this process: what it waits for and what it has commanded. */
export class Instance {
  /** Of the activation that runs or ran last. */
  now: number;
  sequence = 0;
  replaying = false;
  /** One more with each retry of the execution. */
  generation = 0;
  done = false;
  /** Why the execution is to be set aside as stuck; '' if it is not. */
  violation = '';
  state = 'initial';
  /** Why it was cancelled, once the code was told. */
  cancelled: CancelledError | undefined;
  /** Fires when the execution is cancelled; made when the code first asks for it. */
  abort: AbortController | undefined;
  /** What patched() has answered, by change id. */
  readonly patches = new Map<string, boolean>();
  /** Those that the code was told of in the activation that is replayed. */
  recordedPatches: readonly string[] = [];
  readonly awaitables = new Map<number, Awaitable>();
  /** The predicates of those awaitables that wait for a condition. */
  private readonly conditions = new Map<number, () => unknown>();
  private judging = false;
  private looksAtRest = false;
  readonly out: FlatWriter = [];
  /** Of actions whose handlers are written in the code, by position. */
  readonly handlers = new Map<number, InPlaceHandler>();
  commands = 0;
  private lastPosition: number;

  constructor(readonly start: InstanceStart) {
    this.now = start.startedAt;
    this.lastPosition = start.firstPosition - 1;
  }

  /** Of the awaitable that is made next. */
  get nextPosition(): number {
    return this.lastPosition + 1;
  }

  /**
   * Whether the code may go on: true in its own activation, false once the function has returned
   * (what side branches still do is beyond the end and has no effect). Throws anywhere else.
   */
  enter(what: string): boolean {
    if (current === this) {
      if (!this.judging) return !this.done;
      throw new InvalidArgumentError(
        `${what} was used by the predicate of a condition or the filter of a wait, which may only look at what is there`,
      );
    }
    const report =
      `${what} of execution '${this.start.executionId}' of workflow '${this.start.workflow}' was used outside of its activation: ` +
      (current === undefined ? 'no workflow code was due' : `that of '${current.start.executionId}' was running`) +
      '. Workflow code may await only what its context gives (actions, events.waitFor, sleep) and ' +
      'promises made of those; work that needs timers, I/O or other executions belongs into an action';
    const error = new NotDeterministicError(report);
    if (!this.done && this.violation === '') this.violation = error.stack ?? report;
    errorInstances.set(error, this);
    throw error;
  }

  encode(value: unknown, path: string): Encoded {
    const text = encode(value, path);
    const max = this.start.payloadBytesMax;
    if (text.length * 3 > max) {
      const bytes = Buffer.byteLength(text);
      if (bytes > max) {
        throw new PayloadError(
          `${path}: ${bytes} bytes of JSON are more than payload_bytes_max (${max})`,
          'payload_too_large',
        );
      }
    }
    return text;
  }

  command(kind: CommandKind, ...fields: FlatWriter): void {
    this.out.push(kind, ...fields);
    this.commands++;
  }

  /** A command that the code has just asked for, by that name. */
  ask(kind: CommandKind, name: string, ...fields: FlatWriter): void {
    this.command(kind + commandKindsEnd * this.start.sites.find(kind, name), ...fields);
  }

  patched(changeId: string): boolean {
    const told = this.patches.get(changeId);
    if (told === true) return true;
    const recorded = this.recordedPatches.includes(changeId);
    // Code that passed here before the patch existed was not told so: it goes on as it began.
    if (!recorded && (this.replaying || told === false)) {
      this.patches.set(changeId, false);
      return false;
    }
    this.patches.set(changeId, true);
    this.ask(CommandKind.patched, changeId, changeId);
    return true;
  }

  /** A promise that the engine will settle. The caller gives the command that goes with it. */
  awaitable<T>(kind: Awaitable['kind'], timeoutMessage?: string): { position: number; promise: Promise<T> } {
    const position = ++this.lastPosition;
    return { position, promise: this.open<T>(position, kind, timeoutMessage) };
  }

  private open<T>(position: number, kind: Awaitable['kind'], timeoutMessage?: string): Promise<T> {
    const promise = new Promise<T>((resolve, reject) => {
      const entry = { kind, resolve, reject };
      this.awaitables.set(position, timeoutMessage === undefined ? entry : { ...entry, timeoutMessage });
    });
    // It may be awaited only later, or never: that must not end the process.
    promise.catch(ignore);
    (promise as Positioned)[positionKey] = { instance: this, position };
    return promise;
  }

  /** A child of that id. Its promise is another one after a cancellation that found it open. */
  child(childId: string): { position: number; promise: () => Promise<any> } {
    const position = ++this.lastPosition;
    let promise: Promise<any>;
    const renew = () => {
      promise = this.open<any>(position, 'child');
      Object.assign(this.awaitables.get(position)!, { childId, renew });
    };
    renew();
    return { position, promise: () => promise };
  }

  runAction({ name, parameters, options, site }: PreparedAction): Promise<any> {
    const { position, promise } = this.awaitable<any>('action');
    const at = site ?? this.start.sites.find(CommandKind.scheduleAction, name);
    this.command(CommandKind.scheduleAction + commandKindsEnd * at, position, name, parameters, ...options);
    return promise;
  }

  /** An action whose handler is written here. */
  runInPlace({ name, parameters, options }: PreparedAction, handler: InPlaceHandler): Promise<any> {
    const { position, promise } = this.awaitable<any>('action');
    this.handlers.set(position, handler);
    this.awaitables.get(position)!.release = () => this.handlers.delete(position);
    this.ask(CommandKind.runInPlace, name, position, name, parameters, ...options);
    return promise;
  }

  /** A graph of actions, written from its concurrency on, that takes so many positions behind its own. */
  runGraph(written: FlatWriter, positions: number): Promise<any> {
    const refusal = this.start.checkGraph(written);
    if (refusal !== undefined) throw errorFromCode(refusal[0], refusal[1], '');
    const { position, promise } = this.awaitable<any>('action');
    this.lastPosition += positions;
    this.ask(CommandKind.startGraph, 'executeActions', position);
    // They may be more than a call takes arguments.
    for (const each of written) this.out.push(each);
    return promise;
  }

  /** Takes the awaitable out. None: it was withdrawn in the meantime. */
  take(position: number): Awaitable | undefined {
    const awaitable = this.awaitables.get(position);
    if (awaitable !== undefined) {
      this.awaitables.delete(position);
      this.conditions.delete(position);
      awaitable.release?.();
    }
    return awaitable;
  }

  /** The wait or timer consumes nothing from here on; its promise rejects. Actions go on. */
  withdraw(position: number, reason: unknown): void {
    const awaitable = this.awaitables.get(position);
    if (awaitable === undefined || awaitable.kind === 'action' || awaitable.kind === 'child') return;
    this.take(position);
    this.command(CommandKind.withdraw, position);
    awaitable.reject(reason);
  }

  /** Whether the predicate is met now. Throws what it throws. */
  judge(predicate: () => unknown): boolean {
    this.judging = true;
    try {
      const met = predicate();
      if (typeof (met as PromiseLike<unknown> | undefined)?.then !== 'function') return Boolean(met);
      Promise.resolve(met).catch(ignore);
      throw new InvalidArgumentError(
        'The predicate of a condition must tell at once: this one gave a promise',
      );
    } finally {
      this.judging = false;
    }
  }

  /** Whether the wait at that position takes the event. Throws what its filter throws. */
  filter(position: number, event: unknown): boolean {
    const filter = this.awaitables.get(position)?.filter;
    if (filter === undefined) throw new Error(`the code has no wait with a filter at position ${position}`);
    this.judging = true;
    try {
      const takes = filter(event);
      if (typeof (takes as PromiseLike<unknown> | undefined)?.then !== 'function') return Boolean(takes);
      Promise.resolve(takes).catch(ignore);
      throw new InvalidArgumentError('A filter must tell at once: this one gave a promise');
    } finally {
      this.judging = false;
    }
  }

  /** Nothing of this run has an effect from here on; another one begins with that input. */
  continueAsNew(input: Encoded): void {
    this.ask(CommandKind.continueAsNew, '', input);
    this.done = true;
  }

  /** Settles as soon as the predicate is met, which it is not now. */
  addCondition(position: number, predicate: () => unknown): void {
    this.conditions.set(position, predicate);
    this.lookAtRest();
  }

  /** Something changed: asks the predicates, in order of creation. */
  look(): void {
    for (const [position, predicate] of this.conditions) {
      let how: (awaitable: Awaitable) => void;
      try {
        if (!this.judge(predicate)) continue;
        how = (awaitable) => awaitable.resolve(undefined);
      } catch (error) {
        how = (awaitable) => awaitable.reject(error);
      }
      const awaitable = this.take(position)!;
      this.command(CommandKind.withdraw, position);
      how(awaitable);
    }
  }

  /**
   * Asks them when the code has nothing more to do in this activation: variables of its own may have
   * changed. Ticks run when no microtask is left, and before the next activation is told.
   */
  lookAtRest(): void {
    if (this.looksAtRest || this.conditions.size === 0) return;
    this.looksAtRest = true;
    queueMicrotask(() =>
      nextTick(() => {
        this.looksAtRest = false;
        if (current !== this || this.done) return;
        const before = this.conditions.size;
        this.look();
        // What they wake may meet others.
        if (this.conditions.size < before) this.lookAtRest();
      }),
    );
  }

  /**
   * All that is open rejects, in order of creation; then the signal fires. Children that are kept have
   * another promise from here on.
   */
  cancel(reason: string, keepsChildren: boolean): void {
    this.cancelled = new CancelledError(reason === '' ? 'The execution was cancelled' : reason);
    // In order of creation: a Map keeps it, and positions only rise.
    for (const [position, awaitable] of [...this.awaitables]) {
      const kept = keepsChildren && awaitable.renew !== undefined;
      this.take(position)!.reject(this.cancelled);
      if (kept) awaitable.renew!();
    }
    this.abort?.abort(this.cancelled);
  }

  withdrawPromise(promise: unknown, reason: unknown): void {
    const place = (promise as Positioned | null | undefined)?.[positionKey];
    if (place !== undefined && place.instance === this) this.withdraw(place.position, reason);
  }

  complete(result: unknown): void {
    if (!this.mayEnd()) return;
    let text: Encoded;
    try {
      text = this.encode(result, 'result');
    } catch (error) {
      this.fail(error);
      return;
    }
    this.command(CommandKind.complete, text);
    this.done = true;
  }

  fail(error: unknown): void {
    if (!this.mayEnd()) return;
    // An error of that class that something else threw ends it as any other error does.
    const cancelled = this.cancelled !== undefined && error === this.cancelled;
    const fields: FlatWriter = [];
    writeFailure(fields, error);
    this.command(cancelled ? CommandKind.cancel : CommandKind.fail, ...fields);
    this.done = true;
  }

  private mayEnd(): boolean {
    if (current === this) return !this.done;
    if (!this.done && this.violation === '') {
      this.violation =
        `the function of workflow '${this.start.workflow}' (execution '${this.start.executionId}') ended ` +
        'outside of any activation: it awaited something that is not of its context';
    }
    return false;
  }
}

/** A checked call of an action that has not begun. */
export interface PreparedAction {
  readonly name: string;
  readonly parameters: Encoded;
  readonly options: FlatWriter;
  /** Where the code asked for it, if that is not where it begins. */
  readonly site?: number;
}

/** Throws where the name or the options make no sense, or the parameters can't be carried. */
export function prepareAction(
  instance: Instance,
  name: string,
  parameters: unknown,
  options: ActionCallOptions | undefined,
  what = `actions.${name}`,
  allowed: readonly string[] = actionCallOptionNames,
): PreparedAction {
  checkName(name, 'The name of an action');
  const text = instance.encode(parameters ?? {}, `parameters of ${name}`);
  checkOptions(what, options, allowed);
  const written: FlatWriter = [];
  writeActionOptions(written, options);
  return { name, parameters: text, options: written };
}

// What code got that went on where it must not.
const errorInstances = new WeakMap<object, Instance>();

/** Whose code was given that error, for using its context outside of its activation. */
export function instanceOfError(error: unknown): Instance | undefined {
  return typeof error === 'object' && error !== null ? errorInstances.get(error) : undefined;
}

let current: Instance | undefined;

/** The instance whose code is running. One variable is enough: see node/addon/js_thread.h. */
export function currentInstance(): Instance | undefined {
  return current;
}

export function setCurrentInstance(instance: Instance | undefined): void {
  current = instance;
}
