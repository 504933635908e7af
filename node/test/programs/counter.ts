// Starts executions that increment counters by a database action, and ends all that there are. Killed by
// PAWL_CRASH_POINT. The counters are in the store's own database, or in the one that PAWL_TEST_POSTGRES says.
import knexModule from 'knex';
import { createActionRegistry, defineWorkflow, getWorkflowRuntime, TransactionIsolationLevel, type WorkflowContext } from 'pawl';

const [, , file, first, count] = process.argv;
const registry = createActionRegistry();
registry.registerDatabaseAction(
  'Increment', '', [{ name: 'id', type: 'string', required: true }], TransactionIsolationLevel.SERIALIZABLE,
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
  store: `sqlite:${file}`,
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
if (postgres !== undefined) console.log('counting');
for (let i = Number(first); i < Number(first) + Number(count); i++) {
  await runtime.startWorkflow('Count', { tenant: 'acme', executionId: `count-${i}` });
}
const { executions } = await runtime.listExecutions({ tenant: 'acme', limit: 1000 });
let completed = 0;
for (const { executionId } of executions) {
  const { status, result } = await runtime.waitForWorkflowCompletion(executionId, 'acme');
  if (status === 'completed' && result === 2) completed++;
}
const [{ n: all }] = await database('counters').where('id', 'all');
const own = (await database('counters').whereNot('id', 'all').where('n', 2)).length;
console.log(JSON.stringify({ completed, all, own }));
await runtime.close();
await postgres?.destroy();
