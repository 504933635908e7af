// From a purchase to its payment: checks in parallel, a budget, an approval with a deadline and somebody above who is
// asked next, a payment that is booked once, and what undoes all of it when no courier can be had.
//
//   node --import tsx purchase_to_payment.ts        runs one purchase of each kind and prints what became of them
import {
  CancelledError,
  defineWorkflow,
  getActionRegistry,
  getWorkflowRuntime,
  NonRetryableError,
  TimeoutError,
  TransactionIsolationLevel,
  type ActionRegistry,
  type Duration,
  type WorkflowContext,
  type WorkflowRuntime,
} from 'pawl';

// --- what it speaks of ------------------------------------------------------------------------------

export interface Order {
  id: string;
  department: string;
  supplier: string;
  address: string;
  items: { name: string; quantity: number; cents: number }[];
}

export interface Purchase {
  order: Order;
  /** How long the manager has, and then the director. */
  approvalWithin?: [Duration, Duration];
}

export type Outcome = 'invalid' | 'over budget' | 'rejected' | 'not decided' | 'not delivered' | 'delivered';

type Context = WorkflowContext<{ Approve: unknown; Reject: unknown }, Purchase>;

/** From this sum on somebody has to approve. */
const approvalFromCents = 100_000;

/** Who is asked, and who when that one does not answer in time. */
const approvers = ['manager', 'director'] as const;

// --- the workflow -----------------------------------------------------------------------------------

export const purchaseToPayment = defineWorkflow('PurchaseToPayment', async (context: Context) => {
  const { input, actions, compensations, setState, data } = context;
  const { order, approvalWithin = ['3d', '2d'] } = input;
  const end = (outcome: Outcome) => {
    setState(outcome);
    return outcome;
  };
  try {
    setState('validating');
    const [supplier, items] = await Promise.all([
      actions['checkSupplier']!({ supplier: order.supplier }),
      actions['checkItems']!({ items: order.items }),
    ]);
    if (!supplier.known || items.problems.length > 0) {
      data.set('problems', [...(supplier.known ? [] : ['unknown supplier']), ...items.problems]);
      return end('invalid');
    }
    const { cents } = items;

    setState('budgeting');
    const { department } = order;
    const { reserved } = await actions['reserveBudget']!({ department, cents });
    if (!reserved) return end('over budget');
    compensations.add('releaseBudget', { department, cents });

    if (cents >= approvalFromCents) {
      const decision = await decide(context, approvalWithin);
      if (decision !== 'Approve') {
        await compensations.run();
        return end(decision === 'Reject' ? 'rejected' : 'not decided');
      }
    }

    setState('paying');
    await actions['payForOrder']!({ order: order.id, supplier: order.supplier, cents });
    compensations.add('refund', { order: order.id });

    setState('delivering');
    const { courier } = await actions['bookCourier']!({ order: order.id, address: order.address });
    data.set('courier', courier);
    return end('delivered');
  } catch (error) {
    // A courier that can't be had, or somebody who cancels it: what was done is undone, the last first.
    setState('undoing');
    await compensations.run();
    if (error instanceof CancelledError || (error as Error).name === 'CancelledError') throw error;
    data.set('why', (error as Error).message);
    return end('not delivered');
  }
});

/** What the first says who answers in time; undefined: nobody does. */
async function decide(
  { input, actions, events, setState, data }: Context,
  within: [Duration, Duration],
): Promise<string | undefined> {
  for (const [i, approver] of approvers.entries()) {
    await actions['sendNotification']!({ recipient: approver, message: `May we buy ${input.order.id}?` });
    setState(`awaiting ${approver}`);
    try {
      const decision = await events.waitFor(['Approve', 'Reject'], { timeout: within[i]! });
      data.set('decidedBy', decision.user_id ?? approver);
      return decision.name;
    } catch (error) {
      if ((error as Error).name !== TimeoutError.name) throw error;
    }
  }
  return undefined;
}

// --- its actions ------------------------------------------------------------------------------------

const suppliers = new Set(['Paper & Sons', 'Desks Unlimited']);

