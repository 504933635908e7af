/** What the databases that Knex reaches say in their own words: how outcomes are kept, and what errors mean. */
import type { Knex } from 'knex';
import { causeDepthMax, membersOf } from './classification.js';
import type { TransactionIsolationLevel } from './registry.js';

/** Of the table that holds outcomes. */
export const table = 'pawl_action_results';

/** Where it is: undefined where the database has no schemas. */
export interface Place {
  schema: string | undefined;
}

export interface Dialect {
  /** Of the table that holds outcomes. */
  create: string;
  /** The table that is found now; handlers may change where tables are looked for. */
  find(knex: Knex): Promise<Place | undefined>;
  isolation(level: TransactionIsolationLevel): Knex.TransactionConfig;
  /** Of two processes at once, one creates the table. */
  lock: string | undefined;
  /** True of a row that this very transaction has inserted. */
  isOwn: string;
}

const postgres: Dialect = {
  create:
    `CREATE TABLE IF NOT EXISTS ${table} (tenant text NOT NULL, idempotency_key text NOT NULL, ` +
    'action_name text NOT NULL, execution_id text NOT NULL, result text, ' +
    'created_at timestamptz NOT NULL DEFAULT now(), PRIMARY KEY (tenant, idempotency_key))',
  find: (knex) =>
    knex<{ schema: string }>('pg_class as c')
      .withSchema('pg_catalog')
      .join('pg_namespace as n', 'n.oid', 'c.relnamespace')
      .whereRaw('c.oid = to_regclass(?)', [table])
      .first('n.nspname as schema') as Promise<Place | undefined>,
  isolation: (level) => ({ isolationLevel: level.toLowerCase() as Knex.IsolationLevels }),
  lock: `SELECT pg_advisory_xact_lock(hashtext('${table}'))`,
  // Of the number of a transaction a row keeps the lower half.
  isOwn: 'xmin::text = (txid_current() % 4294967296)::text',
};

const sqlite: Dialect = {
  create:
    `CREATE TABLE IF NOT EXISTS ${table} (tenant TEXT NOT NULL, idempotency_key TEXT NOT NULL, ` +
    'action_name TEXT NOT NULL, execution_id TEXT NOT NULL, result TEXT, ' +
    'created_at TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP, PRIMARY KEY (tenant, idempotency_key)) STRICT',
  find: async (knex) => ((await knex.schema.hasTable(table)) ? { schema: undefined } : undefined),
  isolation: () => ({}),
  lock: undefined,
  isOwn: 'result IS NULL',
};

export function dialectOf(knex: Knex): Dialect | undefined {
  const { dialect, driverName } = ((knex as { client?: unknown } | undefined)?.client ?? {}) as {
    dialect?: string;
    driverName?: string;
  };
  if (dialect === 'postgresql' && (driverName === 'pg' || driverName === 'pgnative')) return postgres;
  return driverName === 'pawl' ? sqlite : undefined;
}

/** Of the error itself. */
export function codeOf(error: unknown): string {
  if (typeof error !== 'object' || error === null) return '';
  const { code } = membersOf(error, ['code']);
  return typeof code === 'string' ? code : '';
}

function hasCode(error: unknown, codes: readonly string[]): boolean {
  for (let at = error, depth = 0; depth < causeDepthMax; depth++) {
    if (typeof at !== 'object' || at === null) return false;
    if (codes.includes(codeOf(at))) return true;
    at = membersOf(at, ['cause']).cause;
  }
  return false;
}

/** Two transactions that stood in each other's way: this one is rolled back, and can be done again. */
export function isConflict(error: unknown): boolean {
  return hasCode(error, ['40001', '40P01']);
}

/** A statement before has failed, which says why. */
export function isFollowUp(error: unknown): boolean {
  return hasCode(error, ['25P02']);
}

/**
 * What the database itself says to COMMIT where it is sure not to have committed. All else may come from what
 * stands in between.
 */
export function isRefusal(error: unknown): boolean {
  return /^(SQLITE_|23|40001|40002|40P01|P0)/.test(codeOf(error));
}
