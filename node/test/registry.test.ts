import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import {
  createActionRegistry,
  defineWorkflow,
  getActionRegistry,
  TransactionIsolationLevel,
  ValidationError,
  type ActionParameter,
  type StandardSchema,
} from 'pawl';
import { ActionRunner } from '../dist/action_runner.js';
import { foldName, nearestName } from '../dist/names.js';
import { validateParameters } from '../dist/parameters.js';

const nothing = async () => {};

test('names meet in every casing', () => {
  for (const name of ['UpdateInvoiceStatus', 'updateInvoiceStatus', 'update_invoice_status', 'UPDATE-INVOICE-STATUS']) {
    assert.equal(foldName(name), 'updateinvoicestatus');
  }
  const registry = createActionRegistry();
  registry.registerSimpleAction('UpdateInvoiceStatus', 'updates', [], nothing);
  assert.equal(registry.getActionMetadata('update_invoice_status')?.name, 'UpdateInvoiceStatus');
  assert.equal(registry.getActionMetadata('nope'), undefined);
});

test('a second action under a name is refused, the same handler again is not', () => {
  const registry = createActionRegistry();
  registry.registerSimpleAction('SendMail', 'a', [], nothing);
  registry.registerSimpleAction('SendMail', 'a', [], nothing);
  assert.throws(() => registry.registerSimpleAction('send_mail', 'b', [], async () => 1), {
    code: 'already_exists',
    message: "Action 'send_mail' is registered already as 'SendMail', which is the same name",
  });
  assert.throws(() => registry.registerSimpleAction('LogEvent', 'mine', [], nothing), {
    message: /'log_event' is a built-in action.*override: true/,
  });
  registry.registerAction({ name: 'LogEvent', description: 'mine', override: true }, nothing);
  assert.equal(registry.getActionMetadata('log_event')?.description, 'mine');
});

test('metadata, categories, built-ins', () => {
  const registry = createActionRegistry();
  const builtIns = registry.getAllActions().map(({ name }) => name);
  assert.deepEqual(builtIns.sort(), [
      'create_database_record', 'delete_database_record', 'emit_event', 'http_request', 'log_audit_event', 'log_event',
      'send_notification', 'start_workflow', 'update_database_record', 'wait',
    ]);
  registry.registerAction({ name: 'Charge', category: 'money', tags: ['a'], timeout: '5s', retry: { maxAttempts: 2 } }, nothing);
  assert.deepEqual(registry.getActionsByCategory('money').map(({ name }) => name), ['Charge']);
  assert.deepEqual(registry.getActionMetadata('charge')?.retry, { maxAttempts: 2 });
  assert.equal(registry.getActionMetadata('charge')?.builtIn, false);
  assert.deepEqual(createActionRegistry({ builtIns: false }).getAllActions(), []);
  assert.equal(getActionRegistry(), getActionRegistry());
  assert.equal(TransactionIsolationLevel.REPEATABLE_READ, 'REPEATABLE READ');
});

test('declarations that could not be meant are refused', () => {
  const registry = createActionRegistry();
  const declare = (parameters: unknown) => () => registry.registerSimpleAction('X', '', parameters as ActionParameter[], nothing);
  assert.throws(declare([{ name: 'a', type: 'text', required: true }]), /has the type 'text'. It can be string/);
  assert.throws(declare([{ type: 'string', required: true }]), /name of parameter 0 must be a string/);
  assert.throws(declare([{ name: 'a', type: 'string', required: true }, { name: 'a', type: 'string', required: true }]), /'a' twice/);
  assert.throws(declare([{ name: 'a', type: 'number', required: false, defaultValue: 'x' }]), /default of parameter 'a' is no number/);
  assert.throws(declare('string'), /must be a list/);
  assert.throws(() => registry.registerSimpleAction('', '', [], nothing), /must not be empty/);
  assert.throws(() => registry.registerSimpleAction('_', '', [], nothing), /has no letter/);
  assert.throws(() => registry.registerSimpleAction('X', '', [], 5 as never), /needs a function/);
  assert.throws(() => registry.registerAction({ name: 'X', timout: 5 } as never, nothing), /knows no 'timout'. Did you mean 'timeout'/);
  assert.throws(() => registry.registerAction({ name: 'X', retry: { maxAttempts: 1.5 } }, nothing), /whole number/);
  assert.equal(registry.getActionMetadata('X'), undefined);
});

