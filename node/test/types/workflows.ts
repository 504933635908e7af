// Definitions and handles: what must compile, and, behind each @ts-expect-error, what must not. Read
// by scripts/check_types; nothing of it runs.
import {
  defineWorkflow,
  getWorkflowRuntime,
  type EventsOf,
  type ExecutionState,
  type InputOf,
  type ReceivedEvent,
  type ResultOf,
  type WorkflowContext,
  type WorkflowDefinition,
  type WorkflowHandle,
} from 'pawl';

/** Compiles if they are one type; `any` is one with `any` only. */
type Same<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;
declare function same<A, B>(is: Same<A, B>): void;

type Events = {
  Approve: { by: string };
  Reject: { by: string; reason: string };
  Remind: undefined;
  Note: string | undefined;
};
interface Order {
  amount: number;
  note?: string;
}
type Receipt = { entry: number };

// --- Typed definitions. ---------------------------------------------------------------------------

const review = defineWorkflow<Events, Order, Receipt>(
  { name: 'Review', version: '1.2.0', tags: ['finance'] },
  async (context) => {
    same<typeof context, WorkflowContext<Events, Order>>(true);
    const { input, events, any, sleep, signal } = context;
    same<typeof input.amount, number>(true);
    // @ts-expect-error: the input has no such member
    input.price;
    // @ts-expect-error: the input can't be replaced
    context.input = { amount: 1 };

    const decision = await events.waitFor(['Approve', 'Reject'], { timeout: '3d', signal });
    same<typeof decision.name, 'Approve' | 'Reject'>(true);
    // @ts-expect-error: that is of one of the two only
    decision.payload.reason;
    if (decision.name === 'Reject') {
      same<typeof decision, ReceivedEvent<'Reject', Events['Reject']>>(true);
      same<typeof decision.payload.reason, string>(true);
    } else {
      same<typeof decision.payload, { by: string }>(true);
      // @ts-expect-error: that is of the other event
      decision.payload.reason;
    }
    // @ts-expect-error: nobody waits for that here
    if (decision.name === 'Remind') return { entry: 0 };

    const approved = await events.waitFor('Approve');
    same<typeof approved, ReceivedEvent<'Approve', { by: string }>>(true);
    const some = ['Approve', 'Remind'] as const;
    same<Awaited<ReturnType<typeof events.waitFor<(typeof some)[number]>>>['name'], 'Approve' | 'Remind'>(true);
    (await events.waitFor(some)).name satisfies 'Approve' | 'Remind';
    (await events.waitFor('Remind')).payload satisfies undefined;
    // @ts-expect-error: no such event
    await events.waitFor('Aprove');
    // @ts-expect-error: one of them is no such event
    await events.waitFor(['Approve', 'Aprove']);
    // @ts-expect-error: no such option
    await events.waitFor('Approve', { timeOut: '3d' });
    // @ts-expect-error: no duration
    await events.waitFor('Approve', { timeout: true });

    await events.emit('Approve', { by: 'policy' });
    await events.emit('Remind');
    await events.emit('Note', 'a word');
    // @ts-expect-error: no such event
    await events.emit('Aprove', { by: 'policy' });
    // @ts-expect-error: another payload
    await events.emit('Approve', { by: 7 });
    // @ts-expect-error: without its payload
    await events.emit('Approve');

    const first = await any([events.waitFor('Approve'), sleep('1d')]);
    // @ts-expect-error: it may be the sleep
    first.name;
    first?.payload.by satisfies string | undefined;
    context.data.get<{ x: number }>('k').x satisfies number;
    context.data.get('untyped').whatever.it.is;
    // @ts-expect-error: a state is text
    context.setState(1);
    return { entry: 4711 };
  },
);

same<typeof review, WorkflowDefinition<Events, Order, Receipt>>(true);
same<EventsOf<typeof review>, Events>(true);
same<InputOf<typeof review>, Order>(true);
same<ResultOf<typeof review>, Receipt>(true);
review.metadata.name satisfies string;
// @ts-expect-error: a definition does not change
review.version = '2';

