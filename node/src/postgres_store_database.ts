/** The database that a store in PostgreSQL lies in, for the application's tables: over node-postgres. */
import type { Knex } from 'knex';
import type { DatabaseTask, StoreOwnDatabase } from './action_database.js';
import type { NativeEngine } from './addon.js';
import { ClosedError, StoreError } from './errors.js';
import { KnexDatabase } from './knex_database.js';
import type { LogFunction } from './log.js';
import { StoreOutcomes } from './store_outcomes.js';

const connectionsMax = 10;

function loadKnex(): typeof import('knex').knex {
  try {
    require.resolve('pg');
    return (require('knex') as typeof import('knex')).knex;
  } catch (error) {
    if ((error as { code?: string }).code !== 'MODULE_NOT_FOUND') throw error;
    throw new StoreError(
      'store_unavailable',
      "The database of a store in PostgreSQL is reached by the packages 'knex' and 'pg': npm install knex pg",
    );
  }
}

/** What node-postgres makes of an address as libpq does: there `sslmode=require` checks no certificate. */
function connectionString(store: string): string {
  return /[?&]sslmode=/.test(store) ? `${store}&uselibpqcompat=true` : store;
}

/**
 * @internal Connections of its own, apart from those of the engine: what an action writes and its outcome are one
 * commit, and what its execution is told of it is another.
 */
export class PostgresStoreDatabase implements StoreOwnDatabase {
  private made: Knex | undefined;
  private refusal: Error | undefined;

  constructor(
    private readonly store: string,
    private readonly log: LogFunction,
    private readonly engine: () => NativeEngine | undefined,
    private readonly leaseMs: number,
  ) {}

  get knex(): Knex {
    if (this.made === undefined) {
      this.made = this.make();
      KnexDatabase.ofStore(this.made, new StoreOutcomes(this.made, this.engine, this.leaseMs));
    }
    return this.made;
  }

  async attempt(task: DatabaseTask, work: (transaction: Knex.Transaction) => Promise<string>): Promise<string> {
    return KnexDatabase.over(this.knex, 'the store').attempt(task, work);
  }

  /** Resolves when what is under way has ended, or after that time. */
  async close(waitMs: number): Promise<void> {
    this.refusal = new ClosedError('The runtime is closed, and its database with it');
    let timer: NodeJS.Timeout | undefined;
    const tooLong = new Promise<void>((resolve) => (timer = setTimeout(resolve, waitMs)));
    await Promise.race([this.made?.destroy(), tooLong]).finally(() => clearTimeout(timer));
  }

  private make(): Knex {
    const tell = (message: unknown) =>
      this.log({ level: 'warn', message: `The database of the store: ${String(message)}`, details: [], at: Date.now() });
    const made = loadKnex()({
      client: 'pg',
      connection: { application_name: 'pawl', connectionString: connectionString(this.store), keepAlive: true },
      pool: { min: 0, max: connectionsMax },
      // Of connections that were lost, mostly, which it makes anew.
      log: { warn: tell, error: tell },
    });
    const client = made.client as { acquireConnection: () => Promise<unknown> };
    const acquire = client.acquireConnection.bind(client);
    client.acquireConnection = async () => {
      if (this.refusal !== undefined) throw this.refusal;
      return acquire();
    };
    return made;
  }
}
