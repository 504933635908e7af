/** What actions came to in the database of a store in PostgreSQL: rows of the store's own, under the lease. */
import type { Knex } from 'knex';
import { TransactionEndedError, type DatabaseTask } from './action_database.js';
import type { NativeEngine } from './addon.js';
import { errorFromFailure, type Failure } from './failures.js';
import { foldName } from './names.js';
import { usedForAnother, type OutcomeRow, type Outcomes, type RowClaim } from './outcome_rows.js';

const table = 'workflow_action_results';

/** What of a task its row is found by, and what its worker owns its execution by. */
interface Key {
  execution: number;
  position: number;
  generation: string;
  /** Of 64 bits with a sign, as SQL has them. */
  seed: string;
  partition: string;
  epoch: string;
  /** Of an action that runs outside of executions, or under a key of its caller's. */
  keyed: boolean;
  digest: string;
}

/** `row` is as outcomeRow writes it. */
function keyOf({ row }: DatabaseTask): Key {
  const execution = row[2] as number;
  const keyed = execution === 0;
  const [generation, seed, partition, epoch, digest] = (row[7] as string).split(':') as [
    string, string, string, string, string,
  ];
  return {
    execution,
    position: keyed ? 0 : (row[3] as number),
    generation,
    seed: String(BigInt.asIntN(64, BigInt(seed))),
    partition,
    epoch,
    keyed,
    digest,
  };
}

/** @internal */
export class StoreOutcomes implements Outcomes {
  private schema: Promise<string> | undefined;
  private readonly idleMsMax: number;

  constructor(
    private readonly knex: Knex,
    private readonly engine: () => NativeEngine | undefined,
    leaseMs: number,
  ) {
    // As the store has it for attempts in C++.
    this.idleMsMax = Math.max(5_000, Math.floor(leaseMs / 2));
  }

  async prepare(): Promise<void> {
    await this.findSchema();
  }

  async row(transaction: Knex.Transaction, task: DatabaseTask): Promise<OutcomeRow> {
    return new StoreOutcomeRow(transaction, await this.findSchema(), task, this.idleMsMax);
  }

  lookAgain(): void {
    this.schema = undefined;
  }

  beginCommit(task: DatabaseTask): boolean {
    return this.opened().commitBegins(task.id, task.row);
  }

  endCommit(task: DatabaseTask): void {
    this.engine()?.commitEnded(task.id, task.row);
  }

  private opened(): NativeEngine {
    const engine = this.engine();
    if (engine === undefined) throw new Error('internal: an attempt without an engine');
    return engine;
  }

  /** Handlers may change where tables are looked for. */
  private findSchema(): Promise<string> {
    if (this.schema === undefined) {
      const found = this.lookForSchema();
      this.schema = found;
      found.catch(() => {
        if (this.schema === found) this.schema = undefined;
      });
    }
    return this.schema;
  }

  private async lookForSchema(): Promise<string> {
    const found = (await this.knex<{ schema: string }>('pg_class as c')
      .withSchema('pg_catalog')
      .join('pg_namespace as n', 'n.oid', 'c.relnamespace')
      .whereRaw('c.oid = to_regclass(?)', [table])
      .first('n.nspname as schema')) as { schema: string } | undefined;
    if (found === undefined) throw new Error('The tables of the store are not found');
    return found.schema;
  }
}

class StoreOutcomeRow implements OutcomeRow {
  private readonly key: Key;
  /** Its ctid. */
  private place = '';

  constructor(
    private readonly transaction: Knex.Transaction,
    private readonly schema: string,
    private readonly task: DatabaseTask,
    private readonly idleMsMax: number,
  ) {
    this.key = keyOf(task);
  }

