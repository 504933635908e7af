/** The JavaScript half of the action host: runs attempts and reports their outcomes in batches. */
import type { Knex } from 'knex';
import type { ActionDatabase } from './action_database.js';
import { encode, hasTags, reviveParsed } from './codec.js';
import { NonRetryableError, PayloadError } from './errors.js';
import { writeFailure } from './failures.js';
import type { InPlaceHandler } from './instance.js';
import { lockArguments, type Lock, type LockOptions, type Locks } from './locks.js';
import { makeLogger, type LogFunction, type Logger } from './log.js';
import { validateResult } from './parameters.js';
import {
  findAction,
  validateFor,
  type ActionContext,
  type ActionRegistry,
  type RegisteredAction,
} from './registry.js';
import type { CarriedPayload, FlatWriter } from './wire.js';

interface Task {
  /** Of this attempt, as it was handed out. */
  id: number;
  tenant: string;
  executionId: string;
  execution: number;
  position: number;
  name: string;
  parameters: CarriedPayload;
  attempt: number;
  idempotencyKey: string;
  eventId: string;
  correlationId: string;
  scheduledAt: number;
  timeout: number;
  /** 1: its handler is written in the workflow's code. */
  inPlace: number;
  /** For the row of the outcome of a database action; as it came. */
  row: string;
  progress?: CarriedPayload;
}

type Beat = (id: number, execution: number, position: number, progress: string) => void;

/** Heartbeats are handed on this far apart, in milliseconds; of those in between the last one counts. */
const beatIntervalMs = 50;

class AttemptContext implements ActionContext {
  /** Of a database action, from its first query on. */
  transaction: Knex.Transaction | undefined;
  private controller: AbortController | undefined;
  private ownLogger: Logger | undefined;

  private waiting: string | undefined;
  private timer: NodeJS.Timeout | undefined;
  private ended = false;

  constructor(
    private readonly task: Task,
    private readonly log: LogFunction,
    private readonly payloadBytesMax: number,
    private readonly beat: Beat,
    private readonly locks: Locks,
  ) {}

  async withLock<T>(
    key: string,
    optionsOrBody: LockOptions | ((lock: Lock) => T | PromiseLike<T>),
    onlyBody?: (lock: Lock) => T | PromiseLike<T>,
  ): Promise<T> {
    const { options, body } = lockArguments(optionsOrBody, onlyBody, ['ttl', 'wait']);
    return (await this.locks.with(this.task.tenant, key, options, body, this.signal));
  }

  get progress(): unknown {
    return this.task.progress?.[0];
  }

  /** Its handler has said that it ends elsewhere. */
  deferred = false;

  completeLater(): undefined {
    this.deferred = true;
  }

  get token(): string {
    const { execution, idempotencyKey, tenant } = this.task;
    return execution === 0 ? '' : `${idempotencyKey}@${tenant}`;
  }

  heartbeat(progress?: unknown): void {
    if (this.ended) return;
    const text =
      progress === undefined
        ? ''
        : encodeWithin(progress, `progress of ${this.task.name}`, this.payloadBytesMax);
    if (this.timer !== undefined) {
      if (text !== '' || this.waiting === undefined) this.waiting = text;
      return;
    }
    this.tell(text);
    this.timer = setTimeout(() => {
      this.timer = undefined;
      this.flush();
    }, beatIntervalMs);
    this.timer.unref();
  }

  /** Nothing more is told of it but what waits. */
  end(): void {
    this.flush();
    clearTimeout(this.timer);
    this.ended = true;
  }

  private flush(): void {
    const { waiting } = this;
    this.waiting = undefined;
    if (waiting !== undefined) this.tell(waiting);
  }

  private tell(text: string): void {
    const { id, execution, position } = this.task;
    this.beat(id, execution, position, text);
  }

