// context.condition: without an engine, jobs in and commands out; then on the real engine.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CancelledError, defineWorkflow, InvalidArgumentError, TimeoutError, type WorkflowContext } from 'pawl';
import { Probe, tell, type Job } from './support/probe.js';
import { setUp } from './support/runtime.js';

const tenant = 'acme';
const flow = (fn: (context: WorkflowContext) => Promise<unknown>) => defineWorkflow('Flow', fn);

/** What each activation commands; the same again when it is replayed. */
async function commandsOf(fn: (context: WorkflowContext) => Promise<unknown>, ...following: Job[][]) {
  const live = await tell(flow(fn), undefined, ...following);
  for (const { violation } of live) assert.equal(violation, '');
  assert.deepEqual(await tell(flow(fn), undefined, ...following), live);
  return live.map(({ commands }) => commands);
}

const wait = (position: number, timeout = -1) => ['wait', position, timeout];

test('a condition that is met already leaves no record', async () => {
  const commands = await commandsOf(async ({ condition, setState, getCurrentState }) => {
    setState('open');
    await condition(() => getCurrentState() === 'open');
    await condition(() => true, { timeout: '1s' });
    return 'met';
  });
  assert.deepEqual(commands, [[['state', 'open'], ['complete', ['met']]]]);
});

test('variables of the code meet it, once the code has nothing more to do', async () => {
  const commands = await commandsOf(
    async ({ condition, events, sleep }) => {
      let approvals = 0;
      let seen = 0;
      void (async () => {
        for (;;) {
          await events.waitFor('Approve');
          // However many microtasks it takes.
          for (let n = 0; n < 50; n++) await Promise.resolve();
          approvals++;
        }
      })();
      void condition(() => ++seen > 1_000_000);
      await condition(() => approvals >= 2);
      await sleep(1);
      return approvals;
    },
    [{ event: 'Approve', position: 1 }],
    [{ event: 'Approve', position: 4 }],
    [{ timer: 6 }],
  );
  assert.deepEqual(commands, [
    [['wait', 1, 'Approve', -1], wait(2), wait(3)],
    [['wait', 4, 'Approve', -1]],
    [['wait', 5, 'Approve', -1], ['withdraw', 3], ['timer', 6, 1]],
    [['complete', [2]]],
  ]);
});

test('state and data that pass are seen, by conditions in order of creation', async () => {
  const commands = await commandsOf(
    async ({ condition, events, setState, getCurrentState, data }) => {
      const order: string[] = [];
      const when = (name: string, predicate: () => boolean) =>
        condition(predicate).then(() => void order.push(name));
      const all = [
        when('packed', () => getCurrentState() === 'packed'),
        when('paid', () => getCurrentState() === 'paid'),
        when('one', () => data.get('n') === 1),
        when('gone', () => getCurrentState() === 'packed' && data.get('n') === undefined),
      ];
      await events.waitFor('Go');
      setState('paid');
      data.set('n', 1);
      data.set('n', 2);
      setState('packed');
      data.delete('n');
      setState('sent');
      await Promise.all(all);
      return order;
    },
    [{ event: 'Go', position: 5 }],
  );
  assert.deepEqual(commands[1], [
    ['state', 'paid'],
    ['withdraw', 2],
    ['data', 'n', [1]],
    ['withdraw', 3],
    ['data', 'n', [2]],
    ['state', 'packed'],
    ['withdraw', 1],
    ['data', 'n', []],
    ['withdraw', 4],
    ['state', 'sent'],
    ['complete', [['paid', 'one', 'packed', 'gone']]],
  ]);
});

test('one condition can meet another', async () => {
  const commands = await commandsOf(
    async ({ condition, events }) => {
      let step = 0;
      const follow = async (from: number) => {
        await condition(() => step === from);
        step++;
      };
      void follow(2);
      void follow(1);
      await events.waitFor('Go');
      step = 1;
      await condition(() => step === 3);
    },
    [{ event: 'Go', position: 3 }],
  );
  assert.deepEqual(commands[1], [wait(4), ['withdraw', 2], ['withdraw', 1], ['withdraw', 4], ['complete', []]]);
});

test('a condition that ran out of time rejects', async () => {
  const caught: unknown[] = [];
  const commands = await commandsOf(
    async ({ condition }) => {
      try {
        await condition(() => false, { timeout: '3d' });
      } catch (error) {
        caught.push(error instanceof TimeoutError, (error as Error).message);
      }
    },
    [{ timedOut: 1 }],
  );
  assert.deepEqual(commands, [[wait(1, 259_200_000)], [['complete', []]]]);
  assert.deepEqual(caught.slice(0, 2), [true, 'Timeout waiting for a condition after 3d']);
});

test('what a predicate throws the condition rejects with', async () => {
  const commands = await commandsOf(async ({ condition, setState, getCurrentState }) => {
    const messages: string[] = [];
    const note = (error: Error) => void messages.push(error.message);
    await condition(() => {
      throw new Error('at once');
    }).catch(note);
    const later = condition(() => {
      if (getCurrentState() === 'bad') throw new Error('later');
      return false;
    });
    setState('bad');
    await later.catch(note);
    return messages;
  });
  assert.deepEqual(commands, [
    [wait(1), ['state', 'bad'], ['withdraw', 1], ['complete', [['at once', 'later']]]],
  ]);
});

