// The machine and the stores by themselves, one part in a process of its own, which run.mjs starts:
//
//   limits.mjs disk|sqlite|postgres|redis SECONDS
//
// It sends { limit, per_s, … } for each figure, which takes so many seconds.
import { execFile } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { emptyDatabase, query } from '../lib/postgres.mjs';

const [, , part, secondsText] = process.argv;
const seconds = Math.max(1, Number(secondsText)); // pgbench takes whole ones from 1 on.
const folder = join(process.env.PEERS_FOLDER, 'limits');
mkdirSync(folder, { recursive: true });
process.once('disconnect', () => process.exit(1)); // Nobody listens any more.

const tell = (message) => new Promise((resolve) => process.send(message, resolve));
const run = promisify(execFile);

async function program(name, ...libraries) {
  const file = join(folder, name);
  const source = fileURLToPath(new URL(`${name}.cc`, import.meta.url));
  await run('g++', ['-std=c++20', '-O2', '-o', file, source, ...libraries]);
  return file;
}

async function tellLinesOf(file, args) {
  const { stdout } = await run(file, args);
  for (const line of stdout.trim().split('\n')) await tell(JSON.parse(line));
}

const payload = JSON.stringify({ text: 'x'.repeat(100) });

async function postgres() {
  const database = 'bench_limits';
  await emptyDatabase(database);
  await query(
    database,
    `CREATE TABLE events (id bigserial PRIMARY KEY, execution uuid NOT NULL DEFAULT gen_random_uuid(),
      sequence int NOT NULL, type text NOT NULL, payload jsonb NOT NULL, at timestamptz NOT NULL DEFAULT now())`,
  );
  for (const [rows, clients] of [[1, 1], [1, 16], [1, 64], [100, 1], [100, 4]]) {
    const values = Array.from({ length: rows }, (_, index) => `(${index}, 'ActionCompleted', '${payload}')`);
    const script = join(folder, `insert_${rows}.sql`);
    writeFileSync(script, `INSERT INTO events (sequence, type, payload) VALUES ${values.join(', ')};\n`);
    const { stdout } = await run('pgbench', [
      ...['--no-vacuum', '--protocol=prepared', `--time=${Math.round(seconds)}`, `--client=${clients}`],
      ...[`--jobs=${Math.min(2, clients)}`, `--file=${script}`, database],
    ]);
    const commits = Number(/^tps = ([\d.]+)/m.exec(stdout)[1]);
    const what = `commits of ${rows} row${rows === 1 ? '' : 's'}, ${clients} connection${clients === 1 ? '' : 's'}`;
    await tell({ limit: `PostgreSQL, ${what}`, per_s: commits, rows_per_s: Math.round(commits * rows) });
  }
}

async function redis() {
  const value = 'x'.repeat(150);
  // About as many as it does in a second.
  for (const [clients, pipelined, perSecond] of [[1, 1, 20_000], [50, 1, 80_000], [50, 16, 300_000]]) {
    const { stdout } = await run('redis-benchmark', [
      ...['-p', process.env.REDIS_PORT, '--csv', '-c', `${clients}`, '-P', `${pipelined}`],
      ...['-n', `${Math.round(perSecond * seconds)}`, 'XADD', 'stream', 'MAXLEN', '~', '100000', '*', 'data', value],
    ]);
    // "test","rps","avg_latency_ms","min_latency_ms","p50_latency_ms","p95_latency_ms","p99_latency_ms", …
    const fields = stdout.trim().split('\n').at(-1).split('","').map(Number);
    const several = pipelined === 1 ? '' : `, ${pipelined} in a row`;
    await tell({
      limit: `Redis, entries of a stream, ${clients} connection${clients === 1 ? '' : 's'}${several}`,
      per_s: fields[1],
      p50_ms: fields[4],
      p99_ms: fields[6],
    });
  }
}

const parts = {
  disk: async () => tellLinesOf(await program('disk'), [folder, `${seconds}`]),
  sqlite: async () => tellLinesOf(await program('sqlite', '-lsqlite3'), [join(folder, 'limits.db'), `${seconds}`]),
  postgres,
  redis,
};

try {
  await parts[part]();
  process.exit(0);
} catch (error) {
  console.error(error);
  const absent = error.code === 'ENOENT' ? `there is no ${error.path}: run scripts/bootstrap peers` : undefined;
  await tell({ reason: absent ?? (error.stderr?.trim().split('\n').at(-1) || error.message) });
  process.exit(1);
}
