/** A database of the application's, given as a Knex: PostgreSQL, or an SQLite file through openSqliteKnex. */
import type { Knex } from 'knex';
import { TransactionEndedError, type ActionDatabase, type DatabaseTask } from './action_database.js';
import { isA } from './classification.js';
import { AlreadyExistsError, InvalidArgumentError } from './errors.js';
import { codeOf, dialectOf, isConflict, isRefusal, table, type Dialect, type Place } from './knex_dialects.js';
import { AttemptTransaction, HiddenFailureError } from './knex_transaction.js';
import { foldName } from './names.js';
import { watchNested } from './nested_transactions.js';

/** How often a transaction that met another one's is tried again, at once, before the attempt has failed. */
const conflictsMax = 5;
/** Of the pauses between these, in milliseconds: doubled each time, with jitter. */
const conflictPauseMs = 10;
/** How long it looks for what became of a commit whose answer was lost. */
const lookupMsMax = 20_000;
const lookupPauseMs = 200;

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const end = () => {
      clearTimeout(timer);
      signal.removeEventListener('abort', end);
      resolve();
    };
    const timer = setTimeout(end, ms);
    signal.addEventListener('abort', end);
  });
}

class OutcomeUnknownError extends Error {
  readonly code = 'outcome_unknown';
  readonly failureClass = 'external';

  constructor(action: string, cause: unknown) {
    super(
      `Whether the transaction of '${action}' was committed is not known: the connection was lost while it was, ` +
        'and the database can not be asked. The next attempt finds out',
      { cause },
    );
  }

  static {
    this.prototype.name = 'OutcomeUnknownError';
  }
}

const made = new WeakMap<Knex, KnexDatabase>();

/** @internal */
export class KnexDatabase implements ActionDatabase {
  private readonly dialect: Dialect;
  private place: Promise<Place> | undefined;

  /** `what` is the option that gave it. */
  constructor(
    private readonly knex: Knex,
    what: string,
  ) {
    const dialect = dialectOf(knex);
    if (dialect === undefined || knex.isTransaction === true) {
      throw new InvalidArgumentError(
        `${what} must be a Knex for PostgreSQL (client: 'pg'), or one that openSqliteKnex gave` +
          (dialect === undefined ? '' : ': not a transaction of one'),
      );
    }
    this.dialect = dialect;
  }

  /** One for each Knex. */
  static over(knex: Knex, what: string): KnexDatabase {
    const known = made.get(knex);
    if (known !== undefined) return known;
    const database = new KnexDatabase(knex, what);
    made.set(knex, database);
    return database;
  }

  async attempt(task: DatabaseTask, work: (transaction: Knex.Transaction) => Promise<string>): Promise<string> {
    const place = await this.findPlace();
    for (let conflicts = 0; ; conflicts++) {
      try {
        return await this.attemptOnce(task, place, work);
      } catch (error) {
        // The table may be gone: the next attempt looks for it again.
        if (codeOf(error) === '42P01') this.place = undefined;
        if (!isConflict(error) || conflicts === conflictsMax || task.signal.aborted) throw error;
        await pause(conflictPauseMs * 2 ** conflicts * (0.5 + Math.random()), task.signal);
        task.signal.throwIfAborted();
      }
    }
  }

  /** The row is there before the work is done: another attempt at the same action waits for this one. */
  private async attemptOnce(
    task: DatabaseTask,
    place: Place,
    work: (transaction: Knex.Transaction) => Promise<string>,
  ): Promise<string> {
    const { signal, action, isolation } = task;
    const transaction = await AttemptTransaction.begin(this.knex, this.dialect.isolation(isolation), action);
    const abort = () => transaction.breakOff();
    signal.addEventListener('abort', abort, { once: true });
    try {
      signal.throwIfAborted();
      const rows = new OutcomeRows(transaction.knex, place, this.dialect, task);
      if (!(await rows.claim())) return await rows.recorded();
      signal.throwIfAborted();
      const checkNested = watchNested(transaction.knex, action);
      const outcome = await work(transaction.knex);
      signal.throwIfAborted();
      checkNested();
      await rows.record(outcome);
      signal.throwIfAborted();
      return await this.commit(task, place, transaction, outcome);
    } catch (error) {
      throw transaction.reasonFor(error);
    } finally {
      signal.removeEventListener('abort', abort);
      await transaction.rollBack();
    }
  }

