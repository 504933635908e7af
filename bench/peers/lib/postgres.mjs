// The databases of peers on PostgreSQL, whose server the environment names as it does for any client.
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';

const run = promisify(execFile);

/** The rows as text, without waiting in the event loop: it is the one that the peer runs in. */
export async function query(database, ...statements) {
  const commands = statements.flatMap((statement) => ['-c', statement]);
  const { stdout } = await run('psql', ['-XAtq', '-v', 'ON_ERROR_STOP=1', '-d', database, ...commands]);
  return stdout.trim();
}

export async function count(database, from) {
  return Number(await query(database, `SELECT count(*) FROM ${from}`));
}

export async function emptyDatabase(name) {
  await query('postgres', `DROP DATABASE IF EXISTS ${name} WITH (FORCE)`, `CREATE DATABASE ${name}`, 'CHECKPOINT');
}

export const urlOf = (database) =>
  `postgresql://${process.env.PGUSER}@${process.env.PGHOST}:${process.env.PGPORT}/${database}`;

export const serverProcess = () => ({ postgres: Number(process.env.PEERS_POSTGRES_PID) });