test('a predicate may only look, and must tell at once', async () => {
  const refused: unknown[] = [];
  const commands = await commandsOf(async (context) => {
    const { condition, setState, data, events, actions, sleep, random, uuid, logger, compensations } = context;
    const asks: (() => unknown)[] = [
      () => setState('x'),
      () => data.set('x', 1),
      () => data.delete('x'),
      () => void events.waitFor('X'),
      () => void events.emit('X'),
      () => void actions['x']!(),
      () => void sleep(1),
      () => random(),
      () => uuid(),
      () => logger.info('x'),
      () => void condition(() => true),
      () => compensations.add('x'),
      () => void compensations.run(),
    ];
    for (const ask of asks) {
      await condition(() => {
        ask();
        return true;
      }).catch((error) => refused.push(error));
    }
    await condition((async () => true) as never).catch((error) => refused.push(error));
    await condition('yes' as never).catch((error) => refused.push(error));
    await condition(() => true, { limit: 1 } as never).catch((error) => refused.push(error));
  });
  assert.deepEqual(commands, [[['complete', []]]]);
  assert.equal(refused.length, 2 * 16);
  for (const error of refused) assert.ok(error instanceof InvalidArgumentError);
  assert.match((refused[0] as Error).message, /^setState was used by the predicate of a condition/);
  assert.match((refused[13] as Error).message, /must tell at once/);
});

test('any withdraws a condition', async () => {
  const commands = await commandsOf(
    async ({ condition, any, events }) => {
      const lost = condition(() => false);
      await any([lost, events.waitFor('Go')]);
      return lost.catch((error: Error) => error.name);
    },
    [{ event: 'Go', position: 2 }],
  );
  assert.deepEqual(commands[1], [['withdraw', 1], ['complete', ['AbortError']]]);
});

test('conditions of executions that share a turn stay apart', async () => {
  const probe = new Probe(
    flow(async ({ condition, events, setState, getCurrentState, input }) => {
      const met = condition(() => getCurrentState() === input);
      const { payload } = await events.waitFor('Set');
      setState(payload);
      await met;
      return input;
    }),
  );
  try {
    const start = (ref: number, input: string) => ({
      ref,
      sequence: 1,
      jobs: [{ start: { id: `wf-${ref}`, workflow: 'Flow', input } }],
    });
    const set = (ref: number, payload: string) => ({
      ref,
      sequence: 9,
      jobs: [{ event: 'Set', position: 2, payload }],
    });
    const results = await probe.drive(start(1, 'a'), start(2, 'b'), set(1, 'b'), set(2, 'b'));
    assert.deepEqual(
      results.map(({ commands }) => commands.at(-1)),
      [['wait', 2, 'Set', -1], ['wait', 2, 'Set', -1], ['state', 'b'], ['complete', ['b']]],
    );
  } finally {
    probe.close();
  }
});

const approval = flow(async ({ condition, events, setState, data }) => {
  const by = new Set<string>();
  const collect = async () => {
    for (;;) by.add((await events.waitFor('Approve')).payload.by);
  };
  collect().catch(() => {});
  try {
    await condition(() => by.size >= 2, { timeout: '1d' });
  } catch (error) {
    data.set('why', (error as Error).name);
    throw error;
  }
  setState('approved');
  await events.waitFor('Close');
  return [...by];
});

test('on the engine: over a restart, an event at a time', async (t) => {
  const setting = setUp(t);
  setting.runtime.registerWorkflow(approval);
  const id = await setting.runtime.startWorkflow('Flow', { tenant });
  const approve = (by: string) =>
    setting.runtime.submitEvent({ execution_id: id, tenant, event_name: 'Approve', payload: { by } });
  assert.equal((await approve('ann')).currentState, 'initial');
  await setting.reopen();
  setting.runtime.registerWorkflow(approval);
  assert.equal((await approve('ann')).currentState, 'initial');
  assert.equal((await approve('bob')).currentState, 'approved');
  await setting.reopen();
  setting.runtime.registerWorkflow(approval);
  await setting.runtime.submitEvent({ execution_id: id, tenant, event_name: 'Close' });
  const { status, result } = await setting.runtime.waitForWorkflowCompletion(id, tenant);
  assert.deepEqual([status, result], ['completed', ['ann', 'bob']]);
});

test('on the engine: cancelling rejects it', async (t) => {
  const { runtime } = setUp(t);
  runtime.registerWorkflow(approval);
  const id = await runtime.startWorkflow('Flow', { tenant });
  await runtime.cancelWorkflow(id, tenant);
  const { status, data } = await runtime.waitForWorkflowCompletion(id, tenant);
  assert.deepEqual([status, data], ['cancelled', { why: CancelledError.prototype.name }]);
});
