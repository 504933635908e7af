// context.run: actions that are written in the workflow's code, on the real engine and a real file.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { defineWorkflow, NonRetryableError, type WorkflowContext } from 'pawl';
import { setUp, until } from './support/runtime.js';

const tenant = 'acme';

// rules: 2, 14
test('what it gives is recorded once, under one key, and the function may reach outside', async (t) => {
  const { runtime } = setUp(t);
  const keys: string[] = [];
  const began = Date.now();
  runtime.registerWorkflow(
    defineWorkflow('Place', async ({ run, now }: WorkflowContext) => {
      const time = await run('time', async ({ idempotencyKey, attempt, tenant: of }) => {
        keys.push(idempotencyKey);
        await new Promise((resolve) => setTimeout(resolve, 5));
        if (attempt < 2) throw new Error('not yet');
        return [of, Date.now(), crypto.randomUUID(), Math.random()];
      }, { retry: { initialInterval: 1 } });
      return { time, workflowTime: now() };
    }),
  );
  const id = await runtime.startWorkflow('Place', { tenant });
  const { result } = await runtime.waitForWorkflowCompletion(id, tenant);
  assert.equal(result.time[0], tenant);
  assert.ok(result.time[1] >= began);
  assert.equal(keys.length, 2);
  assert.equal(keys[0], keys[1]);
  const history = await runtime.getHistory(id, tenant);
  assert.deepEqual(
    history.filter(({ name }) => name === 'time').map(({ type }) => type),
    ['ActionScheduled', 'ActionAttemptFailed', 'ActionCompleted'],
  );
});

// rules: 2, 14, 22
test('after a restart the function of the replayed code runs; a cancellation tells the one under way', async (t) => {
  const setting = setUp(t);
  const ran: string[] = [];
  let release: ((value: string) => void) | undefined;
  let signal: AbortSignal | undefined;
  const place = (build: string) =>
    defineWorkflow('Place', async ({ run, events }: WorkflowContext) => {
      await run('first', () => void ran.push(`first ${build}`));
      const second = await run('second', (attempt) => {
        ran.push(`second ${build} ${attempt.attempt}`);
        signal = attempt.signal;
        return new Promise<string>((resolve) => (release = resolve));
      });
      await events.waitFor('Go');
      return second;
    });
  setting.runtime.registerWorkflow(place('one'));
  for (const executionId of ['a', 'b']) {
    release = undefined;
    await setting.runtime.startWorkflow('Place', { tenant, executionId });
    await until(() => release, Boolean);
  }
  const runtime = await setting.reopen({ limits: { executionsCachedMax: 1 } });
  ran.length = 0;
  release = undefined;
  runtime.registerWorkflow(place('two'));
  await runtime.startWorker();
  await until(() => ran.length, (count) => count === 2);
  assert.deepEqual(ran, ['second two 1', 'second two 1'], 'what was recorded does not run again');
  const last = (await runtime.getHistory('b', tenant)).at(-1)!;
  release!('late');
  await runtime.cancelWorkflow('a', tenant);
  await runtime.cancelWorkflow('b', tenant);
  await runtime.waitForWorkflowCompletion('a', tenant);
  await runtime.waitForWorkflowCompletion('b', tenant);
  assert.ok(signal!.aborted || last.type === 'ActionScheduled');
});

// rules: 14, 19
test('its errors reach the code; bad calls are refused; the context is not for it', async (t) => {
  const { runtime } = setUp(t);
  runtime.registerWorkflow(
    defineWorkflow('Errors', async ({ run }: WorkflowContext) => {
      const messages: string[] = [];
      const note = (error: Error) => messages.push(`${error.name}: ${error.message}`);
      await run('a', () => { throw new NonRetryableError('no'); }).catch(note);
      await run('b', () => 10n, { retry: { maxAttempts: 1 } }).catch(note);
      await run('', () => 1).catch(note);
      await run('c', 5 as any).catch(note);
      await run('d', () => 1, { timeut: 5 } as any).catch(note);
      return messages;
    }),
  );
  const id = await runtime.startWorkflow('Errors', { tenant });
  const { result } = await runtime.waitForWorkflowCompletion(id, tenant);
  assert.equal(result[0], 'NonRetryableError: no');
  assert.match(result[1], /^PayloadError: result of b.*BigInt/i);
  assert.match(result[2], /^InvalidArgumentError: The name of an action/);
  assert.equal(result[3], 'InvalidArgumentError: run needs a function behind the name, not a number');
  assert.match(result[4], /^InvalidArgumentError: run knows no 'timeut'/);

  const guarded = defineWorkflow('Guarded', ({ run, setState }: WorkflowContext) =>
    run('outside', () => setState('from outside'), { retry: { maxAttempts: 1 } }),
  );
  runtime.registerWorkflow(guarded);
  const outside = await runtime.startWorkflow('Guarded', { tenant });
  const state = await until(
    () => runtime.getExecutionState(outside, tenant),
    ({ status }) => status !== 'running',
  );
  assert.notEqual(state.currentState, 'from outside');
  assert.notEqual(state.status, 'completed');
});
