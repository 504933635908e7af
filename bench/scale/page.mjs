// Writes the tables of docs/scale.md between their markers, and its plot beside it, from costs.json and the simulation:
//
//   node bench/scale/page.mjs [bench/scale/costs.json [docs/scale.md]]
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { plot } from '../curves/plot.mjs';
import { replaceBlock } from '../page_block.mjs';
import { fitSurveys, parametersOf } from './simulation/parameters.mjs';
import { assumed, clusters, limitOf, oneMachine } from './simulation/scenarios.mjs';

const root = fileURLToPath(new URL('../..', import.meta.url));
const costsFile = process.argv[2] ?? join(root, 'bench/scale/costs.json');
const page = process.argv[3] ?? join(root, 'docs/scale.md');
const costs = JSON.parse(readFileSync(costsFile, 'utf8'));
const parameters = parametersOf(costs);
const surveys = fitSurveys(costs.surveys);

const whole = (value) => Math.round(value).toLocaleString('en-US');
const few = (value) => (value >= 100 ? whole(value) : Number(value.toPrecision(3)).toLocaleString('en-US', { maximumFractionDigits: 4 }));
const percent = (share) => (Math.abs(share) < 0.01 ? '< 1 %' : `${whole(100 * share)} %`);
const hintsOf = { redis: 'Redis', notify: 'NOTIFY' };

function tableOf(columns, lines) {
  const row = (cells) => `| ${cells.join(' | ')} |`;
  return [
    row(columns.map(([title]) => title)),
    row(columns.map(([, , left]) => (left ? '---' : '---:'))),
    ...lines.map((line) => row(columns.map(([, of]) => of(line)))),
  ].join('\n');
}

const left = true;
const whoOf = { worker: 'its own worker', elsewhere: 'another process' };
const whatOf = { 'three-step': 'three steps', event: 'an event', read: 'a look at the state' };

function steps() {
  return tableOf(
    [
      ['what', ({ what }) => whatOf[what], left],
      ['begun by', ({ from }) => whoOf[from], left],
      ['hints', ({ from, hints }) => (from === 'worker' ? '' : hintsOf[hints]), left],
      ['at once', ({ concurrency }) => whole(concurrency)],
      ['per second', ({ per_s }) => whole(per_s)],
      ['commits', ({ batches }) => few(batches)],
      ['transactions', ({ transactions }) => few(transactions)],
      ['PostgreSQL µs', ({ postgres_us }) => few(postgres_us)],
      ['WAL bytes', ({ wal_bytes }) => whole(wal_bytes)],
      ['worker µs', ({ process_us, what }) => (what === 'read' ? '' : few(process_us))],
      ['of it JavaScript', ({ main_us, what }) => (what === 'read' ? '' : few(main_us))],
      ['Redis µs', ({ redis_us, from }) => (from === 'worker' ? '' : few(redis_us))],
      ['Redis commands', ({ redis_calls, from }) => (from === 'worker' ? '' : few(redis_calls))],
      ['others, cores', ({ others_cores }) => few(others_cores)],
    ],
    costs.steps,
  );
}

function roundTrips() {
  const sum = (line, field) => line.statements.reduce((all, each) => all + each[field], 0);
  const written = (line) =>
    line.statements.filter(({ statement }) => /^(insert|update|delete|mark|show|renew)/.test(statement)).reduce((all, { rows }) => all + rows, 0);
  return tableOf(
    [
      ['what', ({ what }) => whatOf[what], left],
      ['begun by', ({ from }) => whoOf[from], left],
      ['at once', ({ concurrency }) => whole(concurrency)],
      ['round trips', ({ round_trips }) => few(round_trips)],
      ['statements', (line) => few(sum(line, 'calls'))],
      ['rows written', (line) => few(written(line))],
      ['bytes on the network', ({ network_bytes }) => whole(network_bytes)],
      ['connections', ({ connections }) => whole(connections)],
      ['others, cores', ({ others_cores }) => few(others_cores)],
    ],
    costs.statements,
  );
}

