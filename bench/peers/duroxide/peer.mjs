// duroxide: a core in Rust in the application's process, over SQLite or PostgreSQL. What npm has of it is the
// native module, whose protocol this file speaks: it is given generators, which yield tasks.
//   DUROXIDE_STORE    sqlite or postgres
//   DUROXIDE_LOOPS    loops for orchestrations, loops for activities, milliseconds between their looks: 4,8,100
import { createRequire } from 'node:module';
import { mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { sleep } from '../lib/load.mjs';
import { emptyDatabase, serverProcess, urlOf } from '../lib/postgres.mjs';

const native = createRequire(import.meta.url)('duroxide-linux-x64-gnu');
const onSqlite = process.env.DUROXIDE_STORE === 'sqlite';
const database = 'bench_duroxide';
const folder = join(process.env.PEERS_FOLDER, 'duroxide');
const statusPollMs = 10;
const waitMs = 900_000;

// --- Orchestrations ------------------------------------------------------------------------------------

const activity = (input = null) => ({ type: 'activity', name: 'noOp', input: JSON.stringify(input) });
/** A queued event waits for whoever takes it; of the other kind one that comes too early is lost. */
const event = (queueName) => ({ type: 'dequeueEvent', queueName });

const orchestrations = {
  *'three-step'() {
    yield activity();
    yield activity();
    return yield activity();
  },
  *approval(id) {
    yield event('Submit');
    yield activity();
    native.orchestrationSetCustomStatus(id, 'submitted'); // what others can see
    const decision = yield event('Decision');
    yield activity();
    return decision === 'Approve' ? 'approved' : 'rejected';
  },
  *'fan-out'(_, width) {
    const results = yield { type: 'join', tasks: Array.from({ length: width }, (_, index) => activity(index)) };
    return results.length;
  },
  *parked() {
    yield event('Go');
    return yield activity();
  },
};

// --- What the native module calls ------------------------------------------------------------------------

const running = new Map();
let generators = 0;

function step(generatorId, advance) {
  try {
    const { value, done } = advance(running.get(generatorId));
    if (!done) return JSON.stringify({ status: 'yielded', generatorId, task: value });
    running.delete(generatorId);
    return JSON.stringify({ status: 'completed', output: JSON.stringify(value ?? null) });
  } catch (error) {
    running.delete(generatorId);
    return JSON.stringify({ status: 'error', message: String(error.stack ?? error) });
  }
}

function create(request) {
  const { ctxInfo, input } = JSON.parse(request);
  const id = ++generators;
  running.set(id, orchestrations[ctxInfo.orchestrationName](ctxInfo.instanceId, input ? JSON.parse(input) : undefined));
  return step(id, (generator) => generator.next());
}

/** Results come as JSON, as they were given, or as JSON of that. */
function valueOf(text) {
  try {
    return valueOf(JSON.parse(text));
  } catch {
    return text;
  }
}

function next(request) {
  const { generatorId, result, isError } = JSON.parse(request);
  return step(generatorId, (generator) =>
    isError ? generator.throw(new Error(String(result))) : generator.next(valueOf(result)),
  );
}

function dispose(generatorId) {
  running.delete(Number(generatorId));
  return 'ok';
}

// --- The peer ----------------------------------------------------------------------------------------------

let client;
let runtime;

async function connect() {
  if (onSqlite) {
    const store = await native.JsSqliteProvider.open(`sqlite:${join(folder, 'bench.db')}`);
    return { client: new native.JsClient(store), runtimeWith: (options) => new native.JsRuntime(store, options) };
  }
  const store = await native.JsPostgresProvider.connectWithSchema(urlOf(database), 'duroxide');
  return {
    client: native.JsClient.fromPostgres(store),
    runtimeWith: (options) => native.JsRuntime.fromPostgres(store, options),
  };
}

export async function reset() {
  if (!onSqlite) return emptyDatabase(database);
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder);
}

export async function startApp() {
  const options = { logLevel: 'error' };
  if (process.env.DUROXIDE_LOOPS) {
    const [orchestrationConcurrency, workerConcurrency, dispatcherPollIntervalMs] =
      process.env.DUROXIDE_LOOPS.split(',').map(Number);
    Object.assign(options, { orchestrationConcurrency, workerConcurrency, dispatcherPollIntervalMs });
  }
  const connection = await connect();
  client = connection.client;
  runtime = connection.runtimeWith(options);
  runtime.setGeneratorDriver(create, next, dispose);
  runtime.registerActivity('noOp', async () => '"ok"');
  for (const name of Object.keys(orchestrations)) runtime.registerOrchestration(name);
  await runtime.start();
}

export const stopApp = () => runtime.shutdown(1_000);
export const processes = () => ({ ...(onSqlite ? {} : serverProcess()), app: process.pid });

/** The store has those of one workload only. */
export async function completed() {
  const { completedInstances } = await (await connect()).client.getSystemMetrics();
  return completedInstances;
}

async function result(id) {
  const ended = await client.waitForOrchestration(id, waitMs);
  if (ended.status !== 'Completed') throw new Error(`${id} is ${JSON.stringify(ended)}`);
  return JSON.parse(ended.output);
}

export async function threeStep(id) {
  await client.startOrchestration(id, 'three-step', 'null');
  return result(id);
}

export async function fanOut(id, width) {
  await client.startOrchestration(id, 'fan-out', JSON.stringify(width));
  return result(id);
}

export const approval = {
  start: (id) => client.startOrchestration(id, 'approval', 'null'),
  submit: (id) => client.enqueueEvent(id, 'Submit', '"user-1"'),
  submitted: (id) => client.waitForStatusChange(id, 0, statusPollMs, waitMs),
  approve: (id) => client.enqueueEvent(id, 'Decision', '"Approve"'),
  result,
};

export const parked = {
  start: (id) => client.startOrchestration(id, 'parked', 'null'),
  async settled() {
    for (;;) {
      const { orchestratorQueue, workerQueue } = await client.getQueueDepths();
      if (orchestratorQueue + workerQueue === 0) return;
      await sleep(250);
    }
  },
  wake: (id) => client.enqueueEvent(id, 'Go', '"go"'),
  result,
};
