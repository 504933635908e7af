// The crossing: between two activations, exactly one execution's code runs, to its end.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { defineWorkflow, type WorkflowContext } from 'pawl';
import { currentInstance } from '../dist/instance.js';
import { Probe, type Activation, type Job } from './support/probe.js';

const running = () => currentInstance()?.start.executionId;

async function* countTo(n: number) {
  for (let i = 1; i <= n; i++) {
    await null;
    yield i;
  }
}

/** Every way of going through microtasks and ticks; calls `check` after each step of each. */
async function wander(depth: number, check: (where: string) => void): Promise<void> {
  for (let i = 0; i < depth; i++) {
    await null;
    check('await');
  }
  await new Promise<void>((resolve) => process.nextTick(resolve));
  check('nextTick');
  await new Promise<void>((resolve) => queueMicrotask(resolve));
  check('queueMicrotask');
  await new Promise<void>((resolve) =>
    queueMicrotask(() => process.nextTick(() => queueMicrotask(() => process.nextTick(resolve)))),
  );
  check('nextTick of a microtask of a nextTick');
  for await (const _ of countTo(5)) check('async iterator');
  let chain = Promise.resolve(0);
  for (let i = 0; i < depth; i++) chain = chain.then((n) => (check('chain'), n + 1));
  await chain;
  await Promise.all(Array.from({ length: 5 }, () => wanderShallow(check)));
  await Promise.race([wanderShallow(check), wanderShallow(check)]);
  await { then: (resolve: (value: unknown) => void) => resolve(1) };
  check('thenable');
}

async function wanderShallow(check: (where: string) => void): Promise<void> {
  await null;
  check('in parallel');
  await new Promise<void>((resolve) => process.nextTick(resolve));
  check('tick in parallel');
}

test('code of two executions never mixes', async () => {
  const faults: string[] = [];
  let checks = 0;
  let steps: string[] = [];
  const wanderer = defineWorkflow('Wanderer', async ({ executionId, events, setState }: WorkflowContext) => {
    for (let round = 0; round < 4; round++) {
      await wander(20, (where) => {
        checks++;
        if (steps.at(-1) !== executionId) steps.push(executionId);
        if (running() !== executionId) faults.push(`${executionId} in ${where}: ${running()} is current`);
      });
      setState(`round-${round}`);
      await events.waitFor('Go');
    }
    return executionId;
  });
  const probe = new Probe(wanderer);
  const count = 300;
  const refs = Array.from({ length: count }, (_, i) => i + 1);
  const start = (ref: number): Job => ({ start: { id: `wf-${ref}`, workflow: 'Wanderer' } });
  for (let round = 0; round <= 4; round++) {
    steps = [];
    const { results } = await probe.driveBatches([
      refs.map((ref) => ({
        ref,
        sequence: round * 10 + 1,
        jobs: [round === 0 ? start(ref) : { event: 'Go', position: round }],
      })),
    ]);
    assert.deepEqual(
      results.map(({ ref }) => ref),
      refs,
      'one answer for each activation, in their order',
    );
    const expected =
      round < 4
        ? () => [['state', `round-${round}`], ['wait', round + 1, 'Go', -1]]
        : (ref: number) => [['complete', [`wf-${ref}`]]];
    for (const { ref, violation, commands } of results) {
      assert.equal(violation, '');
      assert.deepEqual(commands, expected(ref));
    }
    if (round < 4) {
      assert.deepEqual(steps, refs.map((ref) => `wf-${ref}`), 'each ran to its end before the next');
    }
  }
  probe.close();
  assert.deepEqual(faults, []);
  assert.ok(checks > count * 4 * 50);
});

test('nothing foreign runs while an execution is current, and none is current for what does', async () => {
  const seen: (string | undefined)[] = [];
  const note = () => seen.push(running());
  const definition = defineWorkflow('Busy', async ({ events }: WorkflowContext) => {
    for (;;) {
      await events.waitFor('Go');
      await wander(5, () => {});
    }
  });
  const probe = new Probe(definition);
  const refs = Array.from({ length: 2_000 }, (_, i) => i + 1);
  let go = true;
  const foreign = (async () => {
    while (go) {
      note();
      await new Promise((resolve) => setImmediate(resolve));
      note();
      await new Promise((resolve) => setTimeout(resolve, 0));
      note();
    }
  })();
  await probe.drive(
    ...refs.map((ref) => ({ ref, sequence: 1, jobs: [{ start: { id: `${ref}`, workflow: 'Busy' } }] as Job[] })),
  );
  await probe.drive(
    ...refs.map((ref) => ({ ref, sequence: 2, jobs: [{ event: 'Go', position: 1 }] as Job[] })),
  );
  go = false;
  await foreign;
  probe.close();
  assert.ok(seen.length >= 6, `the loop went on between turns: ${seen.length}`);
  assert.ok(seen.every((id) => id === undefined));
});

