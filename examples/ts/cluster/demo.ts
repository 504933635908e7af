// Three workers and a client, each a process of its own: 5,000 orders, of which none may be lost, though a worker is
// killed and Redis with all that it had. Checks at the end that it is true; exits with 1 if not.
import { strict as assert } from 'node:assert';
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { createActionRegistry, getWorkflowRuntime, type WorkflowRuntime } from 'pawl';
import { bold, dim, green, heading, red, say, table, yellow } from '../invoice-approval/terminal.js';
import { Database, Redis } from './servers.js';

const orders = Number(process.env.ORDERS ?? 5_000);
const atOnce = 100;
const tenant = 'acme';
const here = fileURLToPath(new URL('.', import.meta.url));
const folder = join(here, '../../../build/demo-cluster');
rmSync(folder, { recursive: true, force: true });

const begun = performance.now();
const seconds = () => `${((performance.now() - begun) / 1000).toFixed(1).padStart(5)} s`;
const tell = (text: string) => say(`${dim(seconds())}  ${text}`);

interface Worker {
  name: string;
  process: ChildProcess;
}

async function work(name: string, env: NodeJS.ProcessEnv): Promise<Worker> {
  const child = spawn(process.execPath, ['--import', 'tsx', 'orders.ts'], { cwd: here, env, stdio: ['ignore', 'pipe', 'inherit'] });
  const ended = once(child, 'exit').then(() => Promise.reject(new Error(`${name} ended before it was at work`)));
  await Promise.race([once(child.stdout!, 'data'), ended]);
  ended.catch(() => undefined);
  return { name: `${name} (pid ${child.pid})`, process: child };
}

/** What belongs to whom, by the pid in the names of the workers. */
function shares(database: Database): string {
  const rows = database.ask(
    "SELECT split_part(owner, '/', 2), count(*) FROM workflow_partitions WHERE expires_at > clock_timestamp() GROUP BY 1 ORDER BY 1",
  );
  return rows.map(([pid, count]) => `${count} to ${pid}`).join(', ');
}

async function wholeAgain(database: Database, owners: number): Promise<void> {
  const free = "SELECT count(DISTINCT owner), count(*) FILTER (WHERE owner IS NULL OR expires_at < clock_timestamp()) FROM workflow_partitions";
  for (;;) {
    const [[owning, left]] = database.ask(free) as [[string, string]];
    if (Number(owning) === owners && left === '0') return;
    await pause(50);
  }
}

const workers: Worker[] = [];
const progress = { started: 0, paid: 0, done: 0 };

async function play(runtime: WorkflowRuntime, number: number): Promise<void> {
  const executionId = `order-${number}`;
  await runtime.startWorkflow('Order', { tenant, executionId, initialData: { number } });
  progress.started++;
  const event = {
    execution_id: executionId, event_name: 'Paid', tenant, payload: { amount: number }, idempotency_key: 'payment',
  };
  // Told twice, as a payment provider would: it counts once.
  const { eventId } = await runtime.enqueueEvent(event);
  assert.equal((await runtime.enqueueEvent(event)).eventId, eventId);
  progress.paid++;
  const { status, result } = await runtime.waitForWorkflowCompletion(executionId, tenant);
  assert.equal(status, 'completed', executionId);
  assert.equal((result as { paid: number }).paid, number, executionId);
  progress.done++;
}

const reached = async (done: number) => {
  while (progress.done < done) await pause(20);
};

heading('The servers');
const database = await Database.start(folder);
const redis = await Redis.start();
process.once('exit', () => {
  for (const { process: child } of workers) child.kill('SIGKILL');
  void redis.kill();
  database.end();
});
say(`PostgreSQL at ${database.url}`);
say(`Redis at ${redis.url}`);

heading('Three workers, and a client that has none of their code');
const env = { ...process.env, PAWL_STORE: database.url, PAWL_REDIS: redis.url };
for (const name of ['worker 1', 'worker 2', 'worker 3']) workers.push(await work(name, env));
await wholeAgain(database, 3);
for (const { name } of workers) say(name);
say(`The store's 16 partitions: ${shares(database)}`);

heading(`${orders.toLocaleString('en')} orders, ${atOnce} at once`);
const client = getWorkflowRuntime(createActionRegistry(), { store: database.url, redis: redis.url, log: () => {} });
let next = 0;
const loadBegan = performance.now();
const clients = Array.from({ length: atOnce }, async () => {
  while (next < orders) await play(client, next++);
});
const ticking = setInterval(() => tell(dim(`${progress.started} started, ${progress.paid} paid, ${progress.done} shipped`)), 2_000);

await reached(Math.floor(orders * 0.25));
const victim = workers[1]!;
tell(red(`${bold(victim.name)} is killed, with ${progress.started - progress.done} orders under way`));
victim.process.kill('SIGKILL');
const killed = performance.now();
await wholeAgain(database, 2);
tell(green(`its partitions are the others' ${((performance.now() - killed) / 1000).toFixed(1)} s later: ${shares(database)}`));

await reached(Math.floor(orders * 0.5));
await redis.kill();
tell(red(`Redis is killed, and what it had is gone; ${progress.started - progress.done} orders under way`));
const without = progress.done;
await reached(Math.floor(orders * 0.6));
tell(yellow(`${progress.done - without} orders were shipped without it`));
await redis.begin();
tell(green('Redis is back, empty'));

await reached(Math.floor(orders * 0.75));
workers[1] = await work('worker 4', env);
tell(green(`${bold(workers[1].name)} joins`));
await wholeAgain(database, 3);
tell(`the partitions: ${shares(database)}`);

await Promise.all(clients);
clearInterval(ticking);
const took = (performance.now() - loadBegan) / 1000;
tell(green(`all ${orders.toLocaleString('en')} shipped, in ${took.toFixed(1)} s: ${Math.round(orders / took)} orders a second`));

heading('What is in the database');
const one = (sql: string) => database.ask(sql)[0]![0]!;
const checks: [what: string, sql: string, right: string][] = [
  ['orders', 'SELECT count(*) FROM workflow_executions', String(orders)],
  ['not completed', "SELECT count(*) FROM workflow_executions WHERE status <> 'completed'", '0'],
  ['payments taken', "SELECT count(*) FROM workflow_events WHERE event_type = 'EventReceived'", String(orders)],
  ['results of actions', 'SELECT count(*) FROM workflow_action_results', String(2 * orders)],
  ['histories with a gap', 'SELECT count(*) FROM (SELECT FROM workflow_events GROUP BY execution HAVING max(sequence) <> count(*)) gapped', '0'],
  ['events that wait', "SELECT count(*) FROM workflow_event_processing WHERE status NOT IN ('completed', 'failed')", '0'],
];
const found = checks.map(([what, sql, right]) => ({ what, is: one(sql), right }));
table(['', 'found', 'expected'], found.map(({ what, is, right }) => [what, is === right ? green(is) : red(is), right]));

await client.close();
for (const { process: child } of workers) child.kill('SIGTERM');
for (const { process: child } of workers) if (child.exitCode === null) await once(child, 'exit');
await redis.kill();
const wrong = found.filter(({ is, right }) => is !== right);
say();
if (wrong.length > 0) {
  say(red(`Wrong: ${wrong.map(({ what }) => what).join(', ')}`));
  process.exit(1);
}
say(green('Nothing was lost, and nothing done twice.'));
process.exit(0);
