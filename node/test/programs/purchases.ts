// Makes the purchases of the example, told in one of several ways, and prints what became of them and of the money.
// Can be told again after it died at any moment.
//
//   purchases.ts STORE MODE     MODE: live, evicted, restarted
import { createActionRegistry, defineWorkflow, getWorkflowRuntime, type WorkflowContext, type WorkflowRuntime } from 'pawl';
import {
  createTables,
  purchaseToPayment,
  registerPurchaseActions,
  samples,
} from '../../../examples/ts/purchase-to-payment/purchase_to_payment.js';

const [, , store, mode] = process.argv as [string, string, string, string];
const tenant = 'acme';
const registry = createActionRegistry();
registerPurchaseActions(registry);
// Puts others out of memory, where one at most stays.
const other = defineWorkflow('Other', async ({ events }: WorkflowContext) => {
  for (;;) await events.waitFor('Stir');
});

async function open(): Promise<WorkflowRuntime> {
  const runtime = getWorkflowRuntime(registry, {
    store,
    lease: '500ms',
    log: () => {},
    ...(mode === 'evicted' ? { limits: { executionsCachedMax: 1, historyPageRecordsMax: 4 } } : {}),
  });
  runtime.registerWorkflow(purchaseToPayment);
  runtime.registerWorkflow(other);
  await runtime.startWorker();
  await createTables(runtime);
  await runtime.startWorkflow('Other', { tenant, executionId: 'other' });
  return runtime;
}

let runtime = await open();
async function between(): Promise<void> {
  if (mode === 'restarted') {
    await runtime.close();
    runtime = await open();
  } else if (mode === 'evicted') {
    await runtime.submitEvent({ execution_id: 'other', event_name: 'Stir', tenant });
  }
}

const endings: Record<string, unknown> = {};
for (const { order, approvalWithin, when } of samples) {
  const executionId = order.id;
  await runtime.startWorkflow('PurchaseToPayment', {
    tenant,
    executionId,
    initialData: { order, ...(approvalWithin === undefined ? {} : { approvalWithin }) },
  });
  await between();
  if (when !== undefined) {
    for (;;) {
      const { currentState, isComplete } = await runtime.getExecutionState(executionId, tenant);
      if (isComplete || currentState === when[0]) break;
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    await runtime
      .submitEvent({ execution_id: executionId, event_name: when[1], tenant, user_id: 'mia', idempotency_key: 'decision' })
      .catch((error: { code?: string }) => {
        if (error.code !== 'execution_ended') throw error;
      });
  }
  await between();
  const { status, result, currentState } = await runtime.waitForWorkflowCompletion(executionId, tenant);
  endings[executionId] = [status, result, currentState];
}
const money = {
  budgets: await runtime.database('budgets').select('department', 'cents'),
  payments: await runtime.database('payments').orderBy('order_id').select('order_id', 'cents'),
};
console.log(JSON.stringify({ endings, money }));
await runtime.close();
