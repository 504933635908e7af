/** The database of a store in a file: where an action's writes and its outcome are one commit. */
import type { Knex } from 'knex';
import { TransactionEndedError, type DatabaseTask, type StoreOwnDatabase } from './action_database.js';
import type { NativeDatabase } from './addon.js';
import { ClosedError } from './errors.js';
import { knexOver } from './knex_sqlite.js';
import { watchNested } from './nested_transactions.js';
import { SqliteSession, Turns } from './sqlite_session.js';

/** @internal */
export class StoreDatabase implements StoreOwnDatabase {
  private readonly turns = new Turns();
  private made: Knex | undefined;
  private refusal: Error | undefined;

  constructor(
    private readonly store: string,
    private readonly open: () => Promise<NativeDatabase>,
    private readonly transactionMsMax: number,
  ) {}

  /** For what users do outside of actions, such as creating their tables. */
  get knex(): Knex {
    this.made ??= knexOver(this.store, () => this.connect(false), () => this.refusal);
    return this.made;
  }

  async attempt(task: DatabaseTask, work: (transaction: Knex.Transaction) => Promise<string>): Promise<string> {
    const session = await this.connect(true);
    try {
      if (task.attempt > 1) {
        const before = await session.findOutcome(task.row);
        if (before !== undefined) return before;
      }
      return await this.attemptIn(session, task, work);
    } finally {
      await session.close();
    }
  }

  /** Nothing is begun any more but by actions; resolves when what is under way has ended, or after that time. */
  async close(waitMs: number): Promise<void> {
    this.refusal = new ClosedError('The runtime is closed, and its database with it');
    let timer: NodeJS.Timeout | undefined;
    const tooLong = new Promise<void>((resolve) => (timer = setTimeout(resolve, waitMs)));
    await Promise.race([this.made?.destroy(), tooLong]).finally(() => clearTimeout(timer));
  }

  private async attemptIn(
    session: SqliteSession,
    task: DatabaseTask,
    work: (transaction: Knex.Transaction) => Promise<string>,
  ): Promise<string> {
    session.guard(task.row, task.action);
    const lose = () => session.lose(task.signal.reason);
    task.signal.addEventListener('abort', lose, { once: true });
    const transaction = await this.knex.transaction(undefined, { connection: session });
    transaction.executionPromise.catch(() => undefined);
    try {
      task.signal.throwIfAborted();
      const checkNested = watchNested(transaction, task.action);
      const outcome = await work(transaction);
      task.signal.throwIfAborted();
      checkNested();
      if (transaction.isCompleted()) throw new TransactionEndedError(task.action);
      session.setOutcome(outcome);
      await transaction.commit();
      return session.recorded();
    } catch (error) {
      if (!transaction.isCompleted()) await transaction.rollback();
      // One that was given up may have committed all the same, meanwhile.
      const before = task.attempt > 1 ? await session.findOutcome(task.row) : undefined;
      if (before !== undefined) return before;
      throw error;
    } finally {
      task.signal.removeEventListener('abort', lose);
    }
  }

  private async connect(forActions: boolean): Promise<SqliteSession> {
    const native = await (await this.open()).connect(forActions);
    return new SqliteSession(native, this.turns, this.transactionMsMax);
  }
}
