// A worker of the cluster: one process of as many as there are. All it shares with the others is PostgreSQL, and Redis
// where there is one.
//
//   PAWL_STORE=postgresql://… PAWL_REDIS=redis://… node --import tsx orders.ts
import { randomInt } from 'node:crypto';
import { setTimeout as pause } from 'node:timers/promises';
import { createActionRegistry, defineWorkflow, getWorkflowRuntime, type WorkflowContext } from 'pawl';

const registry = createActionRegistry();

// What a handler does outside is done again where its process is killed in between: under the same key, by which the
// warehouse knows it.
registry.registerSimpleAction('reserveStock', 'Sets the goods aside', [], async (_, { idempotencyKey }) => {
  await pause(randomInt(5));
  return { reservation: idempotencyKey };
});
registry.registerSimpleAction('ship', 'Hands the parcel over', [], async (_, { idempotencyKey }) => {
  await pause(randomInt(5));
  return { parcel: idempotencyKey };
});

const order = defineWorkflow('Order', async ({ actions, events, setState }: WorkflowContext) => {
  setState('reserving');
  const { reservation } = await actions.reserveStock!();
  setState('awaiting_payment');
  const { payload } = await events.waitFor('Paid', { timeout: '1h' });
  setState('shipping');
  const { parcel } = await actions.ship!();
  setState('shipped');
  return { reservation, parcel, paid: payload.amount };
});

const runtime = getWorkflowRuntime(registry, { lease: '2s', log: () => {} });
runtime.registerWorkflow(order);
await runtime.startWorker();
console.log('at work');
process.once('SIGTERM', () => void runtime.close({ drain: '5s' }));
