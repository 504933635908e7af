// Actions that are completed from elsewhere, by their token: on the real engine and a real file.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  defineWorkflow,
  ExecutionEndedError,
  InvalidArgumentError,
  PayloadError,
  TransactionIsolationLevel,
  UnknownExecutionError,
  WrongStatusError,
  type WorkflowContext,
} from 'pawl';
import { setUp, until, type Setting } from './support/runtime.js';

const tenant = 'acme';

function register({ runtime }: Setting) {
  runtime.registerWorkflow(
    defineWorkflow('Sign', async ({ actions, setState }: WorkflowContext) => {
      setState('waiting');
      try {
        return await actions['sign']!({ document: 'lease' });
      } catch (error) {
        return [(error as Error).name, (error as Error).message];
      }
    }),
  );
}

// rule: 14
test('an action that says so is completed by its token, also after a restart', async (t) => {
  const setting = setUp(t);
  const tokens: string[] = [];
  setting.registry.registerAction(
    { name: 'Sign', parameters: [{ name: 'document', type: 'string', required: true }], timeout: 50 },
    async (_, context) => {
      tokens.push(context.token);
      return context.completeLater();
    },
  );
  register(setting);
  const start = () => setting.runtime.startWorkflow('Sign', { tenant });
  const [first, second] = [await start(), await start()];
  await until(() => tokens.length === 2, Boolean);
  const deferred = async (id: string) =>
    (await setting.runtime.getHistory(id, tenant)).some(({ type }) => type === 'ActionDeferred');
  await until(async () => (await deferred(first)) && (await deferred(second)), Boolean);
  await setting.reopen();
  register(setting);
  await setting.runtime.completeAction(tokens[0]!, { by: 'ann' });
  await setting.runtime.failAction(tokens[1]!, new TypeError('the pen was dry'));
  assert.deepEqual((await setting.runtime.waitForWorkflowCompletion(first, tenant)).result, { by: 'ann' });
  assert.deepEqual((await setting.runtime.waitForWorkflowCompletion(second, tenant)).result, ['TypeError', 'the pen was dry']);
  assert.equal(tokens.length, 2, 'nothing ran again');
  await assert.rejects(setting.runtime.completeAction(tokens[0]!, 1), ExecutionEndedError);
  await assert.rejects(setting.runtime.completeAction('no token', 1), InvalidArgumentError);
  await assert.rejects(setting.runtime.completeAction('', 1), InvalidArgumentError);
  await assert.rejects(setting.runtime.completeAction(tokens[0]!.replace('@acme', '@other'), 1), UnknownExecutionError);
  await assert.rejects(setting.runtime.completeAction(tokens[0]!, () => {}), PayloadError);
  assert.deepEqual((await setting.runtime.checkIntegrity()).findings, []);
});

// rule: 14
test('two at once: one is the outcome, the other is told so', async (t) => {
  const setting = setUp(t);
  let token = '';
  setting.registry.registerSimpleAction('Sign', '', [{ name: 'document', type: 'string', required: true }], (_, context) => {
    token = context.token;
    return context.completeLater();
  });
  register(setting);
  const id = await setting.runtime.startWorkflow('Sign', { tenant });
  await until(() => token, Boolean);
  const told = await Promise.allSettled([1, 2, 3].map((n) => setting.runtime.completeAction(token, n)));
  const done = told.flatMap(({ status }, i) => (status === 'fulfilled' ? [i + 1] : []));
  assert.equal(done.length, 1);
  for (const each of told) {
    if (each.status === 'rejected') {
      assert.ok(each.reason instanceof WrongStatusError || each.reason instanceof ExecutionEndedError);
    }
  }
  assert.equal((await setting.runtime.waitForWorkflowCompletion(id, tenant)).result, done[0]);
});

// rule: 14
test('where it can not be, that is said', async (t) => {
  const { registry } = setUp(t);
  const tokens: string[] = [];
  registry.registerSimpleAction('Sign', '', [], (_, context) => {
    tokens.push(context.token);
    return context.completeLater();
  });
  await assert.rejects(registry.executeAction('sign', { tenant, idempotencyKey: 'k' }), /can't be completed from elsewhere/);
  registry.registerDatabaseAction('Write', '', [], TransactionIsolationLevel.SERIALIZABLE, (_, context) => context.completeLater());
  await assert.rejects(registry.executeAction('write', { tenant, idempotencyKey: 'w' }), /database action/);
  assert.deepEqual(tokens, ['']);
});
