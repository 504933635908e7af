/** Built-in actions on records of the application's tables: database actions, with bound parameters only. */
import type { Knex } from 'knex';
import { ValidationError } from './errors.js';
import { didYouMean } from './names.js';
import { TransactionIsolationLevel, type DatabaseActionContext, type DatabaseActionOptions } from './registry.js';

type Values = Record<string, unknown>;
type RegisterDatabaseAction = (
  action: DatabaseActionOptions,
  handler: (params: any, context: DatabaseActionContext) => Promise<unknown>,
) => void;

const ofOthers = /^(workflow_|pawl_|sqlite_|pg_|information_schema$)/i;

const table = { name: 'table', type: 'string', required: true, description: "'invoices', or 'billing.invoices'" } as const;
const where = {
  name: 'where',
  type: 'object',
  required: true,
  description: 'Columns and the values that they have; null, or a list of values, too',
} as const;

/** A table that is there, and its columns. */
class Table {
  private constructor(
    private readonly transaction: Knex.Transaction,
    private readonly schema: string | undefined,
    private readonly name: string,
    private readonly columns: Record<string, Knex.ColumnInfo>,
  ) {}

  static async of(transaction: Knex.Transaction, path: string): Promise<Table> {
    const [name, schema, ...more] = path.split('.').reverse() as [string, string?];
    if (name === '' || schema === '' || more.length > 0) {
      throw new ValidationError(`'${path}' is no name of a table: it is written 'table' or 'schema.table'`);
    }
    if (ofOthers.test(name) || (schema !== undefined && ofOthers.test(schema))) {
      throw new ValidationError(`The table '${path}' is none of the application's: records of it are not for actions`);
    }
    if (schema !== undefined && !isPostgres(transaction)) {
      throw new ValidationError(`There is no table '${path}': SQLite has no schemas. Name the table alone`);
    }
    const found = new Table(transaction, schema, name, {});
    const columns = (await found.query().columnInfo()) as unknown as Record<string, Knex.ColumnInfo>;
    if (Object.keys(columns).length === 0) {
      throw new ValidationError(`There is no table '${path}'${didYouMean(name, await found.names())}`);
    }
    return new Table(transaction, schema, name, columns);
  }

  query(): Knex.QueryBuilder {
    const query = this.transaction(this.name);
    return this.schema === undefined ? query : query.withSchema(this.schema);
  }

  /** Those of a parameter, each of a column that is there. */
  values(parameter: string, given: Values): Values {
    const entries = Object.entries(given);
    if (entries.length === 0) throw new ValidationError(`${parameter} has no column: say which`);
    return Object.fromEntries(
      entries.map(([column, value]) => {
        const known = Object.hasOwn(this.columns, column) ? this.columns[column] : undefined;
        if (known === undefined) {
          throw new ValidationError(
            `${parameter}: the table '${this.name}' has no column '${column}'` +
              didYouMean(column, Object.keys(this.columns)),
          );
        }
        return [column, asStored(value, known)];
      }),
    );
  }

  matching(given: Values): Knex.QueryBuilder {
    const query = this.query();
    for (const [column, value] of Object.entries(given)) {
      // What was a list was not for a column of lists.
      if (Array.isArray(value)) void query.whereIn(column, value);
      else if (value === null) void query.whereNull(column);
      else void query.where(column, value as Knex.Value);
    }
    return query;
  }

  conditions(given: Values): Values {
    const lists = Object.entries(given).filter(([, value]) => Array.isArray(value));
    const checked = this.values('where', given);
    for (const [column, list] of lists) checked[column] = list;
    return checked;
  }

  private async names(): Promise<string[]> {
    const query =
      isPostgres(this.transaction)
        ? this.transaction('information_schema.tables')
            .select('table_name as name')
            .whereRaw(this.schema === undefined ? 'table_schema = ANY(current_schemas(false))' : 'table_schema = ?', [
              ...(this.schema === undefined ? [] : [this.schema]),
            ])
        : this.transaction('sqlite_schema').select('name').whereIn('type', ['table', 'view']);
    const rows = (await query) as { name: string }[];
    return rows.map(({ name }) => name).filter((name) => !ofOthers.test(name));
  }
}

function isPostgres(transaction: Knex.Transaction): boolean {
  return (transaction.client as { dialect: string }).dialect === 'postgresql';
}

/** Objects are JSON in a column, unless the column has lists. */
function asStored(value: unknown, { type }: Knex.ColumnInfo): unknown {
  if (typeof value !== 'object' || value === null || value instanceof Uint8Array || value instanceof Date) return value;
  return Array.isArray(value) && type === 'ARRAY' ? value : JSON.stringify(value);
}

/** As JSON carries it. */
function asResult(record: Values): Values {
  return Object.fromEntries(
    Object.entries(record).map(([column, value]) => [column, typeof value === 'bigint' ? String(value) : value]),
  );
}

/** @internal */
export function registerRecordActions(register: RegisterDatabaseAction): void {
  const common = { category: 'database', isolation: TransactionIsolationLevel.READ_COMMITTED };
  register(
    {
      ...common,
      name: 'create_database_record',
      description: 'Inserts a record into a table, and gives it as it is then',
      parameters: [table, { name: 'record', type: 'object', required: true, description: 'Columns and values' }],
    },
    async ({ table: path, record }: { table: string; record: Values }, { transaction }) => {
      const found = await Table.of(transaction, path);
      const [created] = (await found.query().insert(found.values('record', record)).returning('*')) as [Values];
      return { record: asResult(created) };
    },
  );
  register(
    {
      ...common,
      name: 'update_database_record',
      description: 'Changes the records of a table that match, and gives how many there were',
      parameters: [table, where, { name: 'changes', type: 'object', required: true, description: 'Columns and values' }],
    },
    async ({ table: path, where: given, changes }: { table: string; where: Values; changes: Values }, { transaction }) => {
      const found = await Table.of(transaction, path);
      const values = found.values('changes', changes);
      return { count: await found.matching(found.conditions(given)).update(values) };
    },
  );
  register(
    {
      ...common,
      name: 'delete_database_record',
      description: 'Deletes the records of a table that match, and gives how many there were',
      parameters: [table, where],
    },
    async ({ table: path, where: given }: { table: string; where: Values }, { transaction }) => {
      const found = await Table.of(transaction, path);
      return { count: await found.matching(found.conditions(given)).del() };
    },
  );
}