  get tenant() {
    return this.task.tenant;
  }
  get executionId() {
    return this.task.executionId;
  }
  get eventId() {
    return this.task.eventId;
  }
  get idempotencyKey() {
    return this.task.idempotencyKey;
  }
  get attempt() {
    return this.task.attempt;
  }
  get correlationId() {
    return this.task.correlationId === '' ? undefined : this.task.correlationId;
  }
  get scheduledAt() {
    return this.task.scheduledAt;
  }
  get signal() {
    return this.abortController.signal;
  }
  get logger() {
    if (this.ownLogger === undefined) {
      const { tenant, executionId, correlationId } = this.task;
      this.ownLogger = makeLogger(this.log, {
        tenant,
        ...(executionId === '' ? {} : { executionId }),
        ...(correlationId === '' ? {} : { correlationId }),
      });
    }
    return this.ownLogger;
  }

  abort(why: string): void {
    const { name, attempt } = this.task;
    const error = new Error(`Attempt ${attempt} of action '${name}' is no longer wanted: ${why}`);
    error.name = 'AbortError';
    (error as { code?: string }).code = 'ABORT_ERR';
    this.abortController.abort(error);
  }

  private get abortController(): AbortController {
    this.controller ??= new AbortController();
    return this.controller;
  }
}

function isThenable(value: unknown): value is PromiseLike<unknown> {
  return (
    (typeof value === 'object' || typeof value === 'function') &&
    value !== null &&
    typeof (value as { then?: unknown }).then === 'function'
  );
}

function encodeWithin(value: unknown, what: string, payloadBytesMax: number): string {
  const text = encode(value, what);
  const bytes = text.length * 3 > payloadBytesMax ? Buffer.byteLength(text) : 0;
  if (bytes > payloadBytesMax) {
    throw new PayloadError(
      `${what}: ${bytes} bytes of JSON are more than payload_bytes_max (${payloadBytesMax})`,
      'payload_too_large',
    );
  }
  return text;
}

/** In the order in which the addon reads it. */
function outcomeRow(task: Task): FlatWriter {
  const { tenant, executionId, execution, position, name, attempt, idempotencyKey, row } = task;
  return [tenant, executionId, execution, position, name, attempt, idempotencyKey, row];
}

export class ActionRunner {
  private readonly attempts = new Map<number, AttemptContext>();
  private outcomes: FlatWriter = [];
  private flushing = false;

  constructor(
    private readonly registry: ActionRegistry,
    private readonly log: LogFunction,
    private readonly payloadBytesMax: number,
    private readonly report: (outcomes: FlatWriter) => void,
    private readonly handlerAt: (execution: number, position: number) => InPlaceHandler | undefined,
    private readonly database: ActionDatabase,
    private readonly beat: Beat,
    private readonly locks: Locks,
  ) {}

  run(text: string): void {
    const tagged = hasTags(text);
    for (const task of JSON.parse(text) as Task[]) {
      if (tagged && task.parameters.length === 1) {
        task.parameters[0] = reviveParsed(task.parameters[0]);
      }
      if (tagged && task.progress?.length === 1) task.progress[0] = reviveParsed(task.progress[0]);
      this.start(task);
    }
  }

  /** The engine has given the attempt up: its handler is told, and what it comes to is nobody's. */
  abort(attempt: number): void {
    const context = this.attempts.get(attempt);
    this.attempts.delete(attempt);
    context?.abort('it ran out of time, or its execution ended');
  }

  /** The engine is closed: handlers under way are told to stop; it runs them again once opened. */
  abortAll(): void {
    const contexts = [...this.attempts.values()];
    this.attempts.clear();
    for (const context of contexts) context.abort('the runtime was closed');
  }

  private start(task: Task): void {
    const context = new AttemptContext(task, this.log, this.payloadBytesMax, this.beat, this.locks);
    this.attempts.set(task.id, context);
    const settle = (value: unknown) => this.ended(task, value);
    const fail = (error: unknown) => this.failed(task, error);
    try {
      if (task.inPlace === 1) {
        const handler = this.handlerAt(task.execution, task.position);
        if (handler === undefined) throw new Error(`internal: the code of '${task.name}' is not in this process`);
        const running = handler(context);
        if (isThenable(running)) running.then((value) => this.completed(task, value), fail);
        else this.completed(task, running);
        return;
      }
      const action = findAction(this.registry, task.name);
      const parameters: unknown = validateFor(action, task.parameters[0] ?? {});
      // From here on they are the handler's: one that never settles keeps nothing of ours.
      task.parameters = [];
      if (action.metadata.isolation !== undefined) {
        this.startInTransaction(task, action, parameters, context);
        return;
      }
      const running = isThenable(parameters)
        ? parameters.then((valid) => action.handler(valid, context))
        : action.handler(parameters, context);
      if (isThenable(running)) running.then(settle, fail);
      else settle(running);
    } catch (error) {
      fail(error);
    }
  }

