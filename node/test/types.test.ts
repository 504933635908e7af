// What the type-checker knows. The checking is done by tsc, which reads this file with all others; a
// line that should not compile and does is an error there.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createActionRegistry, defineWorkflow, type StandardSchema, type WorkflowContext } from 'pawl';

type Events = { Approve: { by: string }; Reject: { reason: string } };

test('types follow the names of events, input and result', () => {
  const typed = defineWorkflow<Events, { amount: number }, string>('Typed', async ({ events, input, data, any, sleep }) => {
    const amount: number = input.amount;
    // @ts-expect-error: the input has no such member
    input.price;
    const decision = await events.waitFor(['Approve', 'Reject'], { timeout: '3d' });
    if (decision.name === 'Approve') {
      const by: string = decision.payload.by;
      // @ts-expect-error: that is of the other event
      decision.payload.reason;
      return by + amount;
    }
    const reason: string = decision.payload.reason;
    const one = await events.waitFor('Approve');
    one.payload.by satisfies string;
    // @ts-expect-error: nobody sends that
    await events.waitFor('Aprove');
    // @ts-expect-error: filters are not there
    await events.waitFor('Approve', { filter: () => true });
    data.get<{ x: number }>('k').x satisfies number;
    data.get('untyped').whatever.it.is;
    const first = await any([events.waitFor('Approve'), sleep(1)]);
    // @ts-expect-error: it may be void
    first.name;
    return reason;
  });
  typed.metadata.name satisfies string;

  defineWorkflow('Untyped', async (context: WorkflowContext) => {
    const event = await context.events.waitFor(['A', 'B']);
    event.name satisfies 'A' | 'B';
    event.payload.anything.goes;
    await context.actions['x']!({ a: 1 });
    // @ts-expect-error: comes later
    context.startChild;
  });

  // @ts-expect-error: a workflow is asynchronous
  defineWorkflow('Synchronous', () => 5);

  const schema = {
    '~standard': { version: 1, vendor: 'test', validate: (value: unknown) => ({ value: value as { n: number } }) },
  } satisfies StandardSchema<{ n: number }>;
  const registry = createActionRegistry();
  registry.registerSimpleAction('A', '', schema, async (params, context) => {
    params.n satisfies number;
    // @ts-expect-error: the schema gives no such member
    params.m;
    return context.attempt;
  });
  registry.registerSimpleAction('B', '', [{ name: 'n', type: 'number', required: true }], (params) => params.whatever);
  // @ts-expect-error: that is no type
  assert.throws(() => registry.registerSimpleAction('C', '', [{ name: 'n', type: 'text', required: true }], () => 1));
});
