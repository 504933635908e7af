/** A database of the application's, given as a Knex: PostgreSQL, or an SQLite file through openSqliteKnex. */
import type { Knex } from 'knex';
import { TransactionEndedError, type ActionDatabase, type DatabaseTask } from './action_database.js';
import { isA } from './classification.js';
import { InvalidArgumentError } from './errors.js';
import type { TransactionIsolationLevel } from './registry.js';

/** How often a transaction that met another one's is tried again, at once, before the attempt has failed. */
const conflictsMax = 5;
/** Of the pauses between these, in milliseconds: doubled each time, with jitter. */
const conflictPauseMs = 10;
/** How long it looks for what became of a commit whose answer was lost. */
const lookupMsMax = 20_000;
const lookupPauseMs = 200;

const table = 'pawl_action_results';

interface Dialect {
  /** Of the table that holds outcomes. */
  create: string;
  isolation(level: TransactionIsolationLevel): Knex.TransactionConfig;
  /** Of two processes at once, one creates the table. */
  lock: string | undefined;
}

const postgres: Dialect = {
  create:
    `CREATE TABLE IF NOT EXISTS ${table} (tenant text NOT NULL, idempotency_key text NOT NULL, ` +
    'action_name text NOT NULL, execution_id text NOT NULL, result text, ' +
    'created_at timestamptz NOT NULL DEFAULT now(), PRIMARY KEY (tenant, idempotency_key))',
  isolation: (level) => ({ isolationLevel: level.toLowerCase() as Knex.IsolationLevels }),
  lock: "SELECT pg_advisory_xact_lock(hashtext('pawl_action_results'))",
};

const sqlite: Dialect = {
  create:
    `CREATE TABLE IF NOT EXISTS ${table} (tenant TEXT NOT NULL, idempotency_key TEXT NOT NULL, ` +
    'action_name TEXT NOT NULL, execution_id TEXT NOT NULL, result TEXT, ' +
    'created_at TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP, PRIMARY KEY (tenant, idempotency_key)) STRICT',
  isolation: () => ({}),
  lock: undefined,
};

function dialectOf(knex: Knex): Dialect | undefined {
  const { dialect, driverName } = ((knex as { client?: unknown } | undefined)?.client ?? {}) as {
    dialect?: string;
    driverName?: string;
  };
  if (dialect === 'postgresql' && (driverName === 'pg' || driverName === 'pgnative')) return postgres;
  return driverName === 'pawl' ? sqlite : undefined;
}

function codeOf(error: unknown): string {
  const code: unknown = (error as { code?: unknown } | undefined)?.code;
  return typeof code === 'string' ? code : '';
}

/** Two transactions that stood in each other's way: this one is rolled back, and can be done again. */
function isConflict(error: unknown): boolean {
  return ['40001', '40P01'].includes(codeOf(error));
}

/** The server has answered: it was not committed. */
function isAnswer(error: unknown): boolean {
  const code = codeOf(error);
  return /^SQLITE_/.test(code) || (/^[0-9A-Z]{5}$/.test(code) && !/^(08|57P)/.test(code));
}

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

/** @internal */
export class KnexDatabase implements ActionDatabase {
  private readonly dialect: Dialect;
  private ready: Promise<void> | undefined;

  /** `what` is the option that gave it. */
  constructor(
    private readonly knex: Knex,
    what: string,
  ) {
    const dialect = dialectOf(knex);
    if (dialect === undefined) {
      throw new InvalidArgumentError(
        `${what} must be a Knex for PostgreSQL (client: 'pg'), or one that openSqliteKnex gave`,
      );
    }
    this.dialect = dialect;
  }

