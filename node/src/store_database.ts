/** The store's own database: where an action's writes and its outcome are one commit. */
import type { Knex } from 'knex';
import { TransactionEndedError, type ActionDatabase, type DatabaseTask } from './action_database.js';
import type { NativeDatabase } from './addon.js';
import { knexOver } from './knex_sqlite.js';
import { SqliteSession, Turns } from './sqlite_session.js';

/** @internal */
export class StoreDatabase implements ActionDatabase {
  private readonly turns = new Turns();
  private made: Knex | undefined;

  constructor(
    private readonly store: string,
    private readonly open: () => Promise<NativeDatabase>,
    private readonly transactionMsMax: number,
  ) {}

  /** For what users do outside of actions, such as creating their tables. */
  get knex(): Knex {
    this.made ??= knexOver(this.store, () => this.connect(false));
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

  async close(): Promise<void> {
    await this.made?.destroy();
  }

  private async attemptIn(
    session: SqliteSession,
    task: DatabaseTask,
    work: (transaction: Knex.Transaction) => Promise<string>,
  ): Promise<string> {
    session.guard(task.row);
    const lose = () => session.lose(task.signal.reason);
    task.signal.addEventListener('abort', lose, { once: true });
    const transaction = await this.knex.transaction(undefined, { connection: session });
    transaction.executionPromise.catch(() => undefined);
    try {
      const outcome = await work(transaction);
      task.signal.throwIfAborted();
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
