// The servers that peers share, each on a free port of the loopback, with its data in a folder of the run.
import { execFile, spawnSync } from 'node:child_process';
import { chmodSync, chownSync, existsSync, mkdirSync, openSync, readdirSync, readFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { sleep } from './load.mjs';
import { spawnServer } from './processes.mjs';

const run = promisify(execFile);
const install = 'run scripts/bootstrap peers';

export async function freePort() {
  const server = createServer();
  await new Promise((resolve, reject) => server.once('error', reject).listen(0, '127.0.0.1', resolve));
  const { port } = server.address();
  await new Promise((resolve) => server.close(resolve));
  return port;
}

async function untilReady(name, server, log, ready) {
  let ended;
  server.ended.then((how) => (ended = how));
  for (let tries = 0; tries < 600; tries++) {
    if (await ready().then(() => true, () => false)) return;
    if (ended !== undefined) throw new Error(`${name} ${ended}: ${lastLine(log)}`);
    await sleep(50);
  }
  throw new Error(`${name} does not answer within 30 s: ${lastLine(log)}`);
}

export function lastLine(file) {
  const lines = existsSync(file) ? readFileSync(file, 'utf8').trim().split('\n') : [];
  return lines.at(-1) || 'it logged nothing';
}

async function stop(server, signal) {
  server.kill(signal);
  const late = setTimeout(() => server.kill('SIGKILL'), 20_000);
  await server.ended;
  clearTimeout(late);
}

const versions = '/usr/lib/postgresql';

/** As it comes, but for `also`: each commit is synced. It refuses to be root's, and is the user `postgres`'s there. */
async function startPostgres(folder, also = {}) {
  const version = existsSync(versions) ? readdirSync(versions).sort((a, b) => a - b).at(-1) : undefined;
  if (version === undefined) throw new Error(`there is no PostgreSQL in ${versions}: ${install}`);
  const programs = join(versions, version, 'bin');
  const data = join(folder, 'data');
  const log = join(folder, 'log');
  mkdirSync(folder);
  if (process.getuid() === 0) {
    const id = (flag) => Number(spawnSync('id', [flag, 'postgres'], { encoding: 'utf8' }).stdout);
    chmodSync(folder, 0o755);
    chownSync(folder, id('-u'), id('-g'));
  }
  const options = { user: 'postgres', cwd: folder, stdio: ['ignore', openSync(log, 'a'), openSync(log, 'a')] };
  const initdb = spawnServer(
    [join(programs, 'initdb'), '--auth=trust', '--username=pawl', '--encoding=UTF8', '--locale=C.UTF-8', '-D', data],
    { ...options, signal: 'KILL' },
  );
  const made = await initdb.ended;
  if (made !== 'ended with status 0') throw new Error(`initdb ${made}: ${lastLine(log)}`);
  const port = await freePort();
  const settings = { port, listen_addresses: '127.0.0.1', unix_socket_directories: '', max_connections: 200, ...also };
  const server = spawnServer(
    [join(programs, 'postgres'), '-D', data, ...Object.entries(settings).flatMap((pair) => ['-c', pair.join('=')])],
    { ...options, signal: 'INT' },
  );
  const client = { PGHOST: '127.0.0.1', PGPORT: `${port}`, PGUSER: 'pawl' };
  try {
    await untilReady('PostgreSQL', server, log, () =>
      run(join(programs, 'pg_isready'), ['-q'], { env: { ...process.env, ...client } }),
    );
  } catch (error) {
    await stop(server, 'SIGQUIT');
    throw error;
  }
  return {
    environment: { ...client, PEERS_POSTGRES_PID: `${server.pid}`, PATH: `${programs}:${process.env.PATH}` },
    stop: () => stop(server, 'SIGINT'),
  };
}

/** As queues run it: its log is synced once a second. */
async function startRedis(folder) {
  mkdirSync(folder);
  const log = join(folder, 'log');
  const port = await freePort();
  const settings = ['--bind', '127.0.0.1', '--port', port, '--dir', folder, '--save', '', '--appendonly', 'yes'];
  const server = spawnServer(
    ['redis-server', ...settings, '--appendfsync', 'everysec', '--maxmemory-policy', 'noeviction'],
    { signal: 'TERM', stdio: ['ignore', openSync(log, 'a'), openSync(log, 'a')] },
  );
  try {
    await untilReady('Redis', server, log, () => run('redis-cli', ['-e', '-p', `${port}`, 'ping']));
  } catch (error) {
    await stop(server, 'SIGKILL');
    throw new Error(`${error.message}. Where it is missing, ${install}`);
  }
  return {
    environment: { REDIS_PORT: `${port}`, PEERS_REDIS_PID: `${server.pid}` },
    stop: () => stop(server, 'SIGTERM'),
  };
}

/**
 * Gives { environment, stop }: what clients need to know, and how it ends. `folder` must not be there yet. `also` are
 * settings of PostgreSQL.
 */
export const startService = (name, folder, also) => ({ postgres: startPostgres, redis: startRedis })[name](folder, also);