  /** Commits, or finds out. */
  private async commit(
    task: DatabaseTask,
    place: Place,
    transaction: AttemptTransaction,
    outcome: string,
  ): Promise<string> {
    try {
      await transaction.commit();
      return outcome;
    } catch (error) {
      if (isA(error, HiddenFailureError) || isRefusal(error)) throw error;
      const found = await this.lookUp(task, place);
      if (found === undefined) throw error;
      return found;
    }
  }

  /** What an attempt has committed, from a database that may not answer yet. */
  private async lookUp(task: DatabaseTask, place: Place): Promise<string | undefined> {
    const end = Date.now() + lookupMsMax;
    for (;;) {
      try {
        return await this.lookUpOnce(task, place);
      } catch (cause) {
        if (Date.now() >= end || task.signal.aborted) throw new OutcomeUnknownError(task.action, cause);
        await pause(lookupPauseMs, task.signal);
      }
    }
  }

  /** A transaction that is about to be committed is waited for. */
  private async lookUpOnce(task: DatabaseTask, place: Place): Promise<string | undefined> {
    const transaction = await AttemptTransaction.begin(this.knex, {}, task.action);
    try {
      const rows = new OutcomeRows(transaction.knex, place, this.dialect, task);
      return (await rows.claim()) ? undefined : await rows.recorded();
    } finally {
      await transaction.rollBack();
    }
  }

  private findPlace(): Promise<Place> {
    if (this.place === undefined) {
      const place = this.createTable();
      this.place = place;
      place.catch(() => {
        if (this.place === place) this.place = undefined;
      });
    }
    return this.place;
  }

  private async createTable(): Promise<Place> {
    const { create, lock } = this.dialect;
    const found = await this.dialect.find(this.knex);
    if (found !== undefined) return found;
    try {
      return await this.knex.transaction(async (transaction) => {
        if (lock !== undefined) await transaction.raw(lock);
        await transaction.raw(create);
        return (await this.dialect.find(transaction))!;
      });
    } catch (error) {
      // Not allowed to, or no schema to do it in.
      if (!['42501', '3F000'].includes(codeOf(error))) throw error;
      const message = isA(error, Error) ? (error as Error).message : String(error);
      throw Object.assign(
        new Error(
          `Database actions keep their outcomes in the table ${table}, which can not be created (${message}). ` +
            `Have it created: ${create}; and let this user SELECT, INSERT and UPDATE it`,
        ),
        { retryable: false },
      );
    }
  }
}

/** What is kept of a task. */
class OutcomeRows {
  private readonly key: { tenant: string; idempotency_key: string };

  constructor(
    private readonly transaction: Knex.Transaction,
    private readonly place: Place,
    private readonly dialect: Dialect,
    private readonly task: DatabaseTask,
  ) {
    this.key = { tenant: task.tenant, idempotency_key: task.idempotencyKey };
  }

  /** False: an attempt has committed. */
  async claim(): Promise<boolean> {
    const { action, executionId } = this.task;
    const claimed: unknown[] = await this.query()
      .insert({ ...this.key, action_name: action, execution_id: executionId })
      .onConflict(['tenant', 'idempotency_key'])
      .ignore()
      .returning('tenant');
    return claimed.length > 0;
  }

  /** In the row that was claimed, which has to be there still. */
  async record(outcome: string): Promise<void> {
    const recorded: number = await this.query()
      .where(this.key)
      .whereRaw(this.dialect.isOwn)
      .update({ result: outcome });
    if (recorded !== 1) throw new TransactionEndedError(this.task.action);
  }

  async recorded(): Promise<string> {
    const { action, idempotencyKey } = this.task;
    const row = (await this.query().where(this.key).first({ action: 'action_name', result: 'result' })) as
      | { action: string; result: string | null }
      | undefined;
    if (row === undefined) {
      throw new Error(`The outcome of '${action}' in ${table} was deleted while it was looked for`);
    }
    if (foldName(row.action) !== foldName(action)) {
      throw new AlreadyExistsError(
        `The idempotency key '${idempotencyKey}' was used for the action '${row.action}', as ${table} says. ` +
          'Use a key of its own for each call.',
      );
    }
    // Committed by SQL of the handler's.
    if (row.result === null) throw new TransactionEndedError(action);
    return row.result;
  }

  private query(): Knex.QueryBuilder {
    const { schema } = this.place;
    const query = this.transaction(table);
    return schema === undefined ? query : query.withSchema(schema);
  }
}