function statements() {
  const [one, many, other] = [
    ['three-step', 'worker', 1],
    ['three-step', 'worker', 256],
    ['three-step', 'elsewhere', 64],
  ].map(([what, from, concurrency]) =>
    costs.statements.find((line) => line.what === what && line.from === from && line.concurrency === concurrency),
  );
  const names = [...new Set([one, many, other].flatMap((line) => line.statements.map(({ statement }) => statement)))];
  const found = (line, statement) => line.statements.find((each) => each.statement === statement);
  const cells = (line, field) => (statement) => (found(line, statement) ? few(found(line, statement)[field]) : '');
  const sum = (line) => line.statements.reduce((all, { us }) => all + us, 0);
  const shown = names.filter((name) => [one, many, other].some((line) => (found(line, name)?.us ?? 0) > 0.01 * sum(line)));
  return tableOf(
    [
      ['statement, for a workflow of three steps', (name) => name, left],
      ['1 at once: calls', cells(one, 'calls')],
      ['rows', cells(one, 'rows')],
      ['µs', cells(one, 'us')],
      ['WAL bytes', cells(one, 'wal_bytes')],
      ['256 at once: calls', cells(many, 'calls')],
      ['µs', cells(many, 'us')],
      ['64 from another process: calls', cells(other, 'calls')],
      ['µs', cells(other, 'us')],
    ],
    shown,
  );
}

function redisCommands() {
  const line = costs.statements.find(({ what, from, concurrency }) => what === 'three-step' && from === 'elsewhere' && concurrency === 64);
  const events = costs.statements.find(({ what, from, concurrency }) => what === 'event' && from === 'elsewhere' && concurrency === 1);
  const of = ({ redis }, command) => redis.find((each) => each.command === command);
  const cell = (line, command, field) => (of(line, command) ? few(of(line, command)[field]) : '');
  return tableOf(
    [
      ['Redis command', (command) => `\`${command.toUpperCase()}\``, left],
      ['three steps, 64 at once: calls', (command) => cell(line, command, 'calls')],
      ['µs', (command) => cell(line, command, 'us')],
      ['an event, 1 at once: calls', (command) => cell(events, command, 'calls')],
      ['µs', (command) => cell(events, command, 'us')],
    ],
    [...new Set([...line.redis, ...events.redis].map(({ command }) => command))],
  );
}

const callsOf = (line, part) => line.statements.filter(({ statement }) => statement.startsWith(part)).reduce((sum, { calls }) => sum + calls, 0);
const rowsOf = (line, part) => line.statements.filter(({ statement }) => statement.startsWith(part)).reduce((sum, { rows }) => sum + rows, 0);

function idle() {
  const redisOps = ({ redis }) => redis.reduce((sum, { calls }) => sum + calls, 0);
  return tableOf(
    [
      ['workers', ({ workers }) => whole(workers)],
      ['partitions', ({ partitions }) => whole(partitions)],
      ['surveys/s', (line) => few(callsOf(line, 'survey: partitions'))],
      ['rows they read/s', (line) => whole(rowsOf(line, 'survey'))],
      ['sweeps/s', (line) => few(callsOf(line, 'read workflow_event_processing'))],
      ['lease renewals/s', (line) => few(callsOf(line, 'renew'))],
      ['WAL bytes/s', ({ wal_bytes_per_s }) => whole(wal_bytes_per_s)],
      ['PostgreSQL, % of a core', ({ postgres_cores }) => few(100 * postgres_cores)],
      ['all workers, % of a core', ({ workers_cores }) => few(100 * workers_cores)],
      ['Redis commands/s', (line) => few(redisOps(line))],
      ['connections to PostgreSQL', ({ connections }) => whole(connections)],
      ['to Redis', ({ redis_connections }) => whole(redis_connections)],
    ],
    costs.idle,
  );
}

function surveyTable() {
  const partitions = [...new Set(costs.surveys.map((each) => each.partitions))];
  const workers = [...new Set(costs.surveys.map((each) => each.workers))];
  const of = (w, p) => costs.surveys.find((each) => each.workers === w && each.partitions === p).postgres_us;
  const perS = parameters.rest.surveysPerSecond;
  const cores = (w, p) => (of(w, p) * perS * w) / 1e6;
  return [
    tableOf(
      [
        ['workers', whole],
        ...partitions.map((p) => [`µs of a survey, ${whole(p)} partitions`, (w) => few(of(w, p))]),
        ...partitions.map((p) => [`cores of PostgreSQL for all, ${whole(p)}`, (w) => few(cores(w, p))]),
      ],
      workers,
    ),
    '',
    `A survey takes about ${few(surveys.base)} µs, ${few(surveys.perWorker)} µs for each worker and ` +
      `${few(surveys.perPartition)} µs for each partition (R² ${surveys.explained.toFixed(3)}); a worker makes ${few(perS)} in a second.`,
  ].join('\n');
}