  /**
   * The lease is read first, and kept until the end: a claim of the partition waits for it, and behind a claim it is
   * not found. What commits the row without a result has done so behind the handler's back.
   */
  async claim(): Promise<RowClaim> {
    const { schema, key } = this;
    const { tenant, action, attempt, executionId, idempotencyKey } = this.task;
    const { message, name } = new TransactionEndedError(action);
    const error = JSON.stringify({ name, message, class: 'permanent' } satisfies Failure);
    const lease = key.keyed
      ? { sql: '', from: '', held: '1', bindings: [] }
      : {
          sql:
            'lease AS MATERIALIZED (SELECT partition FROM ??.workflow_partitions WHERE partition = ?::integer ' +
            'AND owner IS NOT NULL AND epoch = ?::bigint FOR KEY SHARE), ',
          from: 'FROM lease ',
          held: '(SELECT count(*) FROM lease)::integer',
          bindings: [schema, key.partition, key.epoch],
        };
    const { rows } = (await this.transaction.raw(
      `WITH ${lease.sql}claimed AS (INSERT INTO ??.${table} (execution, position, generation, seed, tenant, ` +
        'execution_id, action_name, status, attempts, cause, error, user_key, parameters_digest, recorded, ' +
        'created_at) SELECT ?::bigint, ?::integer, ?::integer, ?::bigint, ?::text, ?::text, ?::text, ' +
        `'failed', ?::integer, 0, ?::text, ?::text, ?::text, false, clock_timestamp() ${lease.from}` +
        'ON CONFLICT DO NOTHING RETURNING ctid) ' +
        // A transaction that is silent for too long is ended by the server: it keeps others from the partition.
        "SELECT set_config('idle_in_transaction_session_timeout', ?::text, true), " +
        `(SELECT ctid::text FROM claimed) AS place, ${lease.held} AS held`,
      [
        ...lease.bindings,
        schema,
        String(key.execution),
        key.position,
        key.generation,
        key.seed,
        tenant,
        key.keyed && executionId !== '' ? executionId : null,
        action,
        attempt,
        error,
        key.keyed ? idempotencyKey : null,
        key.keyed ? key.digest : null,
        String(this.idleMsMax),
      ],
    )) as { rows: { place: string | null; held: number }[] };
    const { place, held } = rows[0]!;
    if (held === 0) return 'not-owner';
    if (place === null) return 'taken';
    this.place = place;
    return 'mine';
  }

  /**
   * Found by where it lies, which is cheaper than to read all of a table that is small: at SERIALIZABLE that would be
   * a conflict with all others. Of the number of a transaction a row keeps the lower half.
   */
  async record(outcome: string): Promise<void> {
    const { execution, position, generation } = this.key;
    const none = outcome === '';
    const { rowCount } = (await this.transaction.raw(
      `UPDATE ??.${table} SET status = 'succeeded', error = NULL, result = ?::bytea, encoding = ?::smallint ` +
        'WHERE ctid = ?::tid AND NOT recorded AND xmin::text = (txid_current() % 4294967296)::text AND ' +
        '(execution, position, generation) = (?::bigint, ?::integer, ?::integer)',
      [this.schema, none ? null : Buffer.from(outcome), none ? null : 0, this.place, String(execution), position, generation],
    )) as { rowCount: number };
    if (rowCount !== 1) throw new TransactionEndedError(this.task.action);
  }

  async recorded(): Promise<string> {
    const { key } = this;
    const { action, idempotencyKey, tenant } = this.task;
    const where = key.keyed
      ? { tenant, user_key: idempotencyKey }
      : { execution: String(key.execution), position: key.position, generation: key.generation };
    const row = (await this.transaction(table)
      .withSchema(this.schema)
      .where(where)
      .where('execution', key.keyed ? '>=' : '>', 0)
      .first('status', 'result', 'error', 'action_name')) as
      | { status: string; result: Buffer | null; error: string | null; action_name: string }
      | undefined;
    if (row === undefined) throw new Error(`The outcome of '${action}' was deleted while it was looked for`);
    if (foldName(row.action_name) !== foldName(action)) throw usedForAnother(idempotencyKey, row.action_name, table);
    if (row.status === 'succeeded') return row.result === null ? '' : row.result.toString('utf8');
    // It is over: nobody waits for this attempt, or another one would find the same.
    throw errorFromFailure({ ...(JSON.parse(row.error!) as Failure), class: 'permanent' });
  }
}
