// What could not be delivered, and what operators make of it.
import assert from 'node:assert/strict';
import { after, before, test, type TestContext } from 'node:test';
import {
  ClosedError,
  defineWorkflow,
  InvalidArgumentError,
  openClient,
  WrongStatusError,
  type DeadLetter,
  type RuntimeOptions,
  type WorkflowContext,
  type WorkflowRuntime,
} from 'pawl';
import { Postgres } from './support/postgres.js';
import { setUp, until, type Setting } from './support/runtime.js';

const tenant = 'acme';

let server: Postgres;
before(async () => {
  server = await Postgres.start();
});
after(() => server?.end());

const order = defineWorkflow('Order', async ({ events }: WorkflowContext) => (await events.waitFor('Paid')).payload);
const sender = defineWorkflow('Sender', async ({ events, data }: WorkflowContext) => {
  events.emit('Paid', { at: '1970-01-01T00:00:00.000Z' }, { executionId: data.get('to') });
});

async function open(t: TestContext, options: RuntimeOptions = {}): Promise<Setting> {
  const setting = setUp(t, options);
  setting.runtime.registerWorkflow(order);
  setting.runtime.registerWorkflow(sender);
  await setting.runtime.startWorker();
  return setting;
}

function onBoth(name: string, tell: (setting: Setting, t: TestContext) => Promise<void>) {
  test(`${name}, in a file`, async (t) => tell(await open(t), t));
  test(`${name}, on a server`, async (t) => tell(await open(t, { store: await server.emptyUrl(), lease: '1s' }), t));
}

async function letters(runtime: Pick<WorkflowRuntime, 'listDeadLetters'>, count: number): Promise<DeadLetter[]> {
  return until(async () => (await runtime.listDeadLetters({ tenant })).letters, (all) => all.length === count);
}

function refusal(promise: Promise<unknown>): Promise<Error & { code: string }> {
  return promise.then(
    () => assert.fail('it was not refused'),
    (error: Error & { code: string }) => error,
  );
}

onBoth('an event for nobody is delivered once somebody is there', async ({ runtime }) => {
  const before = Date.now();
  await runtime.startWorkflow(sender, { tenant, executionId: 's', initialData: { to: 'order-7' } });
  const [letter] = await letters(runtime, 1);
  const { id, error, acceptedAt, eventId, ...rest } = letter!;
  assert.deepEqual(rest, {
    tenant, executionId: 'order-7', kind: 'event', name: 'Paid', attempts: 0, payload: { at: '1970-01-01T00:00:00.000Z' },
  });
  assert.match(error, /no execution 'order-7'/);
  assert.match(id, /^\d+$/);
  assert.ok(eventId !== '' && acceptedAt >= before - 1_000);

  assert.equal((await runtime.retryDeadLetter(id, tenant)).attempts, 1);
  assert.equal((await letters(runtime, 1))[0]!.attempts, 1, 'it was too early');
  await runtime.startWorkflow(order, { tenant, executionId: 'order-7', initialData: undefined });
  assert.equal((await runtime.retryDeadLetter(id, tenant)).attempts, 2);
  assert.deepEqual((await runtime.waitForWorkflowCompletion('order-7', tenant)).result, letter!.payload);
  assert.deepEqual(await letters(runtime, 0), []);

  const late = await refusal(runtime.retryDeadLetter(id, tenant));
  assert.ok(late instanceof WrongStatusError);
  assert.match(late.message, /it was delivered/);
});