const notify = () =>
  tableOf(
    [
      ['workers that listen', ({ workers }) => whole(workers)],
      ['PostgreSQL µs for an event', ({ postgres_us }) => few(postgres_us)],
      ['p50 ms', ({ p50_ms }) => few(p50_ms)],
      ['p99 ms', ({ p99_ms }) => few(p99_ms)],
      ['others, cores', ({ others_cores }) => few(others_cores)],
    ],
    costs.notify,
  );

const local256 = costs.steps.find(({ what, from, concurrency }) => what === 'three-step' && from === 'worker' && concurrency === 256);

function bytes() {
  const { tables } = local256;
  const sum = tables.reduce((all, { heap, indexes }) => all + heap + indexes, 0);
  const { retention } = costs;
  return [
    tableOf(
      [
        ['bytes of an execution of three steps', ({ table }) => (table === 'all' ? 'all' : `\`${table}\``), left],
        ['rows', ({ heap }) => whole(heap)],
        ['indexes', ({ indexes }) => whole(indexes)],
      ],
      [...tables, { table: 'all', heap: tables.reduce((all, each) => all + each.heap, 0), indexes: tables.reduce((all, each) => all + each.indexes, 0) }],
    ),
    '',
    `1,000 of them in a second are ${few((1_000 * sum * 86_400) / 1e9)} GB in a day. Deleting ${whole(retention.executions)} of ` +
      `them took ${few(retention.us_each)} µs each, of which PostgreSQL computed ${few(retention.postgres_us_each)} µs, and ` +
      `${whole(retention.wal_bytes_each)} bytes of the log.`,
  ].join('\n');
}

function limits() {
  const connections = (hints) => costs.connections.find((line) => line.hints === hints).each;
  const numbers = [10, 100, 1_000];
  const perS = parameters.rest.surveysPerSecond;
  const cores = (w, p) => (w * perS * surveys.us(w, p)) / 1e6;
  const lineOf = (from, concurrency) =>
    costs.steps.find((line) => line.what === 'three-step' && line.from === from && line.concurrency === concurrency);
  const rate = (line) => (1e6 * assumed.databaseCores) / line.postgres_us;
  const byOthers = lineOf('elsewhere', 256);
  const all = (text) => numbers.map(() => text);
  const rows = [
    ['workers that get anything to do, with the 16 partitions that a store has', ...numbers.map((w) => whole(Math.min(w, 16)))],
    ['… with 1,024', ...numbers.map((w) => whole(Math.min(w, 1_024)))],
    [`connections of workers without work (${few(parameters.connections)} each)`, ...numbers.map((w) => whole(w * parameters.connections))],
    ...['redis', 'notify'].map((hints) => [
      `… that run workflows, and send events to one another, with ${hintsOf[hints]} (${few(connections(hints))} each)`,
      ...numbers.map((w) => whole(w * connections(hints))),
    ]),
    ['surveys: cores of PostgreSQL, 16 partitions', ...numbers.map((w) => few(cores(w, 16)))],
    ['surveys: cores of PostgreSQL, 1,024 partitions', ...numbers.map((w) => few(cores(w, 1_024)))],
    [
      `one PostgreSQL of ${assumed.databaseCores} cores, its processors: workflows/s, in batches as of 256 at once`,
      ...all(whole(rate(local256))),
    ],
    ['… all of them begun by other processes', ...all(whole(rate(byOthers)))],
    ['… each of the 4 transitions a commit of its own, as of 1 at once', ...all(whole(rate(lineOf('worker', 1))))],
    [
      `its log: workflows/s at ${few(parameters.log.bytesPerSecond / 1e6)} MB/s, all of them begun by other processes`,
      ...all(whole(parameters.log.bytesPerSecond / byOthers.wal_bytes)),
    ],
    ['one Redis, its one thread: workflows/s that other processes begin', ...all(whole(1e6 / byOthers.redis_us))],
  ];
  return tableOf(
    [
      ['limit', ([title]) => title, left],
      ...numbers.map((w, at) => [`${whole(w)} workers`, (row) => row[at + 1]]),
    ],
    rows,
  );
}

