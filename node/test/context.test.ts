// What workflow code gets, without an engine: jobs in, commands out.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { defineWorkflow, NotDeterministicError, TimeoutError, type WorkflowContext } from 'pawl';
import { Probe, tell, type Command, type Job } from './support/probe.js';

const flow = (fn: (context: WorkflowContext) => Promise<unknown>) => defineWorkflow('Flow', fn);

async function commandsOf(
  fn: (context: WorkflowContext) => Promise<unknown>,
  input?: unknown,
  ...following: Job[][]
): Promise<Command[][]> {
  const results = await tell(flow(fn), input, ...following);
  for (const { violation } of results) assert.equal(violation, '');
  return results.map(({ commands }) => commands);
}

test('every member works detached', async () => {
  const [commands] = await commandsOf(async (context) => {
    const { executionId, tenant, userId, correlationId, input, actions, data, events, logger } = context;
    const { setState, getCurrentState, sleep, now, random, uuid, any, signal } = context;
    const { get, set, delete: remove, all } = data;
    const { waitFor, emit } = events;
    const { info } = logger;
    const { sendNotification } = actions;
    assert.deepEqual([executionId, tenant, userId, correlationId], ['wf-1', 'acme', undefined, undefined]);
    assert.deepEqual(input, { a: 1 });
    assert.equal(getCurrentState(), 'initial');
    setState('on');
    assert.equal(getCurrentState(), 'on');
    set('b', [2]);
    assert.deepEqual(all(), { a: 1, b: [2] });
    remove('a');
    assert.equal(get('a'), undefined);
    info('hello', { x: 1 });
    await emit('Ping', 5);
    void sendNotification!({ to: 'you' });
    void any([waitFor('X', { timeout: '1s' }), sleep(7)]);
    assert.equal(signal.aborted, false);
    assert.equal(now(), 1_000);
    assert.ok(random() < 1);
    assert.match(uuid(), /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
    await waitFor('never');
  }, { a: 1 });
  assert.deepEqual(commands, [
    ['state', 'on'],
    ['data', 'b', [[2]]],
    ['data', 'a', []],
    ['log', 1, 'hello', [[{ x: 1 }]]],
    ['emit', 'Ping', [5]],
    ['action', 1, 'sendNotification', [{ to: 'you' }], -1, -1],
    ['wait', 2, 'X', 1_000],
    ['timer', 3, 7],
    ['wait', 4, 'never', -1],
  ]);
});

// rule: 3
test('data: get is frozen, set takes a snapshot, both went through the codec', async () => {
  await commandsOf(async ({ data, input }) => {
    const order = { items: [1], at: new Date(0), gone: undefined };
    data.set('order', order);
    order.items.push(2);
    assert.deepEqual(data.get('order'), { items: [1], at: '1970-01-01T00:00:00.000Z' });
    assert.throws(() => data.get('order').items.push(3), TypeError);
    assert.throws(() => (data.get('given').deep.x = 3), TypeError);
    input.given.deep.x = 4;
    assert.deepEqual(data.get('given'), { deep: { x: 1 } }, 'input is a copy of its own');
    assert.throws(() => data.set('bad', { n: NaN }), { message: /^data\.bad\.n: NaN can't be carried/ });
    assert.throws(() => data.set('', 1), { message: /A key of data must not be empty/ });
    data.set('order', undefined);
    assert.deepEqual(data.all(), { given: { deep: { x: 1 } } });
    data.set('bytes', new Uint8Array([1]));
    data.get('bytes')[0] = 9;
    assert.deepEqual(data.get('bytes'), new Uint8Array([1]));
  }, { given: { deep: { x: 1 } } });
});

test('events: order, payload, typed names', async () => {
  const [, commands] = await commandsOf(
    async ({ events }) => {
      const event = await events.waitFor(['Approve', 'Reject', 'Approve']);
      const { id, name, payload, user_id } = event;
      return { id, name, payload, user_id };
    },
    undefined,
    [{ event: 'Reject', position: 1, payload: { why: 'cost' } }],
  );
  assert.deepEqual(commands, [['complete', [{ id: 'evt', name: 'Reject', payload: { why: 'cost' } }]]]);
});

// rule: 12
test('a wait that ran out rejects with what was waited for', async () => {
  const seen: unknown[] = [];
  const run = (timeout: number | string) =>
    commandsOf(
      async ({ events }) => {
        try {
          await events.waitFor(['A', 'B'], { timeout });
        } catch (error) {
          seen.push(error instanceof TimeoutError, (error as Error).message);
        }
      },
      undefined,
      [{ timedOut: 1 }],
    );
  await run(50);
  await run('3d');
  assert.deepEqual(seen, [
    true,
    'Timeout waiting for event(s): A, B after 50ms',
    true,
    'Timeout waiting for event(s): A, B after 3d',
  ]);
});

// rule: 8
test('signal withdraws a wait', async () => {
  const commands = await commandsOf(
    async ({ events, sleep }) => {
      const controller = new AbortController();
      const wait = events.waitFor('A', { signal: controller.signal });
      await sleep(5);
      controller.abort(new Error('changed my mind'));
      await assert.rejects(wait, /changed my mind/);
      await assert.rejects(events.waitFor('A', { signal: controller.signal }), /changed my mind/);
    },
    undefined,
    [{ timer: 2 }],
  );
  assert.deepEqual(commands[1], [['withdraw', 1], ['complete', []]]);
});

// rule: 8
test('any settles like the first and withdraws the rest; a lost race does not', async () => {
  const definition = flow(async ({ any, events, sleep, actions }) => {
    const loser = events.waitFor('A');
    const work = actions['work']!();
    const winner = await any([loser, sleep(5), work]);
    await assert.rejects(loser, { name: 'AbortError' });
    assert.equal(await Promise.race([events.waitFor('B'), sleep(1)]), undefined);
    return [winner === undefined, await work];
  });
  const results = await tell(definition, undefined, [{ timer: 3 }], [{ timer: 5 }], [{ action: 2, result: 7 }]);
  assert.deepEqual(results.map(({ commands }) => commands).slice(1), [
    [['withdraw', 1], ['wait', 4, 'B', -1], ['timer', 5, 1]],
    [],
    [['complete', [[true, 7]]]],
  ]);
  await commandsOf(async ({ any, events, actions }) => {
    await assert.rejects(any([events.waitFor('A'), actions['bad']!()]), /broken/);
    await assert.rejects(any([]), /needs at least one promise/);
  }, undefined, [{ failed: 2, message: 'broken' }]);
});

test('Promise.all, allSettled, try/catch/finally, loops, helpers and closures just work', async () => {
  const commands = await commandsOf(
    async ({ actions, setState }) => {
      const log: string[] = [];
      const helper = async (n: number): Promise<number> => {
        try {
          return await actions['work']!({ n });
        } catch (error) {
          log.push((error as Error).message);
          throw new Error('wrapped', { cause: error });
        } finally {
          log.push(`done ${n}`);
        }
      };
      const settled = await Promise.allSettled([helper(0), helper(1)]);
      let sum = 0;
      for (const one of settled) if (one.status === 'fulfilled') sum += one.value;
      setState(`sum-${sum}`);
      return log;
    },
    undefined,
    [{ action: 1, result: 5 }, { failed: 2, message: 'broken' }],
  );
  assert.deepEqual(commands[1], [
    ['state', 'sum-5'],
    ['complete', [['done 0', 'broken', 'done 1']]],
  ]);
});

test('actions: options are passed, refusals reject, the proxy is no promise', async () => {
  const [commands] = await commandsOf(async ({ actions, events }) => {
    assert.equal(await actions, actions);
    assert.ok('anything' in actions);
    assert.equal(JSON.stringify({ actions }), '{"actions":{}}');
    assert.equal(`${actions}`, '[object Object]');
    await assert.rejects(actions['x']!({ a: [NaN] }), { message: "parameters of x.a[0]: NaN can't be carried" });
    await assert.rejects(actions['x']!({}, { timeout: 'soon' }), { message: /^timeout: "soon" is no duration/ });
    await assert.rejects(actions['x']!({}, { retry: { maxAttempts: 0 } }), { message: /retry\.maxAttempts/ });
    await assert.rejects(actions['x']!({}, { timout: '3s' } as never), { message: /^actions\.x knows no 'timout'\. Did you mean 'timeout'\?$/ });
    await assert.rejects(actions['x']!({}, 3 as never), { message: /^actions\.x takes an object/ });
    await assert.rejects(actions['x']!({}, { retry: 3 } as never), { message: /^retry takes an object/ });
    await assert.rejects(actions['x']!({}, { retry: { maxAttemps: 3 } } as never), { message: /^retry knows no 'maxAttemps'/ });
    await assert.rejects(actions['x']!({}, { retry: { nonRetryable: [RangeError] } } as never), { message: /^retry\.nonRetryable\[0\] must be a string, not the class 'RangeError'/ });
    await assert.rejects(actions['']!({}), { message: /name of an action must not be empty/ });
    assert.throws(() => ((actions as any).mine = 1), { message: /can't be assigned/ });
    void actions['x']!(undefined, { timeout: '2s', retry: { maxAttempts: 9 } });
    await events.waitFor('end');
  });
  assert.deepEqual(commands, [
    ['action', 1, 'x', [{}], 2_000, 9],
    ['wait', 2, 'end', -1],
  ]);
});

test('bad arguments are refused, not ignored', async () => {
  await commandsOf(async ({ events, setState, sleep }) => {
    await assert.rejects(events.waitFor([]), /needs the name of an event/);
    await assert.rejects(events.waitFor(''), /must not be empty/);
    await assert.rejects(events.waitFor('x'.repeat(256)), /has 256 bytes; it can have 255/);
    await assert.rejects(events.waitFor('A', { filter: () => true } as never), /events\.waitFor knows no 'filter'/);
    await assert.rejects(events.waitFor('A', 50 as never), /events\.waitFor takes an object with timeout, signal, not a number/);
    await assert.rejects(events.waitFor('A', '50ms' as never), /events\.waitFor takes an object with timeout, signal, not a string/);
    await assert.rejects(events.waitFor('A', { signal: {} } as never), /must be an AbortSignal, not an object/);
    await assert.rejects(sleep('soon'), /is no duration/);
    await assert.rejects(events.emit(''), /must not be empty/);
    await assert.rejects((events.emit as any)('E', 1, { executionId: 'other' }), /reaches this execution only/);
    assert.throws(() => setState(''), /A state must not be empty/);
    assert.throws(() => setState(5 as never), /A state must be a string, not number/);
  });
});

test('what is thrown ends the execution as failed; what is returned must be carried', async () => {
  const [[failed]] = (await commandsOf(async () => {
    throw Object.assign(new RangeError('no way'), { code: 'E_WAY' });
  })) as [[any]];
  assert.equal(failed[0], 'fail');
  assert.deepEqual([failed[1].name, failed[1].message, failed[1].code], ['RangeError', 'no way', 'E_WAY']);
  assert.match(failed[1].stack, /context\.test\.ts/);
  const [[refused]] = (await commandsOf(async () => ({ total: [1n] }))) as [[any]];
  assert.deepEqual([refused[0], refused[1].name], ['fail', 'PayloadError']);
  assert.match(refused[1].message, /^result\.total\[0\]: a BigInt can't be carried/);
  const [[sync]] = (await commandsOf((() => {
    throw new Error('at once');
  }) as never)) as [[any]];
  assert.equal(sync[1].message, 'at once');
});

test('nothing follows the end', async () => {
  const results = await tell(
    flow(async ({ events, setState, actions }) => {
      void events.waitFor('A').then(() => setState('late'));
      void Promise.resolve().then(() => Promise.resolve()).then(() => actions['late']!());
      return 'early';
    }),
    undefined,
  );
  assert.deepEqual(results[0]!.commands.at(-1), ['complete', ['early']]);
});

// rule: 2
test('replay gives the same commands, and no log lines', async () => {
  const probe = new Probe(
    flow(async ({ logger, random, uuid, setState }) => {
      logger.info('once');
      setState(`${random()} ${uuid()} ${Math.random()} ${crypto.randomUUID()}`.slice(0, 40));
    }),
  );
  const start = { ref: 1, sequence: 1, jobs: [{ start: { id: 'a', workflow: 'Flow', seed: 7 } }] };
  const [live] = await probe.drive(start);
  const [again] = await probe.drive({ ...start, replaying: true });
  const [other] = await probe.drive({ ref: 2, sequence: 1, jobs: [{ start: { id: 'a', workflow: 'Flow', seed: 8 } }] });
  probe.close();
  const stateOf = (commands: Command[]) => commands.find(([kind]) => kind === 'state')?.[1] as string;
  assert.deepEqual(live!.commands.map(([kind]) => kind), ['log', 'state', 'complete']);
  assert.deepEqual(again!.commands.map(([kind]) => kind), ['state', 'complete']);
  assert.equal(stateOf(again!.commands).slice(0, 30), stateOf(live!.commands).slice(0, 30));
  assert.notEqual(stateOf(other!.commands).slice(0, 10), stateOf(live!.commands).slice(0, 10));
});

// rule: 20
test('awaiting something foreign is found', async () => {
  const [result] = await tell(flow(() => new Promise(() => {})), undefined);
  assert.match(result!.violation, /workflow 'Flow' \(execution 'wf-1'\) is suspended, but nothing of its context is pending/);
  assert.deepEqual(result!.commands, []);
});

// rule: 20
test('using the context outside of its activation throws, and is reported', async () => {
  const thrown: unknown[] = [];
  let release!: () => void;
  const outside = new Promise<void>((resolve) => (release = resolve));
  const definition = flow(async ({ events, setState }) => {
    void outside.then(() => {
      try {
        setState('from outside');
      } catch (error) {
        thrown.push(error);
      }
    });
    await events.waitFor('A');
  });
  const probe = new Probe(definition);
  await probe.drive({ ref: 1, sequence: 1, jobs: [{ start: { id: 'wf-1', workflow: 'Flow' } }] });
  release();
  await new Promise((resolve) => setImmediate(resolve));
  const [result] = await probe.drive({ ref: 1, sequence: 2, jobs: [{ event: 'A', position: 1 }] });
  probe.close();
  assert.equal(thrown.length, 1);
  assert.ok(thrown[0] instanceof NotDeterministicError);
  assert.match((thrown[0] as Error).message, /setState of execution 'wf-1' of workflow 'Flow' was used outside of its activation/);
  assert.match(result!.violation, /setState of execution 'wf-1' of workflow 'Flow' was used outside/);
});

test("using another execution's context is found", async () => {
  let shared: WorkflowContext | undefined;
  const definition = flow(async (context) => {
    shared ??= context;
    shared.setState('mine?');
    await context.events.waitFor('A');
  });
  const probe = new Probe(definition);
  const results = await probe.drive(
    { ref: 1, sequence: 1, jobs: [{ start: { id: 'wf-1', workflow: 'Flow' } }] },
    { ref: 2, sequence: 1, jobs: [{ start: { id: 'wf-2', workflow: 'Flow' } }] },
    { ref: 1, sequence: 2, jobs: [{ event: 'A', position: 1 }] },
  );
  probe.close();
  assert.equal((results[1]!.commands[0] as any)[1].name, 'NotDeterministicError');
  assert.match(results[2]!.violation, /that of 'wf-2' was running/);
});

test('a history that the code does not follow is reported', async () => {
  const results = await tell(flow(async ({ sleep }) => sleep(1)), undefined, [{ event: 'A', position: 5 }]);
  assert.match(results[1]!.violation, /position 5, which the code never reached/);
});

test('what is too large is refused where it is given', async () => {
  const large = 'x'.repeat(2 * 1024 * 1024);
  const tooLarge = (path: string) => ({ code: 'payload_too_large', message: new RegExp(`^${path}: 2097154 bytes of JSON are more than payload_bytes_max \\(2097152\\)`) });
  const [commands] = await commandsOf(async ({ data, actions, events }) => {
    assert.throws(() => data.set('k', large), tooLarge('data\\.k'));
    await assert.rejects(actions['x']!(large), tooLarge('parameters of x'));
    await assert.rejects(events.emit('E', large), tooLarge('payload'));
    data.set('k', large.slice(2));
    return large;
  });
  const [data, fail] = commands as [Command, Command];
  assert.equal(data[0], 'data');
  assert.match(fail[1].message, /^result: 2097154 bytes/);
});
