import knexModule, { type Knex } from 'knex';
import type { Acknowledged, Store } from './store.js';
import type { Run } from './workload.js';

const counted: [what: string, of: keyof Acknowledged | undefined, sql: string][] = [
  ['completed executions', 'completed', `SELECT count(*) FROM workflow_executions WHERE status = 'completed'`],
  ['running executions', 'running', `SELECT count(*) FROM workflow_executions WHERE status = 'running'`],
  ['results of actions', 'actions', `SELECT count(*) FROM workflow_action_results WHERE status = 'succeeded'`],
  ['received events', 'events', `SELECT count(*) FROM workflow_events WHERE event_type = 'EventReceived'`],
  [
    'histories with a gap or a torn end',
    undefined,
    'SELECT count(*) FROM workflow_executions AS x LEFT JOIN (SELECT execution, count(*) AS records, ' +
      'max(sequence) AS last, max(sequence) FILTER (WHERE ends_activation) AS whole FROM workflow_events ' +
      'GROUP BY execution) AS e USING (execution) WHERE e.last IS NULL OR e.last <> e.records OR ' +
      'e.whole IS DISTINCT FROM e.last OR e.last < x.last_sequence',
  ],
];

/** A database of the run's own on a server, made and dropped through the one that the address names. */
export class StoreDatabase implements Store {
  readonly kind = 'postgresql';
  readonly address: string;
  private readonly name: string;
  private readonly server: string;
  private readonly lose: string;

  constructor({ workload, concurrency, server, lose }: Run) {
    this.name = `pawl_bench_ts_${workload.replaceAll('-', '_')}_${concurrency}`;
    this.server = server;
    this.lose = lose;
    const url = new URL(server);
    url.pathname = `/${this.name}`;
    this.address = url.href;
  }

  create(): Promise<void> {
    return this.ask(this.server, (knex) => knex.raw(`CREATE DATABASE ${this.name}`));
  }

  remove(): Promise<void> {
    return this.ask(this.server, (knex) => knex.raw(`DROP DATABASE IF EXISTS ${this.name}`));
  }

  bytes(): Promise<number> {
    return this.ask(this.address, async (knex) => {
      const { rows } = await knex.raw('SELECT pg_database_size(current_database()) AS bytes');
      return Number(rows[0].bytes);
    });
  }

  check(acknowledged: Acknowledged): Promise<void> {
    return this.ask(this.address, async (knex) => {
      if (this.lose !== '') await knex.raw(`DELETE FROM ${this.lose} WHERE ctid = (SELECT max(ctid) FROM ${this.lose})`);
      for (const [what, of, sql] of counted) {
        const count = Number((await knex.raw(sql)).rows[0].count);
        const expected = (of && acknowledged[of]) ?? 0;
        if (count !== expected) {
          throw new Error(`${this.name}: ${count} ${what} are in the store, and ${expected} should be`);
        }
      }
    });
  }

  private async ask<T>(address: string, question: (knex: Knex) => Promise<T>): Promise<T> {
    const knex = knexModule({ client: 'pg', connection: address, pool: { min: 0, max: 1 } });
    try {
      return await question(knex);
    } finally {
      await knex.destroy();
    }
  }
}
