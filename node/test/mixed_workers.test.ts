// Workers of both languages on one PostgreSQL, each in a process of its own: each serves what it has registered,
// whoever owns the execution.
import assert from 'node:assert/strict';
import { dirname, join } from 'node:path';
import { after, before, test, type TestContext } from 'node:test';
import { fileURLToPath } from 'node:url';
import { defineWorkflow, type WorkflowContext } from 'pawl';
import { Postgres } from './support/postgres.js';
import { Program } from './support/program.js';
import { setUp, until, type Setting } from './support/runtime.js';

// The C++ program has the workflow Storm, of four steps: an event Step0 …, then two actions slow side by side. It
// ends with what these said.
const tenant = 'storm';
const steps = [0, 1, 2, 3];

const addon =
  process.env['PAWL_ADDON'] ?? fileURLToPath(new URL('../../build/release/node/pawl.node', import.meta.url));

let server: Postgres;
before(async () => {
  server = await Postgres.start();
});
after(() => server?.end());

function serveInCpp(t: TestContext, store: string, what: 'code' | 'actions'): Program {
  const program = join(dirname(addon), '..', 'bin', 'storm');
  const started = new Program([], {}, () => [program, 'serve', store, what]);
  t.after(() => started.process.kill('SIGKILL'));
  return started;
}

/** Once somebody has shown what it has registered. */
async function start({ runtime }: Setting, workflow: string, executionId: string): Promise<void> {
  await until(
    () => runtime.startWorkflow(workflow, { tenant, executionId, initialData: {} }).catch((error) => error),
    (told) => {
      if (told === executionId) return true;
      assert.equal(told.code, 'unknown_workflow', told.message);
      return false;
    },
  );
}

async function play(setting: Setting, executionId: string): Promise<unknown> {
  for (const step of steps) {
    await setting.runtime.submitEvent({
      execution_id: executionId, event_name: `Step${step}`, payload: { step }, tenant, idempotency_key: `step-${step}`,
    });
  }
  return (await setting.runtime.waitForWorkflowCompletion(executionId, tenant)).result;
}

test('a workflow in C++ has its actions in TypeScript', async (t) => {
  const setting = setUp(t, { store: await server.emptyUrl(), lease: '600ms' });
  const ran: unknown[] = [];
  setting.registry.registerAction({ name: 'slow', unknown: 'allow' }, ({ step }, { executionId, idempotencyKey }) => {
    ran.push([executionId, idempotencyKey]);
    return step;
  });
  await setting.runtime.startWorker();
  const cpp = serveInCpp(t, setting.store, 'code');
  const ids = Array.from({ length: 12 }, (_, at) => `s-${at}`);
  for (const id of ids) await start(setting, 'Storm', id);
  const results = await Promise.all(ids.map((id) => play(setting, id)));
  for (const result of results) assert.deepEqual(result, steps.flatMap((step) => [step, step]));
  assert.equal(new Set(ran.map(String)).size, ids.length * 8);

  // What has the code is killed within executions, and comes back.
  for (const id of ids) await start(setting, 'Storm', `killed-${id}`);
  const late = ids.map((id) => play(setting, `killed-${id}`));
  await until(() => ran.length, (count) => count > ids.length * 8 + 6);
  cpp.process.kill('SIGKILL');
  await cpp.ended();
  serveInCpp(t, setting.store, 'code');
  for (const result of await Promise.all(late)) assert.deepEqual(result, steps.flatMap((step) => [step, step]));
});

test('a workflow in TypeScript has its actions in C++, and those that are written in it', async (t) => {
  const setting = setUp(t, { store: await server.emptyUrl(), lease: '600ms' });
  const letter = defineWorkflow('Letter', async ({ actions, events, run, setState }: WorkflowContext) => {
    const head = await run('head', () => 'Dear all');
    setState('waiting');
    const { payload } = await events.waitFor('Send');
    // One in twenty attempts fails, and is made again.
    const body = await actions['slow']!(payload);
    return [head, typeof body];
  });
  setting.runtime.registerWorkflow(letter);
  await setting.runtime.startWorker();
  const cpp = serveInCpp(t, setting.store, 'actions');
  const ids = Array.from({ length: 12 }, (_, at) => `l-${at}`);
  for (const id of ids) await start(setting, 'Letter', id);
  const send = (id: string) =>
    setting.runtime.submitEvent({ execution_id: id, event_name: 'Send', payload: id, tenant, idempotency_key: 'send' });
  for (const id of ids.slice(0, 6)) await send(id);
  for (const id of ids.slice(0, 6)) {
    const { result } = await setting.runtime.waitForWorkflowCompletion(id, tenant);
    assert.deepEqual(result, ['Dear all', 'string']);
  }
  // Told to end, it ends what it has begun; what is asked for meanwhile waits for the next one.
  cpp.process.kill('SIGTERM');
  assert.equal((await cpp.ended()).code, 0);
  for (const id of ids.slice(6)) await send(id);
  serveInCpp(t, setting.store, 'actions');
  for (const id of ids.slice(6)) {
    const { result } = await setting.runtime.waitForWorkflowCompletion(id, tenant);
    assert.deepEqual(result, ['Dear all', 'string']);
  }
});