  async attempt(task: DatabaseTask, work: (transaction: Knex.Transaction) => Promise<string>): Promise<string> {
    await this.prepare();
    for (let conflicts = 0; ; conflicts++) {
      try {
        return await this.attemptOnce(task, work);
      } catch (error) {
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
    const transaction = await this.knex.transaction(undefined, this.dialect.isolation(task.isolation));
    transaction.executionPromise.catch(() => undefined);
    const { commit, rollback } = this.takeOver(transaction, task.action);
    const abort = () => void rollback();
    task.signal.addEventListener('abort', abort, { once: true });
    try {
      if (!(await this.claim(transaction, task))) {
        const recorded = await this.recorded(transaction, task);
        await rollback();
        return recorded;
      }
      const outcome = await work(transaction);
      task.signal.throwIfAborted();
      await transaction(table).where(keyOf(task)).update({ result: outcome });
      task.signal.throwIfAborted();
      return await this.commit(task, commit, outcome);
    } catch (error) {
      if (!transaction.isCompleted()) await rollback();
      throw error;
    } finally {
      task.signal.removeEventListener('abort', abort);
    }
  }

  /** Commits, or finds out. */
  private async commit(task: DatabaseTask, commit: () => Promise<unknown>, outcome: string): Promise<string> {
    try {
      await commit();
      return outcome;
    } catch (error) {
      if (isAnswer(error)) throw error;
      const end = Date.now() + lookupMsMax;
      for (;;) {
        try {
          const found = await this.find(task);
          if (found !== undefined) return found;
        } catch (cause) {
          if (Date.now() < end && !task.signal.aborted) {
            await pause(lookupPauseMs, task.signal);
            continue;
          }
          throw new OutcomeUnknownError(task.action, cause);
        }
        throw error;
      }
    }
  }

  /** What an attempt has committed. One that is about to is waited for. */
  private async find(task: DatabaseTask): Promise<string | undefined> {
    const transaction = await this.knex.transaction();
    transaction.executionPromise.catch(() => undefined);
    try {
      return (await this.claim(transaction, task)) ? undefined : await this.recorded(transaction, task);
    } finally {
      await transaction.rollback().catch(() => undefined);
    }
  }

  /** False: an attempt has committed. */
  private async claim(transaction: Knex.Transaction, task: DatabaseTask): Promise<boolean> {
    const row = { ...keyOf(task), action_name: task.action, execution_id: task.executionId };
    const claimed: unknown[] = await transaction(table)
      .insert(row)
      .onConflict(['tenant', 'idempotency_key'])
      .ignore()
      .returning('tenant');
    return claimed.length > 0;
  }

  private async recorded(transaction: Knex.Transaction, task: DatabaseTask): Promise<string> {
    const row = await transaction<{ result: string | null }>(table).where(keyOf(task)).first('result');
    if (row === undefined) {
      throw new Error(`The outcome of '${task.action}' in ${table} was deleted while it was looked for`);
    }
    // Committed by SQL of the handler's.
    if (row.result === null) throw new TransactionEndedError(task.action);
    return row.result;
  }

  /** The handler can't end it: that is for who calls the handler. */
  private takeOver(transaction: Knex.Transaction, action: string) {
    const { commit, rollback } = transaction;
    const refuse = () => Promise.reject(new TransactionEndedError(action));
    Object.assign(transaction, { commit: refuse, rollback: refuse });
    return {
      commit: async () => {
        await commit.call(transaction);
        await transaction.executionPromise;
      },
      rollback: async () => {
        await Promise.resolve(rollback.call(transaction)).catch(() => undefined);
      },
    };
  }

  private prepare(): Promise<void> {
    if (this.ready === undefined) {
      const ready = this.createTable();
      this.ready = ready;
      ready.catch(() => {
        if (this.ready === ready) this.ready = undefined;
      });
    }
    return this.ready;
  }

  private async createTable(): Promise<void> {
    const { create, lock } = this.dialect;
    if (await this.knex.schema.hasTable(table)) return;
    try {
      await this.knex.transaction(async (transaction) => {
        if (lock !== undefined) await transaction.raw(lock);
        await transaction.raw(create);
      });
    } catch (error) {
      if (codeOf(error) !== '42501') throw error;
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

function keyOf({ tenant, idempotencyKey }: DatabaseTask) {
  return { tenant, idempotency_key: idempotencyKey };
}
