// What `make bench-scale` runs: workers on PostgreSQL and Redis, servers, workers and clients on the processors of this
// machine. Lines of JSON go to build/bench-scale.jsonl, behind those of earlier runs; at the end a table is printed,
// and with PAGE written into that page. The environment says what is measured: see scripts/bench_scale.
import { appendFileSync, readFileSync, writeFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { replaceBlock } from '../page_block.mjs';
import { root, runsOf } from '../runs.mjs';
import { Cluster, Servers } from './cluster.mjs';
import { quietest } from './quiet.mjs';
import { lastRun, table } from './table.mjs';

const { giveUp, linesOf, numberOf, folderOf } = runsOf('bench-scale');
const rounds = numberOf('ROUNDS') ?? 3;
const n = numberOf('N');
const quietSeconds = numberOf('QUIET_SECONDS') ?? 0;
const folder = folderOf(process.env['FOLDER'] ?? '/var/tmp');
const out = resolve(root, process.env['OUT'] || 'build/bench-scale.jsonl');
const page = process.env['PAGE'] ? resolve(root, process.env['PAGE']) : undefined;

const lines = [];
function note(line) {
  lines.push(line);
  appendFileSync(out, `${JSON.stringify(line)}\n`);
}

/** What a client in a process of its own, without the workflow's code, waits for an event of one execution. */
async function eventFromElsewhere(redis) {
  const cluster = await Cluster.make(servers, { redis });
  const [worker] = await cluster.workers(1);
  const client = await cluster.client();
  const ids = ['tick-0'];
  await worker.ask('park', { ids });
  await client.ask('events', { ids, count: Math.min(n ?? 500, 500) });
  const figures = await client.ask('events', { ids, count: n ?? 3_000 });
  await cluster.end();
  return { variant: redis ? 'by Redis' : 'by NOTIFY', concurrency: 1, ...figures };
}

/** Three steps for 256 clients, all of them in a process of their own. */
async function byWorkers(count) {
  const cluster = await Cluster.make(servers);
  await cluster.workers(count);
  const client = await cluster.client();
  const concurrency = 256;
  const { n: warm } = await client.ask('threeSteps', { count: Math.min(n ?? 5_000, 5_000), concurrency }); // until the machine code is there
  const figures = await client.ask('threeSteps', { count: n ?? 12_000, concurrency });
  await cluster.end({ completed: warm + figures.n });
  return { variant: `${count} worker${count === 1 ? '' : 's'}`, concurrency, ...figures };
}

/** One of two workers is killed while each partition gets events. */
async function takeover(leaseS) {
  const cluster = await Cluster.make(servers, { lease: `${leaseS}s` });
  const [victim, other] = await cluster.workers(2);
  const client = await cluster.client();
  const partitions = await cluster.partitionsOf(victim);
  const of = await cluster.parkIn(partitions, other);
  const ids = [...of.values()];
  await client.ask('tickAll', { ids });
  await new Promise((resolve) => setTimeout(resolve, 1_000 + Math.random() * leaseS * 1_000)); // anywhere between two renewals
  const killedAt = Date.now();
  await victim.kill();
  await client.ask('mark');
  const { first } = await client.ask('firstTicks', { ids, secondsMax: 10 * leaseS });
  const seconds = ids.map((id) => (first[id] - killedAt) / 1_000).sort((a, b) => a - b);
  await cluster.end();
  if (seconds.some(Number.isNaN)) throw new Error('a partition of a dead worker was not served again');
  return { lease_s: leaseS, partitions: ids.length, first_s: seconds[0], last_s: seconds.at(-1) };
}

const parts = {
  async 'three-step'() {
    const url = `postgresql://pawl@127.0.0.1:${servers.postgresPort}/postgres`;
    for (const concurrency of [1, 256]) {
      const few = n === undefined ? [] : ['--n', String(n)];
      await measured('three-step', () => {
        const [line] = linesOf('ts', ['three-step', '--concurrency', String(concurrency), '--store', url, ...few]) ?? [];
        if (line === undefined) throw new Error('the run failed');
        return { variant: '1 worker, its own clients', ...line };
      });
    }
  },
  async event() {
    for (const redis of [true, false]) await measured('event', () => eventFromElsewhere(redis));
  },
  async workers() {
    for (const count of [1, 2]) await measured('workers', () => byWorkers(count));
  },
  async takeover() {
    for (const leaseS of [2, 10]) await measured('takeover', () => takeover(leaseS));
  },
};

let failed = 0;
async function measured(measure, work) {
  try {
    const { workload: _, ...line } = await quietest(work, { seconds: quietSeconds, tries: quietSeconds > 0 ? 4 : 1 });
    note({ measure, ...line });
    const { variant, concurrency, per_s, p50_ms, p99_ms, last_s, lease_s } = line;
    console.error(
      last_s === undefined
        ? `bench-scale: ${measure}, ${variant}, ${concurrency} at once: ${Math.round(per_s)} per s, ${p50_ms} ms, ${p99_ms} ms`
        : `bench-scale: ${measure}, ${lease_s} s lease: ${last_s} s`,
    );
  } catch (error) {
    failed++;
    console.error(`bench-scale: ${measure}: ${error.message}`);
  }
}

const wanted = (process.env['BENCH'] ?? '').split(',').filter((name) => name !== '');
for (const name of wanted) {
  if (!Object.hasOwn(parts, name)) giveUp(`BENCH: there is no '${name}'; there are ${Object.keys(parts).join(', ')}`);
}
if (process.env['CONTINUE']) {
  lines.push(...lastRun(out));
} else {
  const [machine] = linesOf('cpp', ['--machine', '--folder', folder]) ?? giveUp('there is nothing to say of the machine');
  note({ ...machine, date: new Date().toISOString().slice(0, 10) });
}
const servers = await Servers.start(folder);
try {
  for (let round = 0; round < rounds; round++) {
    for (const [name, part] of Object.entries(parts)) if (wanted.length === 0 || wanted.includes(name)) await part();
  }
} finally {
  await servers.stop();
}
const text = table(lines);
console.log(`${text}\n\nThe lines are in ${out}`);
if (failed > 0) console.error(`bench-scale: ${failed} runs failed`);
else if (page !== undefined) writeFileSync(page, replaceBlock(readFileSync(page, 'utf8'), 'scale', text));
process.exit(failed > 0 ? 1 : 0);
