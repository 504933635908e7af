// What each step costs on PostgreSQL and Redis, and what a worker costs that has nothing to do. Written as JSON to
// bench/scale/costs.json, from which docs/scale.md is made. The environment: see scripts/bench_scale.
//
// What others on the machine use of the processors stands beside each figure; costs are counted in processor time, rows
// and bytes, which other work changes little.
import { openSync, closeSync, fdatasyncSync, readFileSync, rmSync, writeFileSync, writeSync } from 'node:fs';
import { execFile } from 'node:child_process';
import { join, resolve } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { promisify } from 'node:util';
import { quantile } from 'simple-statistics';
import { processorSeconds } from '../peers/lib/processes.mjs';
import { query } from '../peers/lib/postgres.mjs';
import { watchOthers } from '../processor_time.mjs';
import { root, runsOf } from '../runs.mjs';
import { Cluster, Servers } from './cluster.mjs';
import { CountingProxy } from './counting_proxy.mjs';
import { quietCores, quietest, untilQuiet } from './quiet.mjs';

const { giveUp, linesOf, numberOf, folderOf } = runsOf('bench-scale');
const run = promisify(execFile);
const quietSeconds = numberOf('QUIET_SECONDS') ?? 0;
// For the test: N takes the place of all counts, and everything is done as shortly as can be.
const n = numberOf('N');
const count = (usual) => n ?? usual;
const folder = folderOf(process.env['FOLDER'] ?? '/var/tmp');
const out = resolve(root, process.env['OUT'] || 'bench/scale/costs.json');

const rounded = (value) => Number(value.toPrecision(6));
const each = (value, of) => rounded(value / of);
const say = (what, figures) => console.error(`bench-scale: ${what}: ${JSON.stringify(figures)}`);

// ---- the disk

function diskFlushes() {
  const file = join(folder, `pawl-flush-${process.pid}`);
  const flushes = [4_096, 65_536, 1_048_576, 8_388_608].map((bytes) => {
    const handle = openSync(file, 'w');
    const page = Buffer.alloc(bytes, 1);
    const times = Array.from({ length: n === undefined ? 60 : 5 }, () => {
      const began = performance.now();
      writeSync(handle, page);
      fdatasyncSync(handle);
      return performance.now() - began;
    });
    closeSync(handle);
    return { bytes, p50_ms: rounded(quantile(times, 0.5)), p99_ms: rounded(quantile(times, 0.99)) };
  });
  rmSync(file);
  return flushes;
}

// ---- what a step costs

const walPosition = async (cluster) => Number(await cluster.ask(`SELECT pg_current_wal_lsn() - '0/0'::pg_lsn`));
// Takes a number itself.
const transactionNumber = async (cluster) => Number(await cluster.ask('SELECT pg_current_xact_id()::text'));

// Until sessions that have ended are among what their server counts as such: in between they are nowhere.
const settled = () => pause(300);

async function redisCalls() {
  const { stdout } = await run('redis-cli', ['-p', process.env.REDIS_PORT, 'INFO', 'commandstats']);
  const calls = {};
  for (const [, name, number, micros] of stdout.matchAll(/^cmdstat_([^:]+):calls=(\d+),usec=(\d+)/gm)) {
    if (!['info', 'config|resetstat'].includes(name)) calls[name] = { calls: Number(number), micros: Number(micros) };
  }
  return calls;
}
const forgetRedisCalls = () => run('redis-cli', ['-p', process.env.REDIS_PORT, 'CONFIG', 'RESETSTAT']);