test('a turn is bounded and reports its results together', async () => {
  const definition = defineWorkflow('Once', async () => 1);
  const probe = new Probe(definition);
  const { replies } = await probe.driveBatches([
    Array.from({ length: 1_000 }, (_, i) => ({
      ref: i + 1,
      sequence: 1,
      jobs: [{ start: { id: `${i}`, workflow: 'Once' } }] as Job[],
    })),
  ]);
  probe.close();
  assert.equal(replies.reduce((a, b) => a + b), 1_000);
  assert.ok(Math.max(...replies) <= 256);
  assert.ok(replies.length < 500, `${replies.length} replies for 1,000 activations`);
});

test('a command that cannot be read sets aside its own execution alone', async () => {
  const definition = defineWorkflow('Odd', async ({ input, events, setState }: WorkflowContext) => {
    setState('begun');
    // No context method lets this through: what is given to one is checked before.
    if (input === 'element') currentInstance()!.command(5, 'key', { length: 7 } as never);
    if (input === 'count') currentInstance()!.commands += 3;
    if (input === 'kind') currentInstance()!.command(99 as never, 'key', 'value');
    if (input === 'more') currentInstance()!.out.push('left over');
    await events.waitFor('Go');
  });
  const probe = new Probe(definition);
  const inputs = ['', 'element', '', 'count', 'kind', '', 'more', ''];
  const results = await probe.drive(
    ...inputs.map((input, i) => ({
      ref: i + 1,
      sequence: 1,
      jobs: [{ start: { id: `${i}`, workflow: 'Odd', input } }] as Job[],
    })),
  );
  probe.close();
  assert.deepEqual(results.map(({ ref }) => ref), inputs.map((_, i) => i + 1));
  for (const [i, { violation, commands }] of results.entries()) {
    if (inputs[i] === '') {
      assert.deepEqual([violation, commands.length], ['', 2], `execution ${i}`);
    } else {
      assert.match(violation, /^internal: a command can't be read: /, inputs[i]);
      assert.deepEqual(commands, []);
    }
  }
});

test('what came together settles before code runs; what came apart does not', async () => {
  const order: string[] = [];
  const definition = defineWorkflow('Racer', async ({ events, sleep, executionId }: WorkflowContext) => {
    const state = { event: false, timer: false };
    const event = events.waitFor('Go').then(() => (state.event = true));
    const timer = sleep(10).then(() => (state.timer = true));
    await Promise.race([event, timer]);
    await null;
    order.push(`${executionId}: ${state.event} ${state.timer}`);
    await Promise.all([event, timer]);
  });
  const probe = new Probe(definition);
  const start = (ref: number, id: string): Activation => ({
    ref,
    sequence: 1,
    jobs: [{ start: { id, workflow: 'Racer' } }],
  });
  await probe.drive(
    start(1, 'together'),
    start(2, 'apart'),
    { ref: 1, sequence: 2, jobs: [{ event: 'Go', position: 1 }, { timer: 2 }] },
    { ref: 2, sequence: 2, jobs: [{ event: 'Go', position: 1 }] },
    { ref: 2, sequence: 3, jobs: [{ timer: 2 }] },
  );
  probe.close();
  assert.deepEqual(order, ['together: true true', 'apart: true false']);
});

// A generator of its own, so that a failing seed can be tried again.
function generator(seed: number): (below: number) => number {
  let state = seed >>> 0;
  return (below) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

/** What it does depends on all that it is given, and on randomness and time. */
const chameleon = defineWorkflow('Chameleon', async (context: WorkflowContext) => {
  const { actions, events, sleep, random, uuid, now, data, setState } = context;
  let open = 0;
  const note = (label: string) => {
    data.set('trail', [...(data.get('trail') ?? []).slice(-5), label, now(), uuid()]);
    setState(`${label}-${open}`);
  };
  const step = async (label: string): Promise<void> => {
    open++;
    const dice = random();
    if (dice < 0.3) await actions['work']!({ label }).catch((error: Error) => note(error.message));
    else if (dice < 0.6) await events.waitFor(['A', 'B']);
    else if (dice < 0.8) await sleep(Math.floor(random() * 100));
    else await context.any([events.waitFor('A'), sleep(5)]);
    open--;
    note(label);
    if (random() < 0.5) await Promise.race([step(`${label}l`), step(`${label}r`)]);
    else await step(`${label}.`);
  };
  await Promise.all([step('x'), step('y')]);
});

test('random histories under random batch sizes give the same commands', async () => {
  for (let seed = 1; seed <= 8; seed++) {
    const below = generator(seed);
    const refs = Array.from({ length: 30 }, (_, i) => i + 1);
    const live = new Probe(chameleon);
    const history = new Map<number, { activation: Activation; commands: unknown }[]>();
    const pending = new Map<number, Map<number, string>>();
    const deliver = async (activation: Activation) => {
      const [result] = await live.drive(activation);
      assert.equal(result!.violation, '', `seed ${seed}`);
      const open = pending.get(activation.ref) ?? new Map<number, string>();
      pending.set(activation.ref, open);
      for (const [kind, position] of result!.commands) {
        if (kind === 'action' || kind === 'wait' || kind === 'timer') open.set(position as number, kind);
        if (kind === 'withdraw') open.delete(position as number);
      }
      const all = history.get(activation.ref) ?? [];
      history.set(activation.ref, all);
      all.push({ activation, commands: result!.commands });
    };
    for (const ref of refs) {
      await deliver({
        ref,
        sequence: 1,
        now: 1_000,
        jobs: [{ start: { id: `wf-${ref}`, workflow: 'Chameleon', seed: ref * 7 + seed } }],
      });
    }
    for (let round = 2; round < 14; round++) {
      for (const ref of refs) {
        const open = pending.get(ref)!;
        const jobs: Job[] = [];
        for (const [position, kind] of [...open]) {
          if (below(3) !== 0) continue;
          open.delete(position);
          if (kind === 'timer') jobs.push({ timer: position });
          else if (kind === 'wait') jobs.push({ event: below(2) === 0 ? 'A' : 'B', position });
          else if (below(4) === 0) jobs.push({ failed: position, message: 'broken' });
          else jobs.push({ action: position, result: { n: below(9) } });
        }
        if (jobs.length > 0) await deliver({ ref, sequence: round, now: 1_000 + round * 10, jobs });
      }
    }
    live.close();

    // Again, interleaved at random and cut into batches at random.
    const queues = [...history.values()].map((all) => [...all]);
    const mixed: { activation: Activation; commands: unknown }[] = [];
    for (let left = queues.filter((q) => q.length > 0); left.length > 0; left = queues.filter((q) => q.length > 0)) {
      mixed.push(left[below(left.length)]!.shift()!);
    }
    const batches: Activation[][] = [[]];
    for (const { activation } of mixed) {
      if (below(10) === 0) batches.push([]);
      batches.at(-1)!.push({ ...activation, replaying: true });
    }
    const replay = new Probe(chameleon);
    const { results } = await replay.driveBatches(batches);
    replay.close();
    assert.ok(mixed.length > 100);
    results.forEach(({ ref, sequence, violation, commands }, i) => {
      assert.deepEqual(
        { ref, sequence, violation, commands },
        {
          ref: mixed[i]!.activation.ref,
          sequence: mixed[i]!.activation.sequence,
          violation: '',
          commands: mixed[i]!.commands,
        },
        `seed ${seed}`,
      );
    });
  }
});

test('an evicted execution is told again from its start', async () => {
  const definition = defineWorkflow('Twice', async ({ events, setState }: WorkflowContext) => {
    const event = await events.waitFor('Go');
    setState(event.payload.to);
    await events.waitFor('End');
  });
  const probe = new Probe(definition);
  const start: Activation = { ref: 1, sequence: 1, jobs: [{ start: { id: 'a', workflow: 'Twice' } }] };
  await probe.drive(start);
  probe.evict(1);
  const results = await probe.drive(
    { ...start, replaying: true },
    { ref: 1, sequence: 3, jobs: [{ event: 'Go', position: 1, payload: { to: 'on' } }] },
  );
  probe.evict(1);
  const [lost] = await probe.drive({ ref: 1, sequence: 9, jobs: [{ event: 'End', position: 2 }] });
  probe.close();
  assert.deepEqual(results.map(({ commands }) => commands), [
    [['wait', 1, 'Go', -1]],
    [['state', 'on'], ['wait', 2, 'End', -1]],
  ]);
  assert.match(lost!.violation, /has no instance 1/);
});