// @ts-expect-error: it returns something else
defineWorkflow<Events, Order, Receipt>('Wrong', async () => ({ entry: 'four' }));
// @ts-expect-error: it returns nothing
defineWorkflow<Events, Order, Receipt>('Wrong', async () => {});
// @ts-expect-error: a workflow is asynchronous
defineWorkflow('Wrong', () => 5);
// @ts-expect-error: a version is text
defineWorkflow({ name: 'Wrong', version: 2 }, async () => {});
// @ts-expect-error: a workflow has a name
defineWorkflow({ version: '2.0.0' }, async () => {});
// @ts-expect-error: events are an object type
defineWorkflow<'Approve' | 'Reject'>('Wrong', async () => {});

// --- Events as an interface; some of the type arguments. ------------------------------------------

interface ReminderEvents {
  Stop: { by: string };
}
const reminder = defineWorkflow<ReminderEvents>('Reminder', async ({ events, input }) => {
  input.anything.goes;
  return (await events.waitFor('Stop')).payload.by;
});
same<EventsOf<typeof reminder>, ReminderEvents>(true);
same<InputOf<typeof reminder>, any>(true);
same<ResultOf<typeof reminder>, any>(true);

// --- Untyped ones. --------------------------------------------------------------------------------

const untyped = defineWorkflow('Untyped', async (context: WorkflowContext) => {
  const event = await context.events.waitFor(['A', 'B']);
  same<typeof event.name, 'A' | 'B'>(true);
  same<typeof event.payload, any>(true);
  (await context.events.waitFor('C')).payload.whatever.it.is;
  const names: string[] = ['A'];
  same<typeof context.input, any>(true);
  (await context.events.waitFor(names)).name satisfies string;
  await context.events.emit('Anything');
  await context.events.emit('Anything', { goes: true });
  context.input.amount;
  return { entry: 1 };
});
same<InputOf<typeof untyped>, any>(true);
// The result is what the function returns, without a type argument too.
same<ResultOf<typeof untyped>, { entry: number }>(true);
defineWorkflow('Inferred', async ({ events, input }) => (await events.waitFor('A')).payload + input.b);

/** Code shared by workflows says which events it needs. */
async function decide({ events }: WorkflowContext<Pick<Events, 'Approve' | 'Reject'>>): Promise<boolean> {
  return (await events.waitFor(['Approve', 'Reject'])).name === 'Approve';
}
defineWorkflow<Events, Order, boolean>('Shared', async (context) => decide(context));

// --- Starting. ------------------------------------------------------------------------------------

const runtime = getWorkflowRuntime();
const tenant = 'acme';
for (const definition of [review, reminder, untyped]) runtime.registerWorkflow(definition);

async function start(): Promise<void> {
  const initialData = { amount: 10 };
  (await runtime.startWorkflow(review, { tenant, initialData })) satisfies string;
  await runtime.startWorkflow(review, { tenant, initialData, executionId: 'r-1', userId: 'ann', correlationId: 'c' });
  // @ts-expect-error: without its input
  await runtime.startWorkflow(review, { tenant });
  // @ts-expect-error: another input
  await runtime.startWorkflow(review, { tenant, initialData: { amount: 'ten' } });
  // @ts-expect-error: part of the input is missing
  await runtime.startWorkflow(review, { tenant, initialData: { note: 'x' } });
  // @ts-expect-error: more than the input
  await runtime.startWorkflow(review, { tenant, initialData: { amount: 1, price: 2 } });
  // @ts-expect-error: the version is the definition's
  await runtime.startWorkflow(review, { tenant, initialData, version: '1.0.0' });
  // @ts-expect-error: every call names a tenant
  await runtime.startWorkflow(review, { initialData });
  // @ts-expect-error: that is no definition
  await runtime.startWorkflow({ name: 'Review' }, { tenant, initialData });

  await runtime.startWorkflow(untyped, { tenant });
  await runtime.startWorkflow(untyped, { tenant, initialData: 'anything' });
  await runtime.startWorkflow(reminder, { tenant });
  const optional = defineWorkflow<{}, Order | undefined>('Optional', async () => {});
  await runtime.startWorkflow(optional, { tenant });
  await runtime.startWorkflow(optional, { tenant, initialData });
  // @ts-expect-error: another input
  await runtime.startWorkflow(optional, { tenant, initialData: 5 });

  // By name, everything is as it comes.
  await runtime.startWorkflow('Review', { tenant });
  await runtime.startWorkflow('Review', { tenant, version: '1.0.0', initialData: 'anything' });
  await runtime.startWorkflow<Order>('Review', { tenant, initialData });
  // @ts-expect-error: not the input that was named
  await runtime.startWorkflow<Order>('Review', { tenant, initialData: 5 });
}