/** What the servers spent while `work` was done, per unit. */
async function costsOf(cluster, work) {
  await query(cluster.database, 'CHECKPOINT'); // so that whole pages are in the log as often as at any other time
  await forgetRedisCalls();
  const { postgres, redis } = servers.pids;
  const [wal, transactions] = [await walPosition(cluster), await transactionNumber(cluster)];
  await settled();
  const [postgresS, redisS] = [processorSeconds(postgres), processorSeconds(redis)];
  const figures = await work();
  const units = figures.n;
  const spent = {
    postgres_us: each(1e6 * (processorSeconds(postgres) - postgresS), units),
    redis_us: each(1e6 * (processorSeconds(redis) - redisS), units),
    wal_bytes: each((await walPosition(cluster)) - wal, units),
    transactions: each((await transactionNumber(cluster)) - transactions - 1, units),
  };
  const redisSum = Object.values(await redisCalls()).reduce(
    (sum, { calls, micros }) => ({ calls: sum.calls + calls, micros: sum.micros + micros }),
    { calls: 0, micros: 0 },
  );
  return {
    n: units,
    per_s: figures.per_s,
    p50_ms: figures.p50_ms,
    p99_ms: figures.p99_ms,
    ...spent,
    redis_calls: each(redisSum.calls, units),
    redis_command_us: each(redisSum.micros, units),
    main_us: each(1e6 * figures.main_s, units),
    process_us: each(1e6 * figures.all_s, units),
    batches: each(figures.batches, units),
  };
}

/** Bytes of each table with its indexes, by execution. */
async function tableBytes(cluster) {
  const executions = Number(await cluster.ask('SELECT count(*) FROM workflow_executions'));
  const rows = await cluster.ask(
    `SELECT relname, pg_table_size(oid), pg_indexes_size(oid) FROM pg_class
     WHERE relkind = 'r' AND relname LIKE 'workflow\\_%' AND pg_table_size(oid) > 100000 ORDER BY relname`,
  );
  return rows.split('\n').filter(Boolean).map((row) => {
    const [table, heap, indexes] = row.split('|');
    return { table, heap: each(Number(heap), executions), indexes: each(Number(indexes), executions) };
  });
}

const parkedIds = (count) => Array.from({ length: count }, (_, at) => `parked-${at}`);

// Three steps: by whom, and how many clients at once.
async function threeSteps(from, hints, concurrency) {
  const cluster = await Cluster.make(servers, { redis: hints === 'redis' });
  const [worker] = await cluster.workers(1);
  const client = from === 'worker' ? worker : await cluster.client();
  const usual = Math.min(20_000, Math.max(600, 150 * concurrency));
  await client.ask('threeSteps', { count: count(1_000), concurrency: 64 });
  const figures = await costsOf(cluster, async () => {
    const own = await worker.ask('spent');
    const done = await client.ask('threeSteps', { count: count(usual), concurrency });
    return client === worker ? done : { ...done, ...(await worker.ask('spent', own)), client_s: done.all_s };
  });
  await cluster.end();
  return { what: 'three-step', from, hints, concurrency, ...figures, tables: await tableBytes(cluster) };
}

async function events(from, hints, concurrency) {
  const cluster = await Cluster.make(servers, { redis: hints === 'redis' });
  const [worker] = await cluster.workers(1);
  const client = from === 'worker' ? worker : await cluster.client();
  const ids = parkedIds(concurrency);
  await worker.ask('park', { ids });
  await client.ask('events', { ids, count: count(1_000) });
  const figures = await costsOf(cluster, async () => {
    const own = await worker.ask('spent');
    const done = await client.ask('events', { ids, count: count(concurrency === 1 ? 1_500 : 10_000) });
    return client === worker ? done : { ...done, ...(await worker.ask('spent', own)) };
  });
  await cluster.end();
  return { what: 'event', from, hints, concurrency, ...figures };
}

/** Looks at executions that wait, from a process that runs none. */
async function reads(from, hints, concurrency) {
  const cluster = await Cluster.make(servers);
  const [worker] = await cluster.workers(1);
  const client = await cluster.client();
  const ids = parkedIds(64);
  await worker.ask('park', { ids });
  await client.ask('reads', { ids, count: count(500), concurrency });
  const figures = await costsOf(cluster, () => client.ask('reads', { ids, count: count(5_000), concurrency }));
  await cluster.end();
  return { what: 'read', from, hints, concurrency, ...figures };
}

