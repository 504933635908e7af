/** What actions came to, in a table of Pawl's in a database of the application's. */
import type { Knex } from 'knex';
import { TransactionEndedError, type DatabaseTask } from './action_database.js';
import { isA } from './classification.js';
import { codeOf, table, type Dialect, type Place } from './knex_dialects.js';
import { foldName } from './names.js';
import { usedForAnother, type OutcomeRow, type Outcomes, type RowClaim } from './outcome_rows.js';

export class ApplicationOutcomes implements Outcomes {
  private place: Promise<Place> | undefined;

  constructor(
    private readonly knex: Knex,
    private readonly dialect: Dialect,
  ) {}

  async row(transaction: Knex.Transaction, task: DatabaseTask): Promise<OutcomeRow> {
    return new ApplicationOutcomeRow(transaction, await this.findPlace(), this.dialect, task);
  }

  async prepare(): Promise<void> {
    await this.findPlace();
  }

  lookAgain(): void {
    this.place = undefined;
  }

  beginCommit(): boolean {
    return true;
  }

  endCommit(): void {}

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
class ApplicationOutcomeRow implements OutcomeRow {
  private readonly key: { tenant: string; idempotency_key: string };

  constructor(
    private readonly transaction: Knex.Transaction,
    private readonly place: Place,
    private readonly dialect: Dialect,
    private readonly task: DatabaseTask,
  ) {
    this.key = { tenant: task.tenant, idempotency_key: task.idempotencyKey };
  }

  async claim(): Promise<RowClaim> {
    const { action, executionId } = this.task;
    const claimed: unknown[] = await this.query()
      .insert({ ...this.key, action_name: action, execution_id: executionId })
      .onConflict(['tenant', 'idempotency_key'])
      .ignore()
      .returning('tenant');
    return claimed.length > 0 ? 'mine' : 'taken';
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
      throw usedForAnother(idempotencyKey, row.action, table);
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
