// Parameters and results checked by the schemas that people use: zod and valibot.
import assert from 'node:assert/strict';
import test from 'node:test';
import { createActionRegistry, defineWorkflow, type StandardSchema, type WorkflowContext } from 'pawl';
import * as v from 'valibot';
import { z } from 'zod';
import { setUp } from './support/runtime.js';

const tenant = 'acme';

const schemas: Record<string, { parameters: StandardSchema<any>; result: StandardSchema<any> }> = {
  zod: {
    parameters: z.object({
      amount: z.number().positive(),
      currency: z.string().default('EUR'),
      to: z.object({ iban: z.string().min(4) }),
    }),
    result: z.object({ receipt: z.string(), note: z.string().default('none') }),
  },
  valibot: {
    parameters: v.object({
      amount: v.pipe(v.number(), v.gtValue(0)),
      currency: v.optional(v.string(), 'EUR'),
      to: v.object({ iban: v.pipe(v.string(), v.minLength(4)) }),
    }),
    result: v.object({ receipt: v.string(), note: v.optional(v.string(), 'none') }),
  },
  'zod, with a check that takes its time': {
    parameters: z
      .object({ amount: z.number(), currency: z.string().default('EUR'), to: z.object({ iban: z.string() }) })
      .refine(async ({ amount }) => amount > 0, { path: ['amount'], message: 'too small' })
      .refine(async ({ to }) => to.iban.length >= 4, { path: ['to', 'iban'], message: 'too short' }),
    result: z.object({ receipt: z.string(), note: z.string().default('none') }).refine(async () => true),
  },
};

for (const [vendor, { parameters, result }] of Object.entries(schemas)) {
  test(`parameters and results by a schema of ${vendor}`, async (t) => {
    const { runtime, registry } = setUp(t);
    const given: unknown[] = [];
    registry.registerAction({ name: 'Pay', parameters, result, retry: { initialInterval: 1 } }, (params: any) => {
      given.push(params);
      return params.amount === 7 ? { receipt: 7 } : { receipt: 'r-1' };
    });
    runtime.registerWorkflow(
      defineWorkflow('Payment', async ({ input, actions }: WorkflowContext) =>
        actions['pay']!(input).catch((error: any) => ({ name: error.name, message: error.message, failureClass: error.failureClass })),
      ),
    );
    const pay = async (initialData: unknown) => {
      const id = await runtime.startWorkflow('Payment', { tenant, initialData });
      return (await runtime.waitForWorkflowCompletion(id, tenant)).result;
    };
    assert.deepEqual(await pay({ amount: 5, to: { iban: 'DE02' } }), { receipt: 'r-1', note: 'none' });
    assert.deepEqual(given, [{ amount: 5, currency: 'EUR', to: { iban: 'DE02' } }], 'with its defaults');

    const refused = await pay({ amount: -5, to: { iban: 'D' } });
    assert.equal(refused.name, 'ValidationError');
    assert.equal(refused.failureClass, 'validation');
    assert.match(refused.message, /^Action 'Pay': amount: .*; to\.iban: /);
    assert.equal(given.length, 1, 'the handler was not called');

    const wrong = await pay({ amount: 7, to: { iban: 'DE02' } });
    assert.equal(wrong.name, 'ValidationError');
    assert.match(wrong.message, /^Result of action 'Pay': receipt: /);
    assert.equal(given.length, 2, 'and is not called again for a result that it would give again');

    const request = { tenant, idempotencyKey: 'k' };
    await assert.rejects(registry.executeAction('Pay', { ...request, parameters: { amount: 0 } }), { name: 'ValidationError' });
    const done = await registry.executeAction('Pay', { ...request, parameters: { amount: 1, to: { iban: 'DE02' } } });
    assert.deepEqual(done, { receipt: 'r-1', note: 'none' });
  });
}

test('a result can be checked by nothing but a schema', () => {
  const registry = createActionRegistry();
  for (const result of [{}, [], 'text', { '~standard': {} }]) {
    assert.throws(() => registry.registerAction({ name: 'X', result: result as never }, () => 1), {
      name: 'InvalidArgumentError',
    });
  }
});
