/** The seam between attempts over Knex and where it is kept what they came to. */
import type { Knex } from 'knex';
import type { DatabaseTask } from './action_database.js';
import { AlreadyExistsError } from './errors.js';

/**
 * `mine`: the row is there, without a result. `taken`: there is one, since an attempt has committed or the action was
 * given up. `not-owner`: its execution is another worker's by now.
 */
export type RowClaim = 'mine' | 'taken' | 'not-owner';

/** The row of one action, within a transaction. */
export interface OutcomeRow {
  /** Waits for a transaction that has put it there and is still open. */
  claim(): Promise<RowClaim>;
  /** In the row that was claimed, which has to be there still. */
  record(outcome: string): Promise<void>;
  /** Of one that is taken. */
  recorded(): Promise<string>;
}

export interface Outcomes {
  /** Before the transaction begins. */
  prepare(): Promise<void>;
  row(transaction: Knex.Transaction, task: DatabaseTask): Promise<OutcomeRow>;
  /** A table was not there: it may be that of the outcomes. */
  lookAgain(): void;
  /** COMMIT is about to be sent. False: the attempt was given up, and must not be committed. */
  beginCommit(task: DatabaseTask): boolean;
  /** What became of it is known. */
  endCommit(task: DatabaseTask): void;
}

export class LeaseLostError extends Error {
  readonly code = 'lease_lost';
  readonly failureClass = 'external';

  constructor(action: string) {
    super(`The execution of '${action}' was taken over by another worker: nothing was written`);
  }

  static {
    this.prototype.name = 'LeaseLostError';
  }
}

export function usedForAnother(key: string, action: string, where: string): AlreadyExistsError {
  return new AlreadyExistsError(
    `The idempotency key '${key}' was used for the action '${action}', as ${where} says. Use a key of its own for ` +
      'each call.',
  );
}