// --- Handles. -------------------------------------------------------------------------------------

async function use(): Promise<void> {
  const handle = runtime.getHandle(review, 'r-1', tenant);
  same<typeof handle, WorkflowHandle<Events, Receipt>>(true);

  const answer = await handle.submitEvent('Approve', { by: 'ann' }, { userId: 'ann', idempotencyKey: 'k' });
  answer.consumed satisfies boolean;
  (await handle.enqueueEvent('Reject', { by: 'ann', reason: 'late' })).processingId satisfies string;
  await handle.submitEvent('Remind');
  await handle.submitEvent('Remind', undefined, { userId: 'ann' });
  await handle.enqueueEvent('Note');
  await handle.enqueueEvent('Note', 'a word');
  // @ts-expect-error: no such event
  await handle.submitEvent('Aprove', { by: 'ann' });
  // @ts-expect-error: no such event
  await handle.enqueueEvent('approve', { by: 'ann' });
  // @ts-expect-error: without its payload
  await handle.submitEvent('Approve');
  // @ts-expect-error: another payload
  await handle.submitEvent('Approve', { by: 7 });
  // @ts-expect-error: the payload of another event
  await handle.enqueueEvent('Reject', { by: 'ann' });
  // @ts-expect-error: more than the payload
  await handle.submitEvent('Approve', { by: 'ann', reason: 'late' });
  // @ts-expect-error: it has no payload
  await handle.submitEvent('Remind', { by: 'ann' });
  // @ts-expect-error: no such option
  await handle.submitEvent('Approve', { by: 'ann' }, { user_id: 'ann' });

  // A name that may be one of two takes what fits both.
  const either = Math.random() < 0.5 ? 'Approve' : 'Reject';
  await handle.submitEvent(either, { by: 'ann', reason: 'late' });
  // @ts-expect-error: it does not fit one of them
  await handle.submitEvent(either, { by: 'ann' });

  const state = await handle.getState({ atSequence: 3 });
  same<typeof state, ExecutionState<Receipt>>(true);
  same<typeof state.result, Receipt | undefined>(true);
  same<ReturnType<typeof handle.result>, Promise<Receipt>>(true);
  (await handle.result({ maxWait: '1m' })).entry satisfies number;
  // @ts-expect-error: the result has no such member
  (await handle.result()).customer;
  (await handle.waitForCompletion()).result?.entry satisfies number | undefined;
  (await handle.getHistory())[0]?.type satisfies string | undefined;

  // @ts-expect-error: that is no definition
  runtime.getHandle({ name: 'Review' }, 'r-1', tenant);
  // @ts-expect-error: without a tenant
  runtime.getHandle(review, 'r-1');

  const plain: WorkflowHandle = runtime.getHandle('r-1', tenant);
  await plain.submitEvent('Whatever');
  await plain.submitEvent('Whatever', { goes: true }, { userId: 'ann' });
  same<Awaited<ReturnType<typeof plain.result>>, any>(true);
  (await plain.getState()).result.whatever;
  // @ts-expect-error: without a tenant
  runtime.getHandle('r-1');

  // Each can be kept where less is known.
  const handles: WorkflowHandle[] = [plain, handle];
  const definitions: WorkflowDefinition[] = [review, reminder, untyped];
  const states: ExecutionState[] = [state];
  void [handles, definitions, states];
}

void [start, use];
