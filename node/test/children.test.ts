// Children, events to other executions, the next run of a workflow and filters, on the real engine.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ChildFailedError, defineWorkflow, type WorkflowContext } from 'pawl';
import { setUp, until } from './support/runtime.js';

const tenant = 'acme';

test('a child runs by itself and its result comes back, typed by its definition', async (t) => {
  const { runtime } = setUp(t);
  const square = defineWorkflow<{}, { n: number }, number>('Square', async ({ input }) => input.n * input.n);
  runtime.registerWorkflow(square);
  runtime.registerWorkflow(
    defineWorkflow('Sum', async ({ startChild }) => {
      const children = [1, 2, 3].map((n) => startChild(square, { initialData: { n } }));
      const squares: number[] = await Promise.all(children.map((child) => child.result()));
      return { ids: children.map((child) => child.executionId), sum: squares.reduce((a, b) => a + b) };
    }),
  );
  const id = await runtime.startWorkflow('Sum', { tenant, executionId: 'sum' });
  const { result } = await runtime.waitForWorkflowCompletion(id, tenant);
  assert.deepEqual(result, { ids: ['sum/1', 'sum/2', 'sum/3'], sum: 14 });
  const child = await runtime.getExecutionState('sum/2', tenant);
  assert.deepEqual([child.status, child.result, child.workflowName], ['completed', 4, 'Square']);
});

// rule: 23
test('a failing child rejects with a ChildFailedError, over restarts', async (t) => {
  const setting = setUp(t);
  const define = () => {
    setting.runtime.registerWorkflow(
      defineWorkflow('Child', async ({ events }) => {
        await events.waitFor('Go');
        throw Object.assign(new RangeError('no stock'), { code: 'E_STOCK' });
      }),
    );
    setting.runtime.registerWorkflow(
      defineWorkflow('Parent', async ({ startChild, setState }) => {
        const child = startChild('Child');
        setState(child.executionId);
        try {
          return await child.result();
        } catch (error) {
          if (!(error instanceof ChildFailedError)) throw error;
          const cause = error.cause as Error & { code: string };
          return [error.name, error.code, error.executionId, cause.name, cause.message, cause.code];
        }
      }),
    );
  };
  define();
  const id = await setting.runtime.startWorkflow('Parent', { tenant });
  const { currentState } = await setting.runtime.getExecutionState(id, tenant);
  await until(
    () => setting.runtime.getExecutionState(currentState, tenant).catch(() => undefined),
    (state) => state?.condition === 'waiting',
  );
  await setting.reopen();
  define();
  await setting.runtime.submitEvent({ execution_id: currentState, tenant, event_name: 'Go' });
  const { result } = await setting.runtime.waitForWorkflowCompletion(id, tenant);
  assert.deepEqual(result, [
    'ChildFailedError', 'child_failed', currentState, 'RangeError', 'no stock', 'E_STOCK',
  ]);
});

// rule: 23
test('children end with their parent, unless they are abandoned', async (t) => {
  const { runtime } = setUp(t);
  runtime.registerWorkflow(defineWorkflow('Child', async ({ events }) => (await events.waitFor('Go')).name));
  runtime.registerWorkflow(
    defineWorkflow('Parent', async ({ startChild, events }) => {
      startChild('Child', { executionId: 'left' });
      startChild('Child', { executionId: 'ended', parentClose: 'terminate' });
      startChild('Child', { executionId: 'alone', parentClose: 'abandon' });
      await events.waitFor('End');
    }),
  );
  const id = await runtime.startWorkflow('Parent', { tenant });
  const status = (child: string) =>
    runtime.getExecutionState(child, tenant).then((state) => state.status, () => undefined);
  for (const child of ['left', 'ended', 'alone']) await until(() => status(child), (is) => is === 'running');
  await runtime.submitEvent({ execution_id: id, tenant, event_name: 'End' });
  assert.equal((await runtime.waitForWorkflowCompletion('left', tenant)).status, 'cancelled');
  assert.equal((await runtime.waitForWorkflowCompletion('ended', tenant)).status, 'terminated');
  await runtime.submitEvent({ execution_id: 'alone', tenant, event_name: 'Go' });
  assert.equal((await runtime.waitForWorkflowCompletion('alone', tenant)).result, 'Go');
});