test('options of the wrong type, and misspelt ones, are refused where they are given', () => {
  class Declined extends Error {}
  const registry = createActionRegistry();
  const register = (options: object) => () => registry.registerAction({ name: 'X', ...options } as never, nothing);
  const declare = (parameter: object) => register({ parameters: [{ name: 'a', type: 'string', required: true, ...parameter }] });
  const define = (metadata: object) => () => defineWorkflow({ name: 'a', ...metadata } as never, async () => {});
  const cases: [() => unknown, RegExp][] = [
    [define({ author: { name: 'F' } }), /^The author of workflow 'a' must be a string, not an object$/],
    [define({ description: 5 }), /^The description of workflow 'a' must be a string, not a number$/],
    [define({ tags: [1] }), /^The tags of workflow 'a'\[0\] must be a string, not a number$/],
    [define({ tags: 'billing' }), /^The tags of workflow 'a' must be a list of strings, not a string$/],
    [define({ tags: new Array(1) }), /^The tags of workflow 'a'\[0\] must be a string, not undefined$/],
    [define({ verison: '2' }), /^The metadata of workflow 'a' knows no 'verison'\. Did you mean 'version'\?$/],
    [() => registry.registerSimpleAction('X', 42 as never, [], nothing), /^Action 'X': its description must be a string, not a number$/],
    [register({ category: 5 }), /^Action 'X': its category must be a string/],
    [register({ tags: [null] }), /^Action 'X': its tags\[0\] must be a string, not null$/],
    [register({ override: 'yes' }), /^Action 'X': override can be true or false$/],
    [register({ timeout: {} }), /^Action 'X': timeout: an object is no duration/],
    [register({ retry: 3 }), /^Action 'X': retry takes an object with maxAttempts,.* not a number$/],
    [register({ retry: { maxAttemps: 3 } }), /^Action 'X': retry knows no 'maxAttemps'\. Did you mean 'maxAttempts'\?$/],
    [register({ retry: { maxAttempts: '3' } }), /^Action 'X': retry\.maxAttempts must be a number from 1 to 1000000, not a string$/],
    [register({ retry: { nonRetryable: 'MyError' } }), /^Action 'X': retry\.nonRetryable must be a list of strings, not a string$/],
    [
      register({ retry: { nonRetryable: ['A', Declined] } }),
      /^Action 'X': retry\.nonRetryable\[1\] must be a string, not the class 'Declined'\. .*write 'Declined', and have the class say that name: this\.name = 'Declined'$/,
    ],
    [declare({ requird: true }), /^Action 'X': parameter 'a' knows no 'requird'\. Did you mean 'required'\?$/],
    [declare({ required: 'yes' }), /^Action 'X': parameter 'a': required can be true or false$/],
    [declare({ description: 5 }), /^Action 'X': parameter 'a': its description must be a string/],
  ];
  for (const [attempt, message] of cases) {
    assert.throws(attempt, { name: 'InvalidArgumentError', message }, String(message));
  }
  assert.equal(registry.getActionMetadata('X'), undefined);

  const retry = { maxAttempts: 2, nonRetryable: ['A'] };
  registry.registerAction({ name: 'X', retry }, nothing);
  retry.nonRetryable.push(5 as never);
  assert.deepEqual(registry.getActionMetadata('X')!.retry, { maxAttempts: 2, nonRetryable: ['A'] });
});

const declared: ActionParameter[] = [
  { name: 'recipient', type: 'string', required: true },
  { name: 'count', type: 'number', required: false, defaultValue: 1, validation: (n) => n > 0 || 'must be above 0' },
  { name: 'tags', type: 'array', required: false },
  { name: 'options', type: 'object', required: false, defaultValue: { a: [] } },
];
const validate = (given: unknown, unknown: 'refuse' | 'strip' | 'allow' = 'refuse') =>
  validateParameters('Send', declared, unknown, given);

test('parameters: defaults, types, validation', () => {
  assert.deepEqual(validate({ recipient: 'x', tags: [] }), { recipient: 'x', count: 1, tags: [], options: { a: [] } });
  const first = validate({ recipient: 'x' });
  first.options.a.push(1);
  assert.deepEqual(validate({ recipient: 'x' }).options, { a: [] }, 'a default is not shared');
  const refused: [unknown, RegExp][] = [
    [{}, /^Action 'Send': recipient: is missing$/],
    [{ recipient: null }, /recipient: must be a string, not null/],
    [{ recipient: 5, count: 'x' }, /recipient: must be a string, not 5; count: must be a number, not "x"/],
    [{ recipient: 'x', tags: {} }, /tags: must be an array, not {}/],
    [{ recipient: 'x', options: [] }, /options: must be an object, not \[\]/],
    [{ recipient: 'x', count: 0 }, /count: must be above 0/],
    [{ recipient: 'x', recipent: 'y' }, /recipent: is not a parameter of it. Did you mean 'recipient'\?/],
    [{ recipient: 'x', zzz: 1 }, /zzz: is not a parameter of it$/],
    [[], /parameters must be an object, not \[\]/],
    ['x', /parameters must be an object, not "x"/],
  ];
  for (const [given, message] of refused) {
    assert.throws(() => validate(given), (error) => error instanceof ValidationError && message.test(error.message), String(message));
  }
  assert.deepEqual(validate({ recipient: 'x', zzz: 1 }, 'strip').zzz, undefined);
  assert.deepEqual(validate({ recipient: 'x', zzz: 1 }, 'allow').zzz, 1);
});

