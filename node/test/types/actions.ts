// Actions: what must compile, and, behind each @ts-expect-error, what must not. Read by
// scripts/check_types; nothing of it runs.
import {
  createActionRegistry,
  defineWorkflow,
  type ActionContext,
  type ActionParametersOf,
  type ActionResultOf,
  type StandardSchema,
} from 'pawl';

type Same<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;
declare function same<A, B>(is: Same<A, B>): void;

declare module 'pawl' {
  interface ActionTypes {
    chargeCard: { parameters: { card: string; amount: number }; result: { receipt: string } };
    NotifyBuyer: { parameters: { text?: string }; result: void };
    book_courier: { parameters: { weight: number }; result: string };
    ping: { result: number };
    audit: { parameters: { what: string } };
  }
}

// --- In workflows. --------------------------------------------------------------------------------

defineWorkflow('Actions', async ({ actions, compensations }) => {
  const charged = await actions.chargeCard({ card: 'c', amount: 1 }, { timeout: '5s', retry: { maxAttempts: 2 } });
  same<typeof charged, { receipt: string }>(true);
  // @ts-expect-error: the result has no such member
  charged.amount;
  // @ts-expect-error: without parameters
  await actions.chargeCard();
  // @ts-expect-error: part of the parameters is missing
  await actions.chargeCard({ card: 'c' });
  // @ts-expect-error: another type
  await actions.chargeCard({ card: 'c', amount: '1' });
  // @ts-expect-error: more than the parameters
  await actions.chargeCard({ card: 'c', amount: 1, currency: 'EUR' });
  // @ts-expect-error: no such option
  await actions.chargeCard({ card: 'c', amount: 1 }, { retries: 3 });

  // As it is listed, and in camelCase.
  await actions.NotifyBuyer();
  await actions.notifyBuyer({ text: 'sent' });
  // @ts-expect-error: another type
  await actions.notifyBuyer({ text: 5 });
  same<ReturnType<typeof actions.book_courier>, Promise<string>>(true);
  same<ReturnType<typeof actions.bookCourier>, Promise<string>>(true);
  // @ts-expect-error: another type
  await actions.bookCourier({ weight: 'heavy' });

  // What an entry leaves out is any.
  same<Awaited<ReturnType<typeof actions.ping>>, number>(true);
  await actions.ping();
  await actions.ping({ whatever: 1 });
  same<Awaited<ReturnType<typeof actions.audit>>, any>(true);
  // @ts-expect-error: another type
  await actions.audit({ what: 5 });

  // So is what is not listed.
  const anything = await actions['sendNotification']!({ recipient: 'ann', message: 'm' });
  same<typeof anything, any>(true);
  await actions['unknown']!();

  compensations.add('Charge_Card', { card: 'c', amount: 1 }, { timeout: '1s' });
  compensations.add('unlisted');
  compensations.add('unlisted', { any: 'thing' });
  // @ts-expect-error: it has parameters
  compensations.add('chargeCard');
  // @ts-expect-error: another type
  compensations.add('chargeCard', { card: 'c', amount: 'much' });

  const { chargeCard } = actions;
  (await chargeCard({ card: 'c', amount: 1 })).receipt satisfies string;
});

// --- In registries. -------------------------------------------------------------------------------

const registry = createActionRegistry();
const request = { tenant: 'acme', idempotencyKey: 'k' };

async function execute(name: string): Promise<void> {
  const parameters = { card: 'c', amount: 1 };
  for (const charged of [
    await registry.executeAction('chargeCard', { ...request, parameters }),
    await registry.executeAction('ChargeCard', { ...request, parameters }),
    await registry.executeAction('charge_card', { ...request, parameters }),
    await registry.executeAction('charge-card', { ...request, parameters }),
  ]) {
    same<typeof charged, { receipt: string }>(true);
  }
  // @ts-expect-error: without parameters
  await registry.executeAction('ChargeCard', request);
  // @ts-expect-error: another type
  await registry.executeAction('charge_card', { ...request, parameters: { card: 'c', amount: '1' } });
  // @ts-expect-error: without a key
  await registry.executeAction('chargeCard', { tenant: 'acme', parameters });
  // @ts-expect-error: the result is text
  (await registry.executeAction('BookCourier', { ...request, parameters: { weight: 1 } })).receipt;
  await registry.executeAction('notify_buyer', request);

  (await registry.executeAction('Unlisted', request)).whatever;
  (await registry.executeAction('Unlisted', { ...request, parameters: { any: 1 } })).whatever;
  (await registry.executeAction(name, { ...request, parameters })).whatever;
}
same<ActionParametersOf<'Book-Courier'>, { weight: number }>(true);
same<ActionResultOf<'BOOK_COURIER'>, string>(true);
same<ActionResultOf<'book'>, any>(true);
same<ActionParametersOf<string>, any>(true);

// A handler does what is listed under its name.
registry.registerSimpleAction('ChargeCard', '', [], async (params, context) => {
  same<typeof params, { card: string; amount: number }>(true);
  same<typeof context, ActionContext>(true);
  return { receipt: `${params.card}: ${params.amount}` };
});
registry.registerAction({ name: 'charge_card', retry: { maxAttempts: 3 } }, ({ amount }) => {
  same<typeof amount, number>(true);
  return { receipt: '' };
});
registry.registerAction({ name: 'notifyBuyer' }, async ({ text }) => void (text satisfies string | undefined));
// @ts-expect-error: another result
registry.registerSimpleAction('ChargeCard', '', [], async () => ({ paid: true }));
// @ts-expect-error: another result
registry.registerAction({ name: 'chargeCard' }, () => 'paid');
// @ts-expect-error: other parameters
registry.registerAction({ name: 'chargeCard' }, (_: { card: number }) => ({ receipt: '' }));

// An unlisted one does what it likes.
registry.registerSimpleAction('B', '', [{ name: 'n', type: 'number', required: true }], (params) => params.whatever);
registry.registerSimpleAction(String('dynamic'), '', [], async (params: { a: number }) => params.a);
registry.registerAction({ name: 'C' }, async ({ a, b }: { a: number; b: string }) => a + b);
// @ts-expect-error: that is no type
registry.registerSimpleAction('D', '', [{ name: 'n', type: 'text', required: true }], () => 1);
// @ts-expect-error: no such option
registry.registerAction({ name: 'E', retries: 3 }, () => 1);

// A schema knows more: it has filled in the defaults.
const schema = {
  '~standard': { version: 1, vendor: 'test', validate: (value: unknown) => ({ value: value as { text: string } }) },
} satisfies StandardSchema<{ text: string }>;
registry.registerSimpleAction('NotifyBuyer', '', schema, async (params) => {
  same<typeof params, { text: string }>(true);
  // @ts-expect-error: the schema gives no such member
  params.m;
});
registry.registerSimpleAction('F', '', schema, async ({ text }, context) => text.length + context.attempt);

void execute;