// rule: 23
test('a retry of the parent starts other children, and finds those again that have an id of its own', async (t) => {
  const setting = setUp(t);
  let broken = true;
  setting.registry.registerAction({ name: 'once', retry: { maxAttempts: 1 } }, () => {
    if (broken) throw new Error('the first time');
    return 1;
  });
  const define = () => {
    const { runtime } = setting;
    runtime.registerWorkflow(defineWorkflow('Child', async ({ events }) => (await events.waitFor('Go')).name));
    runtime.registerWorkflow(
      defineWorkflow('Parent', async ({ actions, startChild }) => {
        const failure = await actions['once']!({}).then(() => undefined, (error: unknown) => error);
        const children = [
          startChild('Child'),
          startChild('Child', { executionId: 'mine', parentClose: 'abandon' }),
        ];
        if (failure !== undefined) throw failure;
        const results = await Promise.all(children.map((child) => child.result()));
        return [children.map((child) => child.executionId), results];
      }),
    );
  };
  define();
  await setting.runtime.startWorkflow('Parent', { tenant, executionId: 'p' });
  assert.equal((await setting.runtime.waitForWorkflowCompletion('p', tenant)).status, 'failed');
  const status = (child: string) =>
    setting.runtime.getExecutionState(child, tenant).then((state) => state.status, () => undefined);
  await until(() => status('p/2'), (is) => is === 'cancelled');
  broken = false;
  await setting.runtime.retryWorkflow('p', tenant);
  await until(() => status('p/2:1'), (is) => is === 'running');
  // The ids are those of the history, when the code is run again.
  await setting.reopen();
  define();
  for (const child of ['p/2:1', 'mine']) {
    await setting.runtime.submitEvent({ execution_id: child, tenant, event_name: 'Go' });
  }
  const { result } = await setting.runtime.waitForWorkflowCompletion('p', tenant);
  assert.deepEqual(result, [['p/2:1', 'mine'], ['Go', 'Go']]);
});

test('cancel of a child, and an event to it', async (t) => {
  const { runtime } = setUp(t);
  runtime.registerWorkflow(
    defineWorkflow<{ Go: number }>('Child', async ({ events }) => {
      const { payload } = await events.waitFor('Go');
      await events.waitFor('Go');
      return payload;
    }),
  );
  runtime.registerWorkflow(
    defineWorkflow('Parent', async ({ startChild }) => {
      const child = startChild('Child');
      await child.emit('Go', 5);
      child.cancel();
      return child.result().catch((error: ChildFailedError) => [error.code, (error.cause as Error).name]);
    }),
  );
  const id = await runtime.startWorkflow('Parent', { tenant });
  const { result } = await runtime.waitForWorkflowCompletion(id, tenant);
  assert.deepEqual(result, ['child_cancelled', 'CancelledError']);
});

// rule: 23
test('a parent that is cancelled awaits how its children end, and ends one that it abandons', async (t) => {
  const setting = setUp(t);
  const define = () => {
    const { runtime } = setting;
    runtime.registerWorkflow(
      defineWorkflow('Child', async ({ events, setState }) => {
        try {
          await events.waitFor('Go');
        } finally {
          setState('tidying');
          await events.waitFor('Tidied');
        }
      }),
    );
    runtime.registerWorkflow(
      defineWorkflow('Parent', async ({ startChild, setState }) => {
        const child = startChild('Child', { executionId: 'own' });
        const abandoned = startChild('Child', { executionId: 'abandoned', parentClose: 'abandon' });
        const text = (error: Error & { code?: string }) => `${error.name} ${error.code}`;
        const first = [child.result(), abandoned.result()];
        const told = await Promise.all(first.map((one) => one.catch(text)));
        setState('told');
        abandoned.cancel();
        const ended = await Promise.all([child, abandoned].map((one) => one.result().catch(text)));
        child.cancel(); // nothing: it has ended
        return [...told, ...ended, await child.result().catch(text)];
      }),
    );
  };
  define();
  const state = (id: string) =>
    setting.runtime.getExecutionState(id, tenant).then((it) => it.currentState, () => undefined);
  const id = await setting.runtime.startWorkflow('Parent', { tenant });
  for (const child of ['own', 'abandoned']) await until(() => state(child), (is) => is === 'initial');
  await setting.runtime.cancelWorkflow(id, tenant);
  for (const child of ['own', 'abandoned']) await until(() => state(child), (is) => is === 'tidying');
  await setting.reopen();
  define();
  for (const child of ['own', 'abandoned']) {
    await setting.runtime.submitEvent({ execution_id: child, tenant, event_name: 'Tidied' });
  }
  const { result } = await setting.runtime.waitForWorkflowCompletion(id, tenant);
  assert.deepEqual(result, [
    'CancelledError cancelled',
    'CancelledError cancelled',
    'ChildFailedError child_cancelled',
    'ChildFailedError child_cancelled',
    'ChildFailedError child_cancelled',
  ]);
});

test('bad options of a child are refused where they are written', async (t) => {
  const { runtime } = setUp(t);
  const wrong: Record<string, (context: WorkflowContext) => unknown> = {
    'no name': ({ startChild }) => startChild(''),
    misspelt: ({ startChild }) => startChild('Child', { parentclose: 'abandon' } as object),
    close: ({ startChild }) => startChild('Child', { parentClose: 'kill' as 'cancel' }),
    payload: ({ startChild }) => startChild('Child', { initialData: { at: new Map() } }),
    id: ({ startChild }) => startChild('Child', { executionId: 'x'.repeat(300) }),
    target: ({ events }) => events.emit('Go', 1, { executionId: '' }),
    filter: ({ events }) => events.waitFor('Go', { filter: 'yes' as never }),
  };
  runtime.registerWorkflow(
    defineWorkflow('Parent', async (context) => {
      const messages: string[] = [];
      for (const ask of Object.values(wrong)) {
        try {
          await ask(context);
        } catch (error) {
          messages.push((error as Error).message);
        }
      }
      return messages;
    }),
  );
  const id = await runtime.startWorkflow('Parent', { tenant });
  const { result } = await runtime.waitForWorkflowCompletion(id, tenant);
  const expected = [
    /must not be empty/,
    /knows no 'parentclose'.*parentClose/,
    /must be one of 'cancel', 'terminate', 'abandon', not 'kill'/,
    /initialData\.at/,
    /300 bytes/,
    /The id of the execution to emit to must not be empty/,
    /filter of events.waitFor must be a function, not a string/,
  ];
  assert.equal(result.length, expected.length);
  for (const [i, message] of expected.entries()) assert.match(result[i], message);
});

