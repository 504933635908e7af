// An invoice approval, and the server that runs it. Copy this file to begin your own.
//
//   node --import tsx invoice_approval.ts
//   curl -X POST localhost:8080/invoices/inv-7 -d '{ "customer": "Ada", "amount": 1500 }'
//   curl -X POST localhost:8080/invoices/inv-7/Submit -d '{ "by": "ann" }'
//   curl -X POST localhost:8080/invoices/inv-7/Approve -d '{ "by": "mia" }'
//   curl localhost:8080/invoices/inv-7
//
// Kill it whenever you like and start it again: every invoice goes on where it was.
import { createServer } from 'node:http';
import { json } from 'node:stream/consumers';
import { defineWorkflow, getActionRegistry, getWorkflowRuntime, PawlError } from 'pawl';
import { accounting } from './accounting.js';

interface Invoice {
  customer: string;
  amount: number;
}

type Events = {
  Submit: { by: string };
  Approve: { by: string };
  Reject: { by: string; reason: string };
};

// What the actions take and give, for the type-checker: in the workflow and where they are registered.
declare module 'pawl' {
  interface ActionTypes {
    checkBudget: { parameters: { amount: number }; result: boolean };
    bookInvoice: { parameters: { invoice: string; amount: number }; result: number };
    payInvoice: { parameters: { invoice: string; customer: string }; result: void };
  }
}

// --- The workflow: one function, from the first draft to the payment, over days if need be. -------

export const invoiceApproval = defineWorkflow<Events, Invoice, string>(
  { name: 'InvoiceApproval', version: '1.0.0', description: 'From draft to payment' },
  async ({ executionId, input, actions, data, events, logger, setState }) => {
    setState('draft');
    const submitted = await events.waitFor('Submit');

    setState('checking');
    data.set('submittedBy', submitted.payload.by);
    data.set('covered', await actions.checkBudget({ amount: input.amount }));
    data.set('entry', await actions.bookInvoice({ invoice: executionId, amount: input.amount }));

    setState('waiting for approval');
    await actions.sendNotification({ recipient: 'manager', message: `Please look at ${executionId}` });
    const decision = await events.waitFor(['Approve', 'Reject'], { timeout: '30d' });

    // `name` tells which one it is, and with it the type of `payload`.
    if (decision.name === 'Reject') {
      setState('rejected');
      logger.info(`Rejected by ${decision.payload.by}: ${decision.payload.reason}`);
      return 'rejected';
    }
    await actions.payInvoice({ invoice: executionId, customer: input.customer });
    setState('paid');
    logger.info(`Approved by ${decision.payload.by} and paid`);
    return 'paid';
  },
);

// --- The actions: what the workflow does to the world. ---------------------------------------------
// An action may run again after a crash. Its idempotency key stays the same, so hand it on to whoever
// can tell a repetition by it.

const registry = getActionRegistry();

registry.registerSimpleAction(
  'CheckBudget',
  'Whether the budget covers an amount',
  [{ name: 'amount', type: 'number', required: true }],
  async ({ amount }, { idempotencyKey }) => accounting.checkBudget(idempotencyKey, amount),
);

registry.registerSimpleAction(
  'BookInvoice',
  'Enters an invoice into the books; gives the number of the entry',
  [
    { name: 'invoice', type: 'string', required: true },
    { name: 'amount', type: 'number', required: true },
  ],
  async ({ invoice, amount }, { idempotencyKey }) => accounting.book(idempotencyKey, invoice, amount),
);

registry.registerSimpleAction(
  'PayInvoice',
  'Transfers the money',
  [
    { name: 'invoice', type: 'string', required: true },
    { name: 'customer', type: 'string', required: true },
  ],
  async ({ invoice, customer }, { idempotencyKey }) =>
    accounting.pay(idempotencyKey, invoice, customer),
);

// --- The server: starts executions, sends events, reads states. ------------------------------------

const tenant = 'acme';
const runtime = getWorkflowRuntime(registry); // its store: PAWL_STORE, or sqlite:pawl.db
runtime.registerWorkflow(invoiceApproval);
await runtime.startWorker(); // opens the store and goes on with what was under way

const server = createServer(async (request, response) => {
  const answer = (status: number, body: unknown) => {
    response.writeHead(status, { 'content-type': 'application/json' });
    response.end(`${JSON.stringify(body)}\n`);
  };
  try {
    const { pathname, searchParams } = new URL(request.url ?? '/', 'http://localhost');
    const [, root, id, what] = pathname.split('/').map(decodeURIComponent);
    if (root !== 'invoices' || !id) return answer(404, { error: 'Try /invoices/ID' });
    if (request.method === 'GET') {
      if (what === 'history') return answer(200, await runtime.getHistory(id, tenant));
      const at = searchParams.get('at');
      const options = at === null ? {} : { atSequence: Number(at) };
      return answer(200, await runtime.getExecutionState(id, tenant, options));
    }
    const body = (await json(request)) as Invoice;
    if (what === undefined) {
      await runtime.startWorkflow(invoiceApproval, { tenant, executionId: id, initialData: body });
      return answer(201, { executionId: id });
    }
    const event = { execution_id: id, event_name: what, payload: body, tenant };
    return answer(200, await runtime.submitEvent(event));
  } catch (error) {
    if (!(error instanceof PawlError)) return answer(500, { error: String(error) });
    return answer(error.code === 'unknown_execution' ? 404 : 400, { error: error.message });
  }
});

server.listen(Number(process.env.PORT ?? 8080), '127.0.0.1', () => {
  const { port } = server.address() as { port: number };
  console.log(`serving on http://127.0.0.1:${port}`);
});

process.once('SIGTERM', async () => {
  server.close();
  await runtime.close();
});
