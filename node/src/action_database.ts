/** The seam between the runner of actions and the databases that database actions write to. */
import type { Knex } from 'knex';
import type { TransactionIsolationLevel } from './registry.js';
import type { FlatWriter } from './wire.js';

/** @internal An attempt at a database action. */
export interface DatabaseTask {
  /** Of the attempt. */
  readonly id: number;
  readonly tenant: string;
  readonly executionId: string;
  readonly action: string;
  readonly attempt: number;
  readonly idempotencyKey: string;
  readonly isolation: TransactionIsolationLevel;
  readonly signal: AbortSignal;
  /** What the row of its outcome is made of, for the addon. */
  readonly row: FlatWriter;
}

/** @internal Where the transaction of a database action's attempt takes place. */
export interface ActionDatabase {
  /**
   * Runs `work` in one transaction that also keeps what it gives, as JSON text, under the task's tenant and
   * idempotency key. Gives the text that is kept: that of an attempt that committed before, where there
   * is one, and then nothing of this one is. Rejects, with nothing written, with what `work` or the
   * database threw.
   */
  attempt(task: DatabaseTask, work: (transaction: Knex.Transaction) => Promise<string>): Promise<string>;
}

/** @internal The database of the store, for database actions that say no other one. */
export interface StoreOwnDatabase extends ActionDatabase {
  /** For what users do outside of actions, such as creating their tables. */
  readonly knex: Knex;
  /** Nothing is begun any more; resolves when what is under way has ended, or after that time. */
  close(waitMs: number): Promise<void>;
}

/** @internal The handler has committed or rolled back by itself. */
export class TransactionEndedError extends Error {
  readonly retryable = false;

  constructor(action: string) {
    super(
      `The handler of '${action}' has ended its transaction itself. It is committed when the handler has ` +
        `returned, together with the result, and rolled back when it throws`,
    );
  }

  static {
    this.prototype.name = 'TransactionEndedError';
  }
}