/** Known ones are measured again only where others were busy then, those first that were disturbed most. */
async function steps(known = [], keep) {
  const cases = [
    ...[1, 4, 16, 64, 256].map((concurrency) => [threeSteps, 'worker', 'redis', concurrency]),
    ...[16, 64, 256].map((concurrency) => [threeSteps, 'elsewhere', 'redis', concurrency]),
    ...['worker', 'elsewhere'].flatMap((from) => [1, 64].map((concurrency) => [events, from, 'redis', concurrency])),
    ...[1, 64].map((concurrency) => [events, 'elsewhere', 'notify', concurrency]),
    [reads, 'elsewhere', 'redis', 8],
  ];
  const whats = new Map([[threeSteps, 'three-step'], [events, 'event'], [reads, 'read']]);
  const all = cases.map(([work, from, hints, concurrency]) => ({
    work: () => work(from, hints, concurrency),
    line: known.find(
      (line) => line.what === whats.get(work) && line.from === from && line.hints === hints && line.concurrency === concurrency,
    ),
  }));
  const disturbance = ({ line }) => line?.others_cores ?? Infinity;
  for (const one of [...all].sort((a, b) => disturbance(b) - disturbance(a))) {
    if (disturbance(one) < quietCores) continue;
    const line = await quietest(one.work, { seconds: quietSeconds, tries: 1 });
    if (line.others_cores < disturbance(one)) one.line = line;
    if (all.every((each) => each.line !== undefined)) keep(all.map((each) => each.line));
    const { what, from, hints, concurrency, per_s, postgres_us, wal_bytes, others_cores } = line;
    say(`${what}, ${from}, ${hints}, ${concurrency} at once`, { per_s, postgres_us, wal_bytes, others_cores });
  }
  return all.map(({ line }) => line);
}

// ---- statement by statement

/** What a statement does, in some words. */
function labelOf(sql) {
  const text = sql.replaceAll(/\s+/g, ' ').trim();
  const write = /^(?:WITH .*?\) )?(INSERT INTO|UPDATE|DELETE FROM) (workflow_\w+)/.exec(text);
  if (text.includes('FOR KEY SHARE')) return 'hold the leases (FOR KEY SHARE)';
  if (write !== null && write[2] === 'workflow_workers') {
    return text.includes('last_commit) VALUES') ? 'mark the commit (workflow_workers)' : 'show the worker (workflow_workers)';
  }
  if (write !== null && write[2] === 'workflow_partitions') {
    return text.startsWith('WITH') ? 'claim partitions' : text.includes('owner = NULL') ? 'release partitions' : 'renew leases';
  }
  if (write !== null) return `${write[1].split(' ')[0].toLowerCase()} ${write[2]}`;
  if (text.startsWith('SELECT worker FROM workflow_workers')) return 'survey: workers';
  if (text.startsWith('SELECT partition, coalesce')) return 'survey: partitions';
  if (text.includes('pg_notify')) return 'notify';
  if (/^(BEGIN|COMMIT|LISTEN|ROLLBACK)/.test(text)) return /^\w+/.exec(text)[0];
  if (text.includes('nextval')) return 'draw numbers';
  const from = /FROM (workflow_\w+)/.exec(text);
  return from === null ? 'other' : `read ${from[1]}`;
}

const forgetStatements = (cluster) => cluster.ask('SELECT pg_stat_statements_reset()');

async function statementsOf(cluster) {
  const rows = await cluster.ask(
    `SELECT calls, rows, total_exec_time, wal_bytes, regexp_replace(query, '\\s+', ' ', 'g') FROM pg_stat_statements
     WHERE dbid = (SELECT oid FROM pg_database WHERE datname = current_database())
       AND query NOT ILIKE '%pg_stat_%' AND query NOT ILIKE 'CHECKPOINT%' AND query NOT ILIKE '%pg_current_%'`,
  );
  const sums = new Map();
  for (const row of rows.split('\n').filter(Boolean)) {
    const [calls, touched, ms, wal, ...sql] = row.split('|');
    const label = labelOf(sql.join('|'));
    const sum = sums.get(label) ?? { statement: label, calls: 0, rows: 0, ms: 0, wal_bytes: 0 };
    sum.calls += Number(calls);
    sum.rows += Number(touched);
    sum.ms += Number(ms);
    sum.wal_bytes += Number(wal);
    sums.set(label, sum);
  }
  return [...sums.values()].sort((a, b) => b.ms - a.ms);
}