test('a Standard Schema validator stands in for the list', async () => {
  const schema: StandardSchema<{ n: number }> = {
    '~standard': {
      version: 1,
      vendor: 'test',
      validate: (value) =>
        typeof (value as any).n === 'string'
          ? { value: { n: Number((value as any).n) } }
          : { issues: [{ message: 'expected a string', path: ['n'] }, { message: 'and more' }] },
    },
  };
  assert.deepEqual(validateParameters('X', schema, 'refuse', { n: '5' }), { n: 5 });
  assert.throws(() => validateParameters('X', schema, 'refuse', {}), {
    message: "Action 'X': n: expected a string; and more",
  });
  const slow: StandardSchema = {
    '~standard': { version: 1, vendor: 'test', validate: async (value) => schema['~standard'].validate(value) },
  };
  assert.deepEqual(await validateParameters('X', slow, 'refuse', { n: '6' }), { n: 6 });
  await assert.rejects(validateParameters('X', slow, 'refuse', {}), /expected a string/);
  const registry = createActionRegistry();
  registry.registerAction({ name: 'Typed', parameters: schema }, async (params) => params.n + 1);
});

test('the parameters of an attempt that never settles are let go', async () => {
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as () => void;
  const registry = createActionRegistry();
  const given: WeakRef<object>[] = [];
  const signals: AbortSignal[] = [];
  registry.registerSimpleAction('Hang', '', [{ name: 'body', type: 'object', required: true }], ({ body }, { signal }) => {
    given.push(new WeakRef(body));
    signals.push(signal);
    return new Promise(() => {});
  });
  const reported: unknown[][] = [];
  const runner = new ActionRunner(registry, () => {}, 1_000, (outcomes) => reported.push(outcomes), () => undefined, undefined!, () => {}, undefined!);
  const task = { tenant: 'acme', executionId: 'a', execution: 1, name: 'hang', attempt: 1, idempotencyKey: 'k', eventId: '' };
  runner.run(JSON.stringify([1, 2].map((id) => ({ ...task, id, position: id, parameters: [{ body: { id } }], correlationId: '', scheduledAt: 0, timeout: 0 }))));
  assert.equal(given.length, 2);
  await new Promise((resolve) => setImmediate(resolve));
  runner.abort(1);
  runner.abort(1);
  // What the engine of JavaScript itself still has on a stack is let go in a later round.
  for (let round = 0; round < 20; round++) {
    await new Promise((resolve) => setImmediate(resolve));
    collect();
  }
  assert.deepEqual(given.map((ref) => ref.deref()), [undefined, undefined]);
  assert.deepEqual(signals.map(({ aborted }) => aborted), [true, false]);
  assert.equal(signals[0]!.reason.name, 'AbortError');
  assert.deepEqual(reported, []);
});

test('the nearest name', () => {
  const names = ['send_notification', 'log_event', 'wait'];
  assert.equal(nearestName('sendNotifcation', names), 'send_notification');
  assert.equal(nearestName('logEvents', names), 'log_event');
  assert.equal(nearestName('chargeCreditCard', names), undefined);
});

test('definitions', () => {
  const definition = defineWorkflow({ name: 'A', version: '2.0.0', tags: ['x'], author: 'me' }, async () => 1);
  assert.deepEqual(definition.metadata, { name: 'A', version: '2.0.0', tags: ['x'], author: 'me' });
  assert.deepEqual([definition.name, definition.version], ['A', '2.0.0']);
  assert.equal(defineWorkflow('B', async () => {}).version, '1.0.0');
  assert.throws(() => defineWorkflow('', async () => {}), /name of a workflow must not be empty/);
  assert.throws(() => defineWorkflow('x'.repeat(300), async () => {}), /has 300 bytes; it can have 255/);
  assert.throws(() => defineWorkflow('A', 5 as never), /takes an async function second/);
  assert.throws(() => defineWorkflow(undefined as never, async () => {}), /takes a name or metadata/);
});
