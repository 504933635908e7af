/** The transaction of an attempt over Knex: its handler can't end it, and it knows what has failed in it. */
import type { Knex } from 'knex';
import { TransactionEndedError } from './action_database.js';
import { isA } from './classification.js';
import { isConflict, isFollowUp } from './knex_dialects.js';
import { SqliteSession } from './sqlite_session.js';

/** How long a statement has to be broken off, before ROLLBACK waits for its end. */
const cancelMsMax = 5000;

interface Client {
  canCancelQuery?: boolean;
  acquireConnection(): Promise<unknown>;
  cancelQuery(connection: unknown): Promise<unknown>;
}

class TransactionLostError extends Error {
  readonly code = 'transaction_lost';
  readonly failureClass = 'timeout';

  constructor(action: string) {
    super(`The attempt at '${action}' is no longer waited for, and its transaction was rolled back`);
  }
}

/** @internal A statement has failed, and the handler has not: the transaction can't be committed any more. */
export class HiddenFailureError extends Error {
  constructor(action: string, cause: unknown) {
    super(
      `A query in the transaction of '${action}' has failed, and the transaction with it, though its handler has ` +
        `not (await each query, and nest a transaction around one that may fail): ` +
        (isA(cause, Error) ? (cause as Error).message : String(cause)),
      { cause },
    );
  }

  static {
    this.prototype.name = 'HiddenFailureError';
  }
}

/** @internal */
export class AttemptTransaction {
  private readonly end: { commit: () => Promise<unknown>; rollBack: () => Promise<unknown> };
  private failure: unknown;
  private conflict: unknown;
  private committing = false;
  private cancelled: Promise<unknown> = Promise.resolve();

  private constructor(
    readonly knex: Knex.Transaction,
    private readonly action: string,
  ) {
    knex.executionPromise.catch(() => undefined);
    knex.on('query-error', (error: unknown) => {
      if (isConflict(error)) this.conflict ??= error;
      if (!isFollowUp(error)) this.failure = error;
    });
    const { commit, rollback } = knex;
    const refuse = () => Promise.reject(new TransactionEndedError(action));
    Object.assign(knex, { commit: refuse, rollback: refuse });
    this.end = {
      commit: async () => commit.call(knex),
      rollBack: async () => rollback.call(knex),
    };
  }

  static async begin(knex: Knex, config: Knex.TransactionConfig, action: string): Promise<AttemptTransaction> {
    return new AttemptTransaction(await knex.transaction(undefined, config), action);
  }

  /** What it has come to where something in it threw that. */
  reasonFor(error: unknown): unknown {
    if (this.conflict !== undefined) return this.conflict;
    if (isFollowUp(error) && this.failure !== undefined) return new HiddenFailureError(this.action, this.failure);
    return error;
  }

  /** Rejects with a HiddenFailureError where it is rolled back instead; any other error may be of the connection. */
  async commit(): Promise<void> {
    this.committing = true;
    const answer = (await this.end.commit()) as { response?: { command?: unknown } } | undefined;
    await this.knex.executionPromise;
    if (answer?.response?.command === 'ROLLBACK') throw new HiddenFailureError(this.action, this.failure);
  }

  async rollBack(): Promise<void> {
    // What was on its way to break off this one would meet whoever has the connection next.
    await this.cancelled;
    if (!this.knex.isCompleted()) await this.end.rollBack().catch(() => undefined);
  }

  /** Rolls back, whatever goes on in it; not a COMMIT that has been sent. */
  breakOff(): void {
    if (this.committing || this.knex.isCompleted()) return;
    this.cancelled = this.cancelStatement().catch(() => undefined);
    void this.rollBack();
  }

  private async cancelStatement(): Promise<void> {
    const client = this.knex.client as Client;
    if (client.canCancelQuery !== true) {
      const session = await client.acquireConnection();
      if (session instanceof SqliteSession) session.lose(new TransactionLostError(this.action));
      return;
    }
    let timer: NodeJS.Timeout | undefined;
    const tooLong = new Promise((resolve) => (timer = setTimeout(resolve, cancelMsMax)));
    try {
      await Promise.race([client.cancelQuery(await client.acquireConnection()), tooLong]);
    } finally {
      clearTimeout(timer);
    }
  }
}