/** Those that write do so in the database of the store: each is done once, whatever happens in between. */
export function registerPurchaseActions(registry: ActionRegistry): void {
  registry.registerSimpleAction(
    'CheckSupplier', 'Whether we buy from them', [{ name: 'supplier', type: 'string', required: true }],
    ({ supplier }) => ({ known: suppliers.has(supplier) }),
  );
  registry.registerSimpleAction(
    'CheckItems', 'What it costs, and what is wrong with it', [{ name: 'items', type: 'array', required: true }],
    ({ items }: { items: Order['items'] }) => ({
      problems: items.filter(({ quantity }) => !(quantity > 0)).map(({ name }) => `how many of '${name}'?`),
      cents: items.reduce((sum, { quantity, cents }) => sum + quantity * cents, 0),
    }),
  );

  const department = { name: 'department', type: 'string', required: true } as const;
  const cents = { name: 'cents', type: 'number', required: true } as const;
  const order = { name: 'order', type: 'string', required: true } as const;
  const supplier = { name: 'supplier', type: 'string', required: true } as const;
  const { SERIALIZABLE } = TransactionIsolationLevel;
  registry.registerDatabaseAction(
    'ReserveBudget', 'Takes it off what a department may spend', [department, cents], SERIALIZABLE,
    async ({ department: of, cents: wanted }, { transaction }) => ({
      reserved:
        (await transaction('budgets').where('department', of).where('cents', '>=', wanted).decrement('cents', wanted)) === 1,
    }),
  );
  registry.registerDatabaseAction(
    'ReleaseBudget', 'Gives it back', [department, cents], SERIALIZABLE,
    async ({ department: of, cents: taken }, { transaction }) => {
      await transaction('budgets').where('department', of).increment('cents', taken);
    },
  );
  registry.registerDatabaseAction(
    'PayForOrder', 'Books the payment', [order, supplier, cents], SERIALIZABLE,
    async ({ order: of, supplier: to, cents: paid }, { transaction }) => {
      await transaction('payments').insert({ order_id: of, supplier: to, cents: paid });
    },
  );
  registry.registerDatabaseAction(
    'Refund', 'Takes the payment back', [order], SERIALIZABLE,
    async ({ order: of }, { transaction }) => {
      await transaction('payments').where('order_id', of).del();
    },
  );
  registry.registerSimpleAction(
    'BookCourier', 'Has it brought', [order, { name: 'address', type: 'string', required: true }],
    ({ address }) => {
      if (address === '') throw new NonRetryableError('no courier goes nowhere');
      return { courier: 'Quick' };
    },
  );
}

/** Where they are not there yet. */
export async function createTables({ database }: WorkflowRuntime): Promise<void> {
  await database.raw('CREATE TABLE IF NOT EXISTS budgets(department TEXT PRIMARY KEY, cents INTEGER NOT NULL)');
  await database.raw(
    'CREATE TABLE IF NOT EXISTS payments(order_id TEXT PRIMARY KEY, supplier TEXT NOT NULL, cents INTEGER NOT NULL)',
  );
  await database('budgets').insert({ department: 'office', cents: 500_000 }).onConflict('department').ignore();
}

// --- one of each kind -------------------------------------------------------------------------------

export interface Sample extends Purchase {
  /** What a client does, when the execution is in that state. */
  when?: [state: string, event: string];
  outcome: Outcome;
}

function order(id: string, euros: number, more: Partial<Order> = {}): Order {
  const items = [{ name: 'desk', quantity: 2, cents: euros * 50 }];
  return { id, department: 'office', supplier: 'Desks Unlimited', address: '1 Main Street', items, ...more };
}

export const samples: Sample[] = [
  { order: order('small', 200), outcome: 'delivered' },
  { order: order('stranger', 200, { supplier: 'Nobody' }), outcome: 'invalid' },
  { order: order('dear', 9_000), outcome: 'over budget' },
  { order: order('approved', 1_500), when: ['awaiting manager', 'Approve'], outcome: 'delivered' },
  { order: order('rejected', 1_500), when: ['awaiting manager', 'Reject'], outcome: 'rejected' },
  { order: order('escalated', 1_100), approvalWithin: [30, '1d'], when: ['awaiting director', 'Approve'], outcome: 'delivered' },
  { order: order('undecided', 1_200), approvalWithin: [30, 30], outcome: 'not decided' },
  { order: order('unreachable', 300, { address: '' }), outcome: 'not delivered' },
];

async function main(): Promise<void> {
  registerPurchaseActions(getActionRegistry());
  const runtime = getWorkflowRuntime();
  runtime.registerWorkflow(purchaseToPayment);
  await createTables(runtime);
  const tenant = 'acme';
  for (const { order: bought, approvalWithin, when } of samples) {
    const executionId = await runtime.startWorkflow('PurchaseToPayment', {
      tenant,
      initialData: { order: bought, ...(approvalWithin === undefined ? {} : { approvalWithin }) },
    });
    if (when !== undefined) {
      while ((await runtime.getExecutionState(executionId, tenant)).currentState !== when[0]) {
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
      await runtime.submitEvent({ execution_id: executionId, event_name: when[1], tenant, user_id: 'mia' });
    }
    const { result, data } = await runtime.waitForWorkflowCompletion(executionId, tenant);
    const { decidedBy, courier, problems, why } = data as Record<string, unknown>;
    console.log(bought.id.padEnd(12), result, JSON.stringify({ decidedBy, courier, problems, why }));
  }
  console.table(await runtime.database('budgets'));
  console.table(await runtime.database('payments'));
  await runtime.close();
}

if (process.argv[1]?.endsWith('purchase_to_payment.ts')) await main();