  private startInTransaction(
    task: Task,
    action: RegisteredAction,
    parameters: unknown,
    context: AttemptContext,
  ): void {
    const run = async () => {
      const valid = await parameters;
      const { id, tenant, executionId, attempt, idempotencyKey } = task;
      const { signal } = context;
      const attempted = { id, tenant, executionId, action: task.name, attempt, idempotencyKey, signal };
      return (action.database ?? this.database).attempt(
        { ...attempted, isolation: action.metadata.isolation!, row: outcomeRow(task) },
        async (transaction) => {
          context.transaction = transaction;
          const value: unknown = await action.handler(valid, context);
          if (context.deferred) {
            context.deferred = false;
            throw new NonRetryableError(
              `'${task.name}' is a database action, whose outcome is committed with what it writes: it can't be ` +
                'completed from elsewhere',
            );
          }
          const { result, metadata } = action;
          return this.encodeResult(
            task,
            result === undefined ? value : await validateResult(metadata.name, result, value),
          );
        },
      );
    };
    run().then(
      (text) => this.completedAs(task, text),
      (error: unknown) => this.failed(task, error),
    );
  }

  /** The handler has given a result, which the action may have a schema for. */
  private ended(task: Task, value: unknown): void {
    if (this.deferred(task)) return;
    const action = findAction(this.registry, task.name);
    const schema = action.result;
    if (schema === undefined) {
      this.completed(task, value);
      return;
    }
    try {
      const checked: unknown = validateResult(action.metadata.name, schema, value);
      if (isThenable(checked)) {
        checked.then(
          (valid) => this.completed(task, valid),
          (error: unknown) => this.failed(task, error),
        );
      } else this.completed(task, checked);
    } catch (error) {
      this.failed(task, error);
    }
  }

  /** True: what it gave says nothing, since what becomes of it is told from elsewhere. */
  private deferred(task: Task): boolean {
    if (this.attempts.get(task.id)?.deferred !== true) return false;
    this.begin(task, 2);
    return true;
  }

  private completed(task: Task, value: unknown): void {
    if (!this.attempts.has(task.id) || this.deferred(task)) return;
    let text: string;
    try {
      text = this.encodeResult(task, value);
    } catch (error) {
      this.failed(task, error);
      return;
    }
    this.begin(task, 1).push(text);
  }

  private completedAs(task: Task, text: string): void {
    if (this.attempts.has(task.id) && !this.deferred(task)) this.begin(task, 1).push(text);
  }

  private encodeResult(task: Task, value: unknown): string {
    return encodeWithin(value, `result of ${task.name}`, this.payloadBytesMax);
  }

  private failed(task: Task, error: unknown): void {
    if (!this.attempts.has(task.id)) return;
    const fields: FlatWriter = [];
    writeFailure(fields, error, this.registry.link.classifiers);
    this.begin(task, 0).push(...fields);
  }

  /** 0: failed; 1: completed; 2: to be completed from elsewhere. */
  private begin(task: Task, how: 0 | 1 | 2): FlatWriter {
    // Its last heartbeat goes first.
    this.attempts.get(task.id)?.end();
    this.attempts.delete(task.id);
    const { outcomes } = this;
    outcomes.push(task.id, task.execution, task.position, how);
    if (!this.flushing) {
      this.flushing = true;
      // After the microtasks that run now: what ends together is reported together.
      process.nextTick(() => this.flush());
    }
    return outcomes;
  }

  private flush(): void {
    const { outcomes } = this;
    this.outcomes = [];
    this.flushing = false;
    this.report(outcomes);
  }
}