function perUnit(statements, units) {
  return statements.map(({ statement, calls, rows, ms, wal_bytes }) => ({
    statement,
    calls: each(calls, units),
    rows: each(rows, units),
    us: each(1_000 * ms, units),
    wal_bytes: each(wal_bytes, units),
  }));
}

async function statements() {
  const all = [];
  const through = async (what, from, concurrency, work) => {
    const proxy = await CountingProxy.start(servers.postgresPort);
    const cluster = await Cluster.make(servers, { port: proxy.port });
    await cluster.ask('CREATE EXTENSION pg_stat_statements');
    const [worker] = await cluster.workers(1);
    const client = from === 'worker' ? worker : await cluster.client();
    const unit = await work(worker, client);
    await unit(count(500));
    await forgetStatements(cluster);
    await forgetRedisCalls();
    await untilQuiet(quietSeconds);
    proxy.take();
    const others = watchOthers();
    const figures = await unit(count(concurrency === 1 ? 400 : 6_000));
    const counted = proxy.take();
    const line = {
      what,
      from,
      concurrency,
      n: figures.n,
      round_trips: each(counted.round_trips, figures.n),
      network_bytes: each(counted.bytes_to + counted.bytes_from, figures.n),
      connections: counted.connections,
      others_cores: others(),
      statements: perUnit(await statementsOf(cluster), figures.n),
      redis: Object.entries(await redisCalls()).map(([command, { calls, micros }]) => ({
        command,
        calls: each(calls, figures.n),
        us: each(micros, figures.n),
      })),
    };
    await cluster.end();
    proxy.stop();
    say(`statements of ${what}, ${from}, ${concurrency} at once`, { round_trips: line.round_trips });
    all.push(line);
  };
  const steps = (concurrency) => async (_, client) => (count) => client.ask('threeSteps', { count, concurrency });
  const ticks = (concurrency) => async (worker, client) => {
    const ids = parkedIds(concurrency);
    await worker.ask('park', { ids });
    return (count) => client.ask('events', { ids, count });
  };
  await through('three-step', 'worker', 1, steps(1));
  await through('three-step', 'worker', 256, steps(256));
  await through('three-step', 'elsewhere', 64, steps(64));
  await through('event', 'elsewhere', 1, ticks(1));
  await through('event', 'elsewhere', 64, ticks(64));
  return all;
}

// ---- nothing to do

async function idle() {
  const all = [];
  const seconds = n === undefined ? 12 : 1;
  const cases =
    n === undefined
      ? [[1, 16], [2, 16], [4, 16], [8, 16], [1, 256], [4, 256], [8, 256], [1, 1_024], [2, 1_024], [4, 1_024], [8, 1_024]]
      : [[2, 16]];
  for (const [workers, partitions] of cases) {
    const cluster = await Cluster.make(servers, { partitions });
    await cluster.ask('CREATE EXTENSION pg_stat_statements');
    const members = await cluster.workers(workers);
    await pause(1_000);
    await untilQuiet(quietSeconds);
    const { postgres, redis } = servers.pids;
    const pids = members.map(({ process: { pid } }) => pid);
    const workersS = () => pids.reduce((sum, pid) => sum + processorSeconds(pid), 0);
    await forgetStatements(cluster);
    await forgetRedisCalls();
    const others = watchOthers();
    const before = { wal: await walPosition(cluster), postgres: processorSeconds(postgres), redis: processorSeconds(redis), workers: workersS() };
    const began = performance.now();
    await pause(seconds * 1_000);
    const passed = (performance.now() - began) / 1_000;
    const after = { postgres: processorSeconds(postgres), redis: processorSeconds(redis), workers: workersS(), wal: await walPosition(cluster) };
    const spentPerS = (what) => each(after[what] - before[what], passed);
    const line = {
      workers,
      partitions,
      postgres_cores: spentPerS('postgres'),
      redis_cores: spentPerS('redis'),
      workers_cores: spentPerS('workers'),
      wal_bytes_per_s: spentPerS('wal'),
      connections: Number(
        await cluster.ask(
          `SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()`,
        ),
      ),
      redis_connections: Number(
        /connected_clients:(\d+)/.exec((await run('redis-cli', ['-p', process.env.REDIS_PORT, 'INFO', 'clients'])).stdout)[1],
      ) - 1,
      statements: perUnit(await statementsOf(cluster), passed),
      redis: Object.entries(await redisCalls()).map(([command, { calls }]) => ({ command, calls: each(calls, passed) })),
      others_cores: others(),
    };
    await cluster.end();
    say(`idle, ${workers} workers, ${partitions} partitions`, { postgres_cores: line.postgres_cores, connections: line.connections });
    all.push(line);
  }
  return all;
}

