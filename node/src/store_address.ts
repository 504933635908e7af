/** Addresses of stores, as options and the environment say them. */
import { InvalidArgumentError, StoreError, type PawlError } from './errors.js';
import { describeKind } from './options.js';

const known = `'sqlite:FILE' or 'postgresql://USER@HOST:PORT/DATABASE'`;

/** @internal */
export function isPostgres(store: string): boolean {
  return /^postgres(ql)?:\/\//.test(store);
}

/** @internal Without the password, for people and logs. */
export function shownAddress(store: string): string {
  return store
    .replace(/^([^:]*:(?:\/\/)?)(.*)@/s, (_, scheme: string, user: string) => `${scheme}${user.replace(/:.*/s, ':…')}@`)
    .replace(/(password\s*=\s*)('[^']*'|[^&\s]*)/gi, '$1…');
}

/** @internal Throws an InvalidArgumentError for what is no store's address. */
export function checkStoreAddress(store: unknown): string {
  if (typeof store !== 'string') {
    throw new InvalidArgumentError(`The store must be ${known}, not ${describeKind(store)}`);
  }
  if (/^sqlite:./s.test(store) || isPostgres(store)) return store;
  throw new InvalidArgumentError(`The store '${shownAddress(store)}' is none that is known. Write ${known}`);
}

/** @internal For what goes with a file only. */
export function checkSqliteAddress(what: string, store: unknown, instead: string): string {
  if (typeof store !== 'string') throw new InvalidArgumentError(`${what} takes a store: 'sqlite:FILE'`);
  if (!isPostgres(store)) return store;
  throw new InvalidArgumentError(`${what} takes a store in a file, 'sqlite:FILE'. ${instead}`);
}

/** What to do, by what PostgreSQL and its library say in English. */
const advice: [said: RegExp, advice: string][] = [
  [/password authentication failed|no password supplied|role ".*" does not exist/, 'Check its user and password'],
  [/database ".*" does not exist/, 'Create the database'],
  [/no pg_hba\.conf entry/, 'The server does not let this user in from here: see its pg_hba.conf, and sslmode'],
  [/Connection refused|No such file|did not answer|starting up|shutting down/, 'Start the server, or mend the address'],
  [/could not translate host name/, 'Check the name of the host'],
  [/certificate|SSL|TLS/, 'Check sslmode and sslrootcert'],
  [/permission denied/, 'Give this user CREATE on the schema that its search path begins with'],
  [/too many clients|connection slots/, 'Raise max_connections, or end some of the others'],
];

/** @internal What came of opening a store in PostgreSQL, with its address and with what to do. */
export function explained(error: PawlError, store: string): PawlError {
  if (!(error instanceof StoreError)) return error;
  const found = advice.find(([said]) => said.test(error.message));
  const hint =
    error.code === 'store_in_use'
      ? 'Another worker has this store: close it first. One that was killed holds it until its lease is over'
      : found?.[1];
  const message = error.message.replace(/\s*\n\s*/g, '. ').replace(/[.?]$/, '');
  const address = `The store is '${shownAddress(store)}' (options.store, or PAWL_STORE)`;
  return new StoreError(error.code, [message, address, ...(hint === undefined ? [] : [hint])].join('. '));
}