onBoth('they are listed page by page, and dropped', async ({ runtime }) => {
  for (const to of ['a', 'a', 'b']) await runtime.startWorkflow(sender, { tenant, initialData: { to } });
  const all = await letters(runtime, 3);
  const page = await runtime.listDeadLetters({ tenant, limit: 2 });
  assert.deepEqual(page.letters, all.slice(0, 2));
  const { letters: last, cursor } = await runtime.listDeadLetters({ tenant, cursor: page.cursor! });
  assert.deepEqual(last, all.slice(2));
  assert.equal(cursor, undefined);
  assert.equal((await runtime.listDeadLetters({ tenant, executionId: 'b' })).letters.length, 1);
  assert.deepEqual((await runtime.listDeadLetters({ tenant: 'other' })).letters, []);

  const dropped = await runtime.dropDeadLetter(all[0]!.id, tenant);
  assert.deepEqual(dropped, all[0]);
  assert.deepEqual(await letters(runtime, 2), all.slice(1));
  for (const change of ['retryDeadLetter', 'dropDeadLetter'] as const) {
    const error = await refusal(runtime[change](all[0]!.id, tenant));
    assert.ok(error instanceof WrongStatusError);
    assert.match(error.message, /it was dropped/);
  }
});

onBoth('what makes no sense is refused', async ({ runtime }) => {
  for (const change of ['retryDeadLetter', 'dropDeadLetter'] as const) {
    for (const [id, of, says] of [
      ['4711', tenant, /no dead letter 4711 in tenant 'acme'/],
      ['one', tenant, /'one' is no id/],
      ['', tenant, /id of a dead letter must not be empty/],
      [17, tenant, /must be a string, not a number/],
      ['1', '', /tenant/],
      ['1', undefined, /tenant/],
    ] as any[]) {
      const error = await refusal(runtime[change](id, of));
      assert.ok(error instanceof InvalidArgumentError, String(error));
      assert.match(error.message, says);
    }
  }
  for (const [query, says] of [
    [{}, /tenant/],
    [{ tenant, limit: 0 }, /limit/],
    [{ tenant, limit: 1_001 }, /limit/],
    [{ tenant, cursor: 'next' }, /cursor/],
    [{ tenant, execution: 'a' }, /executionId/],
  ] as any[]) {
    assert.match((await refusal(runtime.listDeadLetters(query))).message, says);
  }
  await runtime.close();
  assert.ok((await refusal(runtime.listDeadLetters({ tenant }))) instanceof ClosedError);
});

test('a client beside the runtime lists, retries and drops', async (t) => {
  const { runtime, store } = await open(t);
  for (const to of ['order-7', 'nobody']) await runtime.startWorkflow(sender, { tenant, initialData: { to } });
  const client = await openClient(store);
  t.after(() => client.close());
  const all = await letters(client, 2);
  const of = (id: string) => all.find(({ executionId }) => executionId === id)!;
  await runtime.startWorkflow(order, { tenant, executionId: 'order-7', initialData: undefined });
  assert.equal((await client.retryDeadLetter(of('order-7').id, tenant)).attempts, 1);
  assert.deepEqual((await runtime.waitForWorkflowCompletion('order-7', tenant)).result, of('order-7').payload);
  assert.deepEqual(await client.dropDeadLetter(of('nobody').id, tenant), of('nobody'));
  assert.deepEqual(await letters(client, 0), []);
  assert.ok((await refusal(client.retryDeadLetter('4711', tenant))) instanceof InvalidArgumentError);
  assert.ok((await refusal(client.retryDeadLetter(of('order-7').id, tenant))) instanceof WrongStatusError);
});

test('one that is no worker retries what the owner then delivers', async (t) => {
  const store = await server.emptyUrl();
  const { runtime } = await open(t, { store, lease: '1s' });
  await runtime.startWorkflow(sender, { tenant, initialData: { to: 'order-7' } });
  const [letter] = await letters(runtime, 1);
  await runtime.startWorkflow(order, { tenant, executionId: 'order-7', initialData: undefined });
  await runtime.close();
  const { runtime: operator } = setUp(t, { store, lease: '1s' });
  assert.deepEqual((await operator.listDeadLetters({ tenant })).letters, [letter]);
  await operator.retryDeadLetter(letter!.id, tenant);
  assert.equal((await operator.getExecutionState('order-7', tenant)).status, 'running');
  await operator.close();
  const { runtime: next } = await open(t, { store, lease: '1s' });
  assert.deepEqual((await next.waitForWorkflowCompletion('order-7', tenant)).result, letter!.payload);
});
