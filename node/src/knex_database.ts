/**
 * Attempts over a Knex: PostgreSQL, of the application's or of the store, or an SQLite file through openSqliteKnex.
 */
import type { Knex } from 'knex';
import type { ActionDatabase, DatabaseTask } from './action_database.js';
import { ApplicationOutcomes } from './application_outcomes.js';
import { classify, isA } from './classification.js';
import { InvalidArgumentError } from './errors.js';
import { codeOf, dialectOf, isConflict, isRefusal, type Dialect } from './knex_dialects.js';
import { AttemptTransaction, HiddenFailureError } from './knex_transaction.js';
import { watchNested } from './nested_transactions.js';
import { LeaseLostError, type Outcomes } from './outcome_rows.js';

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

/** It was given up, and the engine does not wait for it any more. */
class AbortedError extends Error {
  readonly code = 'aborted';

  constructor(action: string) {
    super(`The attempt at '${action}' is no longer wanted: what it wrote is rolled back`);
  }
}

const made = new WeakMap<Knex, KnexDatabase>();

/** @internal */
export class KnexDatabase implements ActionDatabase {
  private readonly dialect: Dialect;
  private readonly outcomes: Outcomes;

  /** `what` is the option that gave it; `outcomes`: of the store's own. */
  constructor(
    private readonly knex: Knex,
    what: string,
    outcomes?: Outcomes,
  ) {
    const dialect = dialectOf(knex);
    if (dialect === undefined || knex.isTransaction === true) {
      throw new InvalidArgumentError(
        `${what} must be a Knex for PostgreSQL (client: 'pg'), or one that openSqliteKnex gave` +
          (dialect === undefined ? '' : ': not a transaction of one'),
      );
    }
    this.dialect = dialect;
    this.outcomes = outcomes ?? new ApplicationOutcomes(knex, dialect);
  }

  /** The database of the store, wherever its Knex is given from now on. */
  static ofStore(knex: Knex, outcomes: Outcomes): KnexDatabase {
    const database = new KnexDatabase(knex, 'the store', outcomes);
    made.set(knex, database);
    return database;
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
    await this.outcomes.prepare();
    for (let conflicts = 0; ; conflicts++) {
      try {
        return await this.attemptOnce(task, work);
      } catch (error) {
        // The table may be gone: the next attempt looks for it again.
        if (codeOf(error) === '42P01') this.outcomes.lookAgain();
        if (!isConflict(error) || conflicts === conflictsMax || task.signal.aborted) throw error;
        await pause(conflictPauseMs * 2 ** conflicts * (0.5 + Math.random()), task.signal);
        task.signal.throwIfAborted();
      }
    }
  }

  /** The row is there before the work is done: another attempt at the same action waits for this one. */
  private async attemptOnce(
    task: DatabaseTask,
    work: (transaction: Knex.Transaction) => Promise<string>,
  ): Promise<string> {
    const { signal, action, isolation } = task;
    const transaction = await AttemptTransaction.begin(this.knex, this.dialect.isolation(isolation), action);
    const abort = () => transaction.breakOff();
    signal.addEventListener('abort', abort, { once: true });
    try {
      signal.throwIfAborted();
      const row = await this.outcomes.row(transaction.knex, task);
      const claim = await row.claim();
      if (claim === 'not-owner') throw new LeaseLostError(action);
      if (claim === 'taken') return await row.recorded();
      signal.throwIfAborted();
      const checkNested = watchNested(transaction.knex, action);
      const outcome = await work(transaction.knex);
      signal.throwIfAborted();
      checkNested();
      await row.record(outcome);
      signal.throwIfAborted();
      return await this.commit(task, transaction, outcome);
    } catch (error) {
      throw transaction.reasonFor(error);
    } finally {
      signal.removeEventListener('abort', abort);
      await transaction.rollBack();
    }
  }

  /** Commits, or finds out. */
  private async commit(task: DatabaseTask, transaction: AttemptTransaction, outcome: string): Promise<string> {
    // Nothing comes in between: whoever gives it up later knows that COMMIT may have been sent.
    if (!this.outcomes.beginCommit(task)) throw new AbortedError(task.action);
    try {
      await transaction.commit();
    } catch (error) {
      if (isA(error, HiddenFailureError) || isRefusal(error)) {
        this.outcomes.endCommit(task);
        throw error;
      }
      const found = await this.lookUp(task).catch((reason: unknown) => {
        if (!isA(reason, OutcomeUnknownError)) this.outcomes.endCommit(task);
        throw reason;
      });
      this.outcomes.endCommit(task);
      if (found === undefined) throw error;
      return found.recorded;
    }
    this.outcomes.endCommit(task);
    return outcome;
  }

  /** What an attempt has committed, from a database that may not answer yet. */
  private async lookUp(task: DatabaseTask): Promise<{ recorded: string } | undefined> {
    const end = Date.now() + lookupMsMax;
    for (;;) {
      try {
        return await this.lookUpOnce(task);
      } catch (cause) {
        // What is there may be a failure, such as that the action was given up.
        if (classify(cause) === 'permanent') throw cause;
        if (Date.now() >= end || task.signal.aborted) throw new OutcomeUnknownError(task.action, cause);
        await pause(lookupPauseMs, task.signal);
      }
    }
  }

  /** A transaction that is about to be committed is waited for. */
  private async lookUpOnce(task: DatabaseTask): Promise<{ recorded: string } | undefined> {
    const transaction = await AttemptTransaction.begin(this.knex, {}, task.action);
    try {
      const row = await this.outcomes.row(transaction.knex, task);
      // Whoever has claimed its execution waited for that transaction, and follows its row.
      return (await row.claim()) === 'taken' ? { recorded: await row.recorded() } : undefined;
    } finally {
      await transaction.rollBack();
    }
  }
}