// ---- connections, where workers also send to one another

async function connections() {
  const all = [];
  for (const hints of ['redis', 'notify']) {
    const cluster = await Cluster.make(servers, { redis: hints === 'redis' });
    const workers = await cluster.workers(2);
    const ids = parkedIds(64);
    await workers[0].ask('park', { ids });
    // Each to all, of which half are the other's.
    await Promise.all(workers.map((worker) => worker.ask('events', { ids, count: count(2_000) })));
    await Promise.all(workers.map((worker) => worker.ask('reads', { ids, count: count(2_000), concurrency: 64 })));
    const open = Number(
      await cluster.ask(
        `SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()
           AND backend_type = 'client backend'`,
      ),
    );
    await cluster.end();
    all.push({ hints, each: open / workers.length });
    say(`connections, ${hints}`, all.at(-1));
  }
  return all;
}

// ---- the survey, with more workers than fit on this machine

/** A statement of the engine, as its source has it. */
function statementOf(file, name) {
  const source = readFileSync(join(root, file), 'utf8');
  const found = new RegExp(`\\{\\s*"${name}",\\s*((?:"(?:[^"\\\\]|\\\\.)*"\\s*)+)\\}`).exec(source);
  if (found === null) giveUp(`${file} has no statement '${name}'`);
  return [...found[1].matchAll(/"((?:[^"\\]|\\.)*)"/g)].map(([, text]) => text).join('');
}

async function surveys() {
  const texts = ['workers', 'partitions'].map((name) => statementOf('src/postgres/store/membership.cc', name));
  const script = join(servers.folder, 'survey.sql');
  writeFileSync(script, texts.map((text) => `${text.replaceAll('$1', ':ms')};\n`).join(''));
  const all = [];
  for (const workers of [1, 10, 100, 1_000]) {
    for (const partitions of [16, 128, 1_024]) {
      const cluster = await Cluster.make(servers, { partitions });
      await cluster.ask(
        'DELETE FROM workflow_workers',
        `INSERT INTO workflow_workers(worker, serving, seen_at)
         SELECT 'host-' || w || '/1234/0123abcd', true, 'infinity' FROM generate_series(1, ${workers}) AS w`,
        `UPDATE workflow_partitions SET owner = 'host-' || partition % ${workers} || '/1234/0123abcd', expires_at = 'infinity'`,
        'VACUUM ANALYZE workflow_workers',
        'VACUUM ANALYZE workflow_partitions',
      );
      const times = count(workers * partitions > 100_000 ? 1_000 : 3_000);
      await untilQuiet(quietSeconds);
      const others = watchOthers();
      await settled();
      const before = processorSeconds(servers.pids.postgres);
      await run('pgbench', ['--no-vacuum', '--protocol=prepared', '-D', 'ms=10000', '-t', `${times}`, '-f', script, cluster.database]);
      await settled();
      const us = each(1e6 * (processorSeconds(servers.pids.postgres) - before), times);
      all.push({ workers, partitions, postgres_us: us, others_cores: others() });
      say(`a survey, ${workers} workers, ${partitions} partitions`, { postgres_us: us });
    }
  }
  return all;
}

// ---- NOTIFY, heard by many

async function notify() {
  const all = [];
  for (const listeners of n === undefined ? [1, 2, 4, 8] : [1, 2]) {
    const cluster = await Cluster.make(servers, { redis: false });
    const [worker] = await cluster.workers(listeners);
    const client = await cluster.client();
    const ids = parkedIds(1);
    await worker.ask('park', { ids });
    await client.ask('events', { ids, count: count(300) });
    const { postgres_us, p50_ms, p99_ms, others_cores } = await quietest(
      () => costsOf(cluster, () => client.ask('events', { ids, count: count(1_500) })),
      { seconds: quietSeconds, tries: 1 },
    );
    await cluster.end();
    all.push({ workers: listeners, postgres_us, p50_ms, p99_ms, others_cores });
    say(`an event by NOTIFY, ${listeners} workers`, { postgres_us, p50_ms });
  }
  return all;
}