function check() {
  const lines = oneMachine(costs);
  return tableOf(
    [
      ['clients at once', ({ concurrency }) => whole(concurrency)],
      ['measured, workflows/s', ({ measured }) => whole(measured.per_s)],
      ['simulated', ({ simulated }) => whole(simulated.per_s)],
      ['off by', ({ measured, simulated }) => percent(simulated.per_s / measured.per_s - 1)],
      ['measured, p50 ms', ({ measured }) => few(measured.p50_ms)],
      ['simulated', ({ simulated }) => few(simulated.p50_ms)],
      ['commits a workflow, measured', ({ measured }) => few(measured.batches)],
      ['simulated', ({ simulated }) => few(simulated.batches)],
      ['others, cores', ({ measured }) => few(measured.others_cores)],
    ],
    lines,
  );
}

function simulated(lines) {
  return tableOf(
    [
      ['', ({ what }) => what, left],
      ['workers', ({ workers }) => whole(workers)],
      ['that have work', ({ most }) => whole(most.served)],
      ['workflows/s at most', ({ most }) => whole(most.per_s)],
      ['at half of that: p50 ms', ({ half }) => few(half.p50_ms)],
      ['p99 ms', ({ half }) => few(half.p99_ms)],
      ['full at most', ({ most }) => `${limitOf(most).name} (${percent(Math.min(1, limitOf(most).share))})`, left],
      ['PostgreSQL', ({ most }) => percent(Math.min(1, most.used['PostgreSQL, processors']))],
      ['its log', ({ most }) => percent(Math.min(1, most.used['PostgreSQL, log']))],
      ['Redis', ({ most }) => percent(Math.min(1, most.used.Redis))],
      ['workers', ({ most }) => percent(Math.min(1, most.used.workers))],
    ],
    lines,
  );
}

const about =
  `Measured ${costs.measured} on ${costs.machine.cores} cores of ${costs.machine.cpu}, ${costs.machine.kernel}, ` +
  `${costs.machine.file_system.split(' ')[0]}, with PostgreSQL, Redis, worker and client on them. "Others" is what everything else used ` +
  `of the processors meanwhile. A sync of 4 KiB took ${costs.flushes[0].p50_ms.toFixed(2)} ms, one of 8 MiB ${costs.flushes.at(-1).p50_ms.toFixed(1)} ms (p50).`;

const taken =
  `Taken for granted: each PostgreSQL has ${assumed.databaseCores} cores like those measured, each worker ${assumed.workerCores}; ` +
  `${few(1_000 * assumed.roundTrip)} ms from any machine to another and back; ${assumed.clients} clients for each worker, whose ` +
  `workflows are spread over all partitions, so that all but one in as many as there are workers come by mail. ` +
  `A sync takes ${few(1_000 * parameters.log.syncSeconds)} ms and ${few(parameters.log.bytesPerSecond / 1e6)} MB go through in a second, as measured here.`;

const lines = clusters(costs, ({ what, workers, most }) =>
  console.error(`bench-scale: ${what}, ${workers} workers: ${Math.round(most.per_s)} per s; ${limitOf(most).name}`),
);
const blocks = {
  steps: `${steps()}\n\n${about}`,
  'round trips': roundTrips(),
  statements: statements(),
  'redis commands': redisCommands(),
  idle: idle(),
  surveys: surveyTable(),
  notify: notify(),
  bytes: bytes(),
  limits: limits(),
  check: check(),
  simulated: `![Workflows per second by workers, and p99 at half of that](plots/scale.svg)\n\n${simulated(lines)}\n\n${taken}`,
};
let text = readFileSync(page, 'utf8');
for (const [name, block] of Object.entries(blocks)) text = replaceBlock(text, `scale: ${name}`, block);

// By names that have room in the legend.
const drawn = {
  '1 PostgreSQL, 1,024 partitions': '1 PostgreSQL',
  '4 PostgreSQL': '4 PostgreSQL',
  '16 PostgreSQL': '16 PostgreSQL',
  '16 PostgreSQL, Redis Cluster of 8': '16 and 8 Redis',
};
const curve = {
  x: { title: 'workers' },
  panels: [
    { title: 'at most', y: 'workflows per second', series: ({ what, most }) => ({ [drawn[what]]: most.per_s }) },
    { title: 'at half of that, p99', y: 'milliseconds', series: ({ what, half }) => ({ [drawn[what]]: half.p99_ms }) },
  ],
};
const svg = await plot(curve, lines.filter(({ what }) => what in drawn).map((line) => ({ x: line.workers, line })));
const plots = join(dirname(page), 'plots');
mkdirSync(plots, { recursive: true });
writeFileSync(join(plots, 'scale.svg'), svg);
writeFileSync(page, text);
console.log(`The tables are in ${page}`);
