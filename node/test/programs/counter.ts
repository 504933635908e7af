// Starts executions that increment counters by a database action, and ends what is open; 'all' tells what all came
// to. The counters are in the database of the store, or in the one that PAWL_TEST_POSTGRES says. Killed by
// PAWL_CRASH_POINT, or as PAWL_TEST_KILL_AT says: when so many queries of PostgreSQL were sent or answered; stopped
// then where that ends in ":stop".
import knexModule from 'knex';
import { createActionRegistry, defineWorkflow, getWorkflowRuntime, TransactionIsolationLevel, type WorkflowContext } from 'pawl';

const [, , store, first, count, all] = process.argv;
const registry = createActionRegistry();
registry.registerAction(
  {
    name: 'Increment',
    isolation: TransactionIsolationLevel.SERIALIZABLE,
    parameters: [{ name: 'id', type: 'string', required: true }],
    // All that were interrupted go on at once, and meet at one row.
    retry: { maxAttempts: 1000, initialInterval: 10, maxInterval: 1000 },
  },
  async ({ id }, { transaction }) => {
    for (const counter of [id, 'all']) {
      await transaction('counters').insert({ id: counter, n: 1 }).onConflict('id').merge({ n: transaction.raw('counters.n + 1') });
    }
    return (await transaction('counters').where({ id }).first()).n;
  },
);
const url = process.env['PAWL_TEST_POSTGRES'];
const postgres = url === undefined ? undefined : knexModule({ client: 'pg', connection: url });
const runtime = getWorkflowRuntime(registry, {
  store: store!,
  lease: '500ms',
  log: () => {},
  ...(postgres === undefined ? {} : { database: postgres }),
});
runtime.registerWorkflow(
  defineWorkflow('Count', async ({ actions, executionId }: WorkflowContext) => {
    await actions['increment']!({ id: executionId });
    return actions['increment']!({ id: executionId });
  }),
);
const { database } = runtime;
if (!(await database.schema.hasTable('counters'))) {
  await database.raw('CREATE TABLE IF NOT EXISTS counters(id TEXT PRIMARY KEY, n INTEGER NOT NULL)');
}
await runtime.startWorker();
const [at, stop] = (process.env['PAWL_TEST_KILL_AT'] ?? 'Infinity').split(':');
let steps = Number(at);
for (const event of ['query', 'query-response']) {
  database.on(event, () => {
    if (--steps === 0) process.kill(process.pid, stop === undefined ? 'SIGKILL' : 'SIGSTOP');
  });
}
/** What was under way where another worker took over is asked for again. */
async function untilKnown<T>(call: () => Promise<T>): Promise<T> {
  for (;;) {
    try {
      return await call();
    } catch (error) {
      if (!['outcome_unknown', 'store_unavailable'].includes((error as { code: string }).code)) throw error;
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }
}
for (let i = Number(first); i < Number(first) + Number(count); i++) {
  await untilKnown(() => runtime.startWorkflow('Count', { tenant: 'acme', executionId: `count-${i}` }));
}
const seen = { executions: 0, completed: 0 };
let cursor: string | undefined;
do {
  const page = await runtime.listExecutions({ tenant: 'acme', limit: 1000, ...(all ? {} : { status: 'running' }), ...(cursor === undefined ? {} : { cursor }) });
  for (const { executionId } of page.executions) {
    const { status, result } = await untilKnown(() => runtime.waitForWorkflowCompletion(executionId, 'acme'));
    seen.executions++;
    if (status === 'completed' && result === 2) seen.completed++;
  }
  cursor = page.cursor;
} while (cursor !== undefined);
if (all !== undefined) {
  const total = await database('counters').where('id', 'all').first();
  const own = (await database('counters').whereNot('id', 'all').where('n', 2)).length;
  console.log(JSON.stringify({ ...seen, all: total.n, own }));
}
await runtime.close();
await postgres?.destroy();
