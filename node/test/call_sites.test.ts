import assert from 'node:assert/strict';
import { test } from 'node:test';
import { defineWorkflow, type WorkflowContext } from 'pawl';
import { setUp, until } from './support/runtime.js';

const tenant = 'acme';

/** Where in this file the call stands that is marked so. */
const here = (await import('node:fs')).readFileSync(new URL(import.meta.url), 'utf8').split('\n');
function lineOf(mark: string): string {
  const line = here.findIndex((each) => each.includes(`// ${mark}`)) + 1;
  return `test/call_sites.test.ts:${line}:`;
}

const asks = defineWorkflow('Asks', async (context: WorkflowContext) => {
  const { actions, data, events } = context;
  context.setState('open'); // state
  data.set('a', 1); // data
  await actions.log_event!({ message: 'x' }); // action
  await Promise.all([
    context.sleep(1), // sleep
    actions.log_event!({ message: 'y' }), // other
  ]);
  await helper(context);
  context.compensations.add('log_event', { message: 'z' }); // undo
  await context.compensations.run();
  await events.emit('Self'); // emit
  await events.waitFor('Go'); // wait
});

async function helper({ setState }: WorkflowContext): Promise<void> {
  setState('helped'); // helper
}

test('what the code asked for is recorded with its line, also behind awaits and compiled from TypeScript', async (t) => {
  const { runtime } = setUp(t);
  runtime.registerWorkflow(asks);
  const id = await runtime.startWorkflow('Asks', { tenant });
  const history = await until(
    () => runtime.getHistory(id, tenant),
    (records) => records.some(({ type }) => type === 'WaitStarted'),
  );
  const sites = history.flatMap(({ site }) => (site === undefined ? [] : [site]));
  const marks = ['state', 'data', 'action', 'sleep', 'other', 'helper', 'undo', 'emit', 'wait'];
  assert.equal(sites.length, marks.length, sites.join(' '));
  for (const [index, mark] of marks.entries()) {
    assert.ok(sites[index]!.startsWith(lineOf(mark)), `${mark}: ${sites[index]}`);
  }
  assert.ok(history.every(({ type, site }) => site === undefined || !/Completed|Received/.test(type)));
});

// rule: 20
test('the report of a departure names both lines', async (t) => {
  const setting = setUp(t);
  const versions = [
    async ({ setState, events }: WorkflowContext) => {
      setState('checked'); // recorded
      await events.waitFor('Go');
    },
    async ({ setState, events }: WorkflowContext) => {
      setState('audited'); // did
      await events.waitFor('Go');
    },
    async ({ events }: WorkflowContext) => {
      await events.waitFor('Go'); // less
    },
  ] as const;
  const define = (index: number) => defineWorkflow('Departs', versions[index]!);
  setting.runtime.registerWorkflow(define(0));
  await setting.runtime.startWorkflow('Departs', { tenant, executionId: 'a' });
  let runtime = await setting.reopen();
  const report = async () => {
    const { error } = await until(() => runtime.getExecutionState('a', tenant), ({ status }) => status === 'stuck');
    return error!.message;
  };
  runtime.registerWorkflow(define(1));
  await runtime.enqueueEvent({ execution_id: 'a', event_name: 'Go', tenant });
  const first = await report();
  assert.ok(first.includes(`StateChanged 'checked' at ${lineOf('recorded')}`), first);
  assert.ok(first.includes(`StateChanged 'audited' at ${lineOf('did')}`), first);
  runtime = await setting.reopen();
  runtime.registerWorkflow(define(2));
  const second = await until(report, (text) => text.includes('WaitStarted'));
  assert.ok(second.includes(`WaitStarted 'Go' (position 1) at ${lineOf('less')}`), second);
  runtime.registerWorkflow(define(0), { replace: true });
  assert.equal((await runtime.waitForWorkflowCompletion('a', tenant)).status, 'completed');
});

test('a name that is used in several places has the place of each call, however many there were', async (t) => {
  const { runtime } = setUp(t);
  const many = 200;
  runtime.registerWorkflow(
    defineWorkflow('Many', async ({ data }: WorkflowContext) => {
      for (let i = 0; i < many; i++) {
        if (i % 2 === 0) data.set('x', i); // even
        else data.set('x', i); // odd
      }
      for (let i = 0; i < many; i++) data.set('y', i); // loop
    }),
  );
  const id = await runtime.startWorkflow('Many', { tenant });
  await runtime.waitForWorkflowCompletion(id, tenant);
  const history = await runtime.getHistory(id, tenant);
  for (const { name, payload, site } of history.filter(({ type }) => type === 'DataSet')) {
    const mark = name === 'y' ? 'loop' : payload % 2 === 0 ? 'even' : 'odd';
    assert.ok(site!.startsWith(lineOf(mark)), `${name} ${payload}: ${site}`);
  }
});

test('an Error that was frozen, or that formats stacks in its own way, costs the site only', async (t) => {
  const { runtime } = setUp(t);
  runtime.registerWorkflow(defineWorkflow('Plain', async ({ setState }: WorkflowContext) => setState('ok')));
  const { prepareStackTrace } = Error;
  t.after(() => (Error.prepareStackTrace = prepareStackTrace!));
  Error.prepareStackTrace = () => {
    throw new Error('no stacks here');
  };
  const own = Error.prepareStackTrace;
  const id = await runtime.startWorkflow('Plain', { tenant });
  assert.equal((await runtime.waitForWorkflowCompletion(id, tenant)).currentState, 'ok');
  assert.equal(Error.prepareStackTrace, own);
});
