/** Knex over the addon's own SQLite: the dialect is Knex's, the connections are Pawl's. */
import type { Knex } from 'knex';
import { InvalidArgumentError } from './errors.js';
import { Turns, SqliteSession } from './sqlite_session.js';
import { loadAddon } from './addon.js';

/** What Knex hands its dialects for a query. */
interface Query {
  sql: string;
  bindings?: readonly unknown[];
  response?: unknown;
  context?: { lastID: unknown; changes: unknown };
}

type ClientClass = new (config: Knex.Config) => Knex.Client;

type Connect = () => Promise<SqliteSession>;
/** Why nobody is given a connection, if that is so. */
type Refusal = () => Error | undefined;

const sessionsMax = 4;

function loadKnex(): typeof import('knex').knex {
  return (require('knex') as typeof import('knex')).knex;
}

function throwIf(error: Error | undefined): void {
  if (error !== undefined) throw error;
}

function makeClientClass(connect: Connect, refusal: Refusal): ClientClass {
  const Dialect = require('knex/lib/dialects/sqlite3/index.js') as ClientClass;

  class SqliteClient extends Dialect {
    // The driver is the addon.
    _driver(): object {
      return {};
    }

    override async acquireConnection(): Promise<SqliteSession> {
      throwIf(refusal());
      try {
        return (await super.acquireConnection()) as SqliteSession;
      } catch (error) {
        throw refusal() ?? error;
      }
    }

    override acquireRawConnection(): Promise<SqliteSession> {
      return connect();
    }

    override destroyRawConnection(session: SqliteSession): Promise<void> {
      return session.close();
    }

    override validateConnection(session: SqliteSession): any {
      return !session.isClosed;
    }

    async _query(session: SqliteSession, query: Query): Promise<Query> {
      if (!query.sql) throw new Error('The query is empty');
      const bindings = (query.bindings ?? []).map((value) => (value instanceof Date ? value.valueOf() : value));
      const { rows, hasRows, changed, lastId } = await session.query(query.sql, bindings);
      query.response = hasRows ? rows : { changes: changed, lastInsertRowid: lastId };
      query.context = { lastID: lastId, changes: changed };
      return query;
    }
  }

  Object.assign(SqliteClient.prototype, { driverName: 'pawl' });
  return SqliteClient;
}

/** @internal A Knex whose connections are such sessions. */
export function knexOver(filename: string, connect: Connect, refusal: Refusal = () => undefined): Knex {
  return loadKnex()({
    client: makeClientClass(connect, refusal) as unknown as typeof Knex.Client,
    connection: { filename },
    useNullAsDefault: true,
    pool: { min: 0, max: sessionsMax },
  });
}

/**
 * A Knex for an SQLite file, over the SQLite that Pawl carries: nothing needs to be compiled or downloaded.
 * The file is created where there is none. End it with `destroy()`.
 *
 * For the database of the store itself, take `runtime.database`.
 */
export function openSqliteKnex(filename: string): Knex {
  if (typeof filename !== 'string' || filename === '' || filename === ':memory:') {
    throw new InvalidArgumentError('openSqliteKnex takes the path of a file');
  }
  const native = new (loadAddon().Database)(filename);
  const turns = new Turns();
  // Nobody else waits for this file.
  const transactionMsMax = 2 ** 31 - 1;
  return knexOver(filename, async () => {
    return new SqliteSession(await native.connect(false), turns, transactionMsMax);
  });
}