// rule: 11
test('an event to another execution; to nobody, a warning', async (t) => {
  const { runtime, lines } = setUp(t);
  runtime.registerWorkflow(
    defineWorkflow('Receiver', async ({ events }) => {
      const { payload } = await events.waitFor('Go');
      return payload;
    }),
  );
  runtime.registerWorkflow(
    defineWorkflow('Sender', async ({ events }) => {
      await events.emit('Go', { from: 'sender' }, { executionId: 'receiver' });
      await events.emit('Go', 1, { executionId: 'nobody' });
    }),
  );
  await runtime.startWorkflow('Receiver', { tenant, executionId: 'receiver' });
  await runtime.startWorkflow('Sender', { tenant });
  const { result } = await runtime.waitForWorkflowCompletion('receiver', tenant);
  assert.deepEqual(result, { from: 'sender' });
  await until(() => lines.length, (count) => count > 0);
  assert.match(lines[0]!.message, /'Go'.*reaches nobody.*'nobody'/);
});

// rule: 23
test('continueAsNew: the same id, the next numbers, new data, events carried over', async (t) => {
  const setting = setUp(t);
  const define = () =>
    setting.runtime.registerWorkflow(
      defineWorkflow<{ Add: number }, { sum: number; round: number }>('Counter', async (context) => {
        const { input, events, data, sleep, continueAsNew } = context;
        void sleep('1000d');
        data.set('seen', input.round);
        const { payload } = await events.waitFor('Add');
        const sum = input.sum + payload;
        if (input.round === 3) return { sum, all: data.all(), state: context.getCurrentState() };
        context.setState('between');
        return continueAsNew({ sum, round: input.round + 1 });
      }),
    );
  define();
  const id = await setting.runtime.startWorkflow('Counter', { tenant, initialData: { sum: 0, round: 1 } });
  for (const payload of [1, 2]) {
    await setting.runtime.enqueueEvent({ execution_id: id, tenant, event_name: 'Add', payload });
  }
  await until(
    () => setting.runtime.getExecutionState(id, tenant),
    (state) => state.data.round === 3 && state.data.seen === 3,
  );
  await setting.reopen();
  define();
  await setting.runtime.submitEvent({ execution_id: id, tenant, event_name: 'Add', payload: 4 });
  const { result } = await setting.runtime.waitForWorkflowCompletion(id, tenant);
  assert.deepEqual(result, { sum: 7, all: { sum: 3, round: 3, seen: 3 }, state: 'initial' });
  const history = await setting.runtime.getHistory(id, tenant);
  assert.deepEqual(history.map(({ sequence }) => sequence), history.map((_, i) => i + 1));
  assert.deepEqual(
    history.filter(({ type }) => type === 'WaitStarted').map(({ position }) => position),
    [2, 4, 6],
  );
});

// rule: 7
test('a filter takes what it says yes to, is not asked on replay, and must not throw', async (t) => {
  const setting = setUp(t);
  let asked = 0;
  let broken = true;
  const define = (replace = false) =>
    setting.runtime.registerWorkflow(
      defineWorkflow<{ Bid: { amount: number } }>('Auction', async ({ events, setState }) => {
        const high = await events.waitFor('Bid', {
          filter: ({ payload }) => {
            asked++;
            if (payload.amount === 13 && broken) throw new Error('unlucky');
            return payload.amount > 10;
          },
        });
        setState('sold');
        const any = await events.waitFor('Bid');
        return [high.payload.amount, any.payload.amount];
      }),
      { replace },
    );
  define();
  const id = await setting.runtime.startWorkflow('Auction', { tenant });
  const bid = (amount: number) =>
    setting.runtime.submitEvent({ execution_id: id, tenant, event_name: 'Bid', payload: { amount } });
  assert.equal((await bid(5)).consumed, false);
  assert.equal((await bid(13)).status, 'stuck');
  const { error } = await setting.runtime.getExecutionState(id, tenant);
  assert.match(error!.message, /filter of waitFor\('Bid'\).*unlucky/s);
  broken = false;
  define(true);
  const { result } = await setting.runtime.waitForWorkflowCompletion(id, tenant);
  assert.deepEqual(result, [13, 5]);
  const before = asked;
  await setting.reopen();
  define();
  await setting.runtime.getExecutionState(id, tenant);
  assert.equal(asked, before);
});