// ---- retention

async function retention() {
  const cluster = await Cluster.make(servers);
  const [worker] = await cluster.workers(1);
  const ended = count(10_000);
  const parked = parkedIds(10);
  await worker.ask('park', { ids: parked });
  await worker.ask('threeSteps', { count: ended, concurrency: 128 });
  const bytes = async () => Number(await cluster.ask('SELECT pg_database_size(current_database())'));
  const before = { bytes: await bytes(), wal: await walPosition(cluster), postgres: processorSeconds(servers.pids.postgres) };
  const began = performance.now();
  const file = join(root, 'docs/scale/retention.sql');
  let gone = 0;
  for (;;) {
    const { stdout } = await run('psql', ['-XAtq', '-v', 'ON_ERROR_STOP=1', '-v', "before='infinity'", '-v', 'bite=5000', '-d', cluster.database, '-f', file]);
    const bite = Number(stdout.trim());
    gone += bite;
    if (bite === 0) break;
  }
  const seconds = (performance.now() - began) / 1_000;
  const line = {
    executions: gone,
    us_each: each(1e6 * seconds, gone),
    postgres_us_each: each(1e6 * (processorSeconds(servers.pids.postgres) - before.postgres), gone),
    wal_bytes_each: each((await walPosition(cluster)) - before.wal, gone),
  };
  // What goes on must not notice.
  await worker.ask('events', { ids: parked, count: 100 });
  const tables = ['workflow_events', 'workflow_action_results', 'workflow_event_processing'];
  const orphans = await cluster.ask(
    ...tables.map((table) => `SELECT count(*) FROM ${table} WHERE execution > 0 AND execution NOT IN (SELECT execution FROM workflow_executions)`),
  );
  const left = Number(await cluster.ask('SELECT count(*) FROM workflow_executions'));
  if (gone !== ended || left !== parked.length || orphans !== '0\n0\n0') {
    throw new Error(`retention: ${gone} of ${ended} are gone, ${left} of ${parked.length} are left, orphans: ${orphans}`);
  }
  await cluster.end();
  say('retention', line);
  return line;
}

// ----

const parts = { steps, statements, idle, connections, surveys, notify, retention };
const wanted = (process.env['BENCH'] ?? '').split(',').filter((name) => name !== '');
for (const name of wanted) {
  if (!Object.hasOwn(parts, name)) giveUp(`BENCH: there is no '${name}'; there are ${Object.keys(parts).join(', ')}`);
}
const [machine] = linesOf('cpp', ['--machine', '--folder', folder]) ?? giveUp('there is nothing to say of the machine');
const { settings: _, ...about } = machine; // SQLite's
let known = {};
try {
  known = JSON.parse(readFileSync(out, 'utf8'));
} catch (error) {
  if (error.code !== 'ENOENT') throw error;
}
// What other work does to the disk and to who waits for it is not the disk's: the best that was seen counts.
await untilQuiet(quietSeconds);
const flushes = diskFlushes().map((line, at) => (known.flushes?.[at]?.p50_ms < line.p50_ms ? known.flushes[at] : line));
const costs = { ...known, machine: about, measured: new Date().toISOString().slice(0, 10), flushes };
let servers;
for (const [name, part] of Object.entries(parts)) {
  if (wanted.length > 0 && !wanted.includes(name)) continue;
  // What counts statements takes time of its own: what is measured in time is measured without.
  const settings = ['statements', 'idle'].includes(name) ? { shared_preload_libraries: 'pg_stat_statements' } : undefined;
  servers = await Servers.start(folder, settings);
  try {
    const keep = (figures) => {
      costs[name] = figures;
      writeFileSync(out, `${JSON.stringify(costs, undefined, 1)}\n`);
    };
    keep(await part(known[name], keep));
  } finally {
    await servers.stop();
  }
}
console.log(`The costs are in ${out}`);
process.exit(0);
