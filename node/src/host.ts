/**
 * The JavaScript half of the workflow host. The addon tells one activation at a time; between two of
 * them the code of exactly one execution has run (see node/addon/js_thread.h). Every function of the
 * bridge begins with `leave()`, which takes down what that execution did.
 */
import { CallSites } from './call_sites.js';
import { hasTags, reviveParsed } from './codec.js';
import { makeContext, type ReceivedEvent } from './context.js';
import type { WorkflowDefinition } from './definition.js';
import { ChildFailedError, TimeoutError } from './errors.js';
import { errorFromFailure, type Failure } from './failures.js';
import {
  currentInstance,
  Instance,
  setCurrentInstance,
  type InPlaceHandler,
  type InstanceStart,
} from './instance.js';
import { SeededRandom } from './random.js';
import { JobKind, type CarriedPayload, type FlatWriter } from './wire.js';

type Job =
  | [JobKind.start, string, string, string, string, string, string, CarriedPayload, number, number, number]
  | [JobKind.event, number, string, string, CarriedPayload, string, number, number]
  | [JobKind.waitTimedOut, number]
  | [JobKind.timer, number]
  | [JobKind.actionCompleted, number, CarriedPayload]
  | [JobKind.actionFailed, number, Failure]
  | [JobKind.cancel, reason: string, keepsChildren: 0 | 1]
  | [JobKind.childCompleted, number, CarriedPayload]
  | [JobKind.childFailed, number, Failure];

type EventJob = Extract<Job, [JobKind.event, ...unknown[]]>;

type Activation = [
  ref: number,
  sequence: number,
  now: number,
  replaying: boolean,
  jobs: Job[],
  patches?: string[],
  offers?: EventJob[],
  executionId?: string | null,
  generation?: number,
];

function receivedEvent([, , id, name, payload, userId, timestamp, sequence]: EventJob): ReceivedEvent {
  return { id, name, payload: payload[0], user_id: orUndefined(userId), timestamp, sequence };
}

function orUndefined(text: string): string | undefined {
  return text === '' ? undefined : text;
}

export class WorkflowHost {
  private readonly definitions = new Map<string, { definition: WorkflowDefinition; sites: CallSites }>();
  private readonly instances = new Map<number, Instance>();
  private turn: FlatWriter = [];

  constructor(
    private readonly payloadBytesMax: number,
    private readonly defineSite: (site: string) => number,
    private readonly checkGraph: InstanceStart['checkGraph'] = () => undefined,
  ) {}

  define(definition: WorkflowDefinition): void {
    const sites = new CallSites(this.defineSite);
    this.definitions.set(`${definition.name}\0${definition.version}`, { definition, sites });
  }

