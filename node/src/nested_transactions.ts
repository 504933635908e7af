/** Transactions that a handler nests in its own: each has to have ended when the handler has. */
import type { Knex } from 'knex';

/** @internal */
export class NestedTransactionOpenError extends Error {
  readonly retryable = false;

  constructor(action: string) {
    super(
      `A transaction that the handler of '${action}' has nested in its own is still open when the handler has ` +
        'returned. Await what transaction.transaction() gives, or commit it or roll it back',
    );
  }

  static {
    this.prototype.name = 'NestedTransactionOpenError';
  }
}

type Begin = (this: unknown, container: ((nested: Knex.Transaction) => unknown) | undefined, config: unknown) => Promise<unknown>;

/** @internal Gives what throws where one is open. */
export function watchNested(transaction: Knex.Transaction, action: string): () => void {
  const open = new Set<{ nested?: Knex.Transaction }>();
  // What both transaction() and savepoint() of a transaction come to.
  const { context } = transaction as unknown as { context: { transaction: Begin } };
  const begin = context.transaction;
  context.transaction = function (container, config) {
    const entry: { nested?: Knex.Transaction } = {};
    open.add(entry);
    const end = () => void open.delete(entry);
    if (typeof container !== 'function') {
      const begun = begin.call(this, container, config);
      begun.then((nested) => (entry.nested = nested as Knex.Transaction), end);
      return begun;
    }
    const watched = (nested: Knex.Transaction) => {
      entry.nested = nested;
      return container(nested);
    };
    const done = begin.call(this, watched, config);
    done.then(end, end);
    return done;
  };
  return () => {
    for (const { nested } of open) {
      if (nested?.isCompleted() !== true) throw new NestedTransactionOpenError(action);
    }
  };
}