  /** Delivers one activation. The code runs when the caller lets microtasks run. */
  activate(text: string): void {
    this.leave();
    let activation: Activation;
    try {
      activation = JSON.parse(text) as Activation;
      if (hasTags(text)) this.revivePayloads(activation);
    } catch (error) {
      // The addon writes the first two numbers; what comes after may be a broken payload.
      const [, ref, sequence] = /^\[(\d+),(\d+),/.exec(text)!;
      this.turn.push(Number(ref), Number(sequence), `a payload in the history is no JSON: ${error}`, -1, 0, 0);
      return;
    }
    const [ref, sequence, now, replaying, jobs, patches = [], offers = [], forkedId, generation = 0] = activation;
    const executionId = forkedId ?? undefined;
    const first = jobs[0];
    if (first !== undefined && first[0] === JobKind.start) {
      if (executionId !== undefined) first[2] = executionId;
      this.begin(ref, sequence, now, replaying, patches, generation, first);
      return;
    }
    const instance = this.instances.get(ref);
    if (instance === undefined) {
      this.turn.push(ref, sequence, `internal: this process has no instance ${ref}`, -1, 0, 0);
      return;
    }
    if (executionId !== undefined) instance.start.executionId = executionId;
    instance.generation = generation;
    if (offers.length > 0) {
      this.ask(instance, sequence, now, offers);
      return;
    }
    this.enter(instance, sequence, now, replaying, patches);
    // All of them settle before any code runs: code waits for microtasks.
    for (const job of jobs) this.apply(instance, job);
  }

  /** The results of all activations since the last call, one after the other. */
  collect(): FlatWriter {
    this.leave();
    const turn = this.turn;
    this.turn = [];
    return turn;
  }

  /** What the action at that position does, where the code says so. */
  handlerAt(ref: number, position: number): InPlaceHandler | undefined {
    return this.instances.get(ref)?.handlers.get(position);
  }

  evict(ref: number): void {
    this.leave();
    this.instances.delete(ref);
  }

  /** Takes down what the running execution did; from here on none is running. */
  leave(): void {
    const instance = currentInstance();
    if (instance === undefined) return;
    setCurrentInstance(undefined);
    if (!instance.done && instance.violation === '' && instance.awaitables.size === 0) {
      instance.violation =
        `the function of workflow '${instance.start.workflow}' (execution '${instance.start.executionId}') ` +
        'is suspended, but nothing of its context is pending: it awaits something ' +
        'from outside (I/O, a timer, a promise of its own that nobody settles). Such work belongs ' +
        'into an action; a pause is context.sleep';
    }
    const { turn } = this;
    turn.push(instance.start.ref, instance.sequence, instance.violation, -1);
    if (instance.violation !== '') {
      turn.push(0, 0);
      this.instances.delete(instance.start.ref);
    } else {
      turn.push(instance.commands, instance.out.length);
      for (const field of instance.out) turn.push(field);
      if (instance.done) this.instances.delete(instance.start.ref);
    }
    instance.out.length = 0;
    instance.commands = 0;
  }

  private begin(
    ref: number,
    sequence: number,
    now: number,
    replaying: boolean,
    patches: readonly string[],
    generation: number,
    [, tenant, executionId, workflow, version, userId, correlationId, input, high, low, firstPosition]: Extract<
      Job,
      [JobKind.start, ...unknown[]]
    >,
  ): void {
    const defined = this.definitions.get(`${workflow}\0${version}`);
    if (defined === undefined) {
      this.turn.push(ref, sequence, `workflow '${workflow}' ${version} is not defined here any more`, -1, 0, 0);
      return;
    }
    const instance = new Instance({
      ref,
      tenant,
      executionId,
      workflow,
      version,
      userId: orUndefined(userId),
      correlationId: orUndefined(correlationId),
      input: input[0],
      random: new SeededRandom(high, low),
      startedAt: now,
      firstPosition,
      payloadBytesMax: this.payloadBytesMax,
      sites: defined.sites,
      checkGraph: this.checkGraph,
    });
    this.instances.set(ref, instance);
    instance.generation = generation;
    this.enter(instance, sequence, now, replaying, patches);
    let running: Promise<unknown>;
    try {
      running = Promise.resolve(defined.definition.fn(makeContext(instance)));
    } catch (error) {
      instance.fail(error);
      return;
    }
    running.then(
      (result) => instance.complete(result),
      (error: unknown) => instance.fail(error),
    );
  }

  private enter(
    instance: Instance,
    sequence: number,
    now: number,
    replaying: boolean,
    patches: readonly string[],
  ): void {
    setCurrentInstance(instance);
    instance.sequence = sequence;
    instance.now = now;
    instance.replaying = replaying;
    instance.recordedPatches = patches;
    instance.lookAtRest();
  }

  private apply(instance: Instance, job: Job): void {
    if (job[0] === JobKind.start) return;
    if (job[0] === JobKind.cancel) {
      instance.cancel(job[1], job[2] === 1);
      return;
    }
    const awaitable = instance.take(job[1]);
    if (awaitable === undefined) {
      instance.violation ||=
        `the history has something for position ${job[1]}, which the code never reached or has ` +
        'withdrawn: it does not do what it did before';
      return;
    }
    switch (job[0]) {
      case JobKind.event:
        awaitable.resolve(receivedEvent(job));
        break;
      case JobKind.waitTimedOut:
        awaitable.reject(new TimeoutError(awaitable.timeoutMessage ?? 'Timeout'));
        break;
      case JobKind.timer:
        awaitable.resolve(undefined);
        break;
      case JobKind.actionCompleted:
        awaitable.resolve(job[2][0]);
        break;
      case JobKind.actionFailed:
        awaitable.reject(errorFromFailure(job[2]));
        break;
      case JobKind.childCompleted:
        awaitable.resolve(job[2][0]);
        break;
      case JobKind.childFailed:
        awaitable.reject(ChildFailedError.from(errorFromFailure(job[2]), awaitable.childId ?? ''));
        break;
    }
  }

  /** Asks the filters of waits, up to the first that takes its event. None of the code runs. */
  private ask(instance: Instance, sequence: number, now: number, offers: EventJob[]): void {
    setCurrentInstance(instance);
    instance.sequence = sequence;
    instance.now = now;
    instance.replaying = false;
    let taken = -1;
    let violation = '';
    for (const [index, offer] of offers.entries()) {
      try {
        if (!instance.filter(offer[1], receivedEvent(offer))) continue;
        taken = index;
      } catch (error) {
        violation =
          `the filter of waitFor('${offer[3]}') of workflow '${instance.start.workflow}' (execution ` +
          `'${instance.start.executionId}') threw: ${String((error as Error)?.stack ?? error)}. It must say yes or ` +
          'no to any event of that name. Mend it, and register the definition with `replace`';
      }
      break;
    }
    setCurrentInstance(undefined);
    this.turn.push(instance.start.ref, sequence, violation, taken, 0, 0);
    if (violation !== '') this.instances.delete(instance.start.ref);
  }

  private revivePayloads([, , , , jobs, , offers = []]: Activation): void {
    for (const job of [...jobs, ...offers]) {
      const carried =
        job[0] === JobKind.start
          ? job[7]
          : job[0] === JobKind.event
            ? job[4]
            : job[0] === JobKind.actionCompleted || job[0] === JobKind.childCompleted
              ? job[2]
              : [];
      if (carried.length === 1) carried[0] = reviveParsed(carried[0]);
    }
  }
}
