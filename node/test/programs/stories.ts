// Tells stories: workflows and what a client does to them. Can be told again after it died at any
// moment: every start and event has a name of its own. Prints how they ended, as JSON.
//
//   stories.ts STORE MODE [STORY …]     MODE: live, crowd (all begin at once), evicted, restarted
//
// A story random-N is made of the seed N.
import {
  createActionRegistry,
  defineWorkflow,
  getWorkflowRuntime,
  NonRetryableError,
  type WorkflowContext,
  type WorkflowRuntime,
} from 'pawl';
import { randomStory } from './random_story.js';

const [, , store, mode, ...chosen] = process.argv as [string, string, string, string, ...string[]];
const tenant = 'acme';

const registry = createActionRegistry();
const quick = { initialInterval: 1, maxInterval: 2, jitter: 0 };
registry.registerAction({ name: 'Echo', parameters: [], unknown: 'allow' }, (params) => params);
registry.registerAction({ name: 'Flaky', retry: quick }, (_, { attempt }) => {
  if (attempt < 3) throw new Error(`attempt ${attempt}`);
  return 'at last';
});
registry.registerAction({ name: 'Broken' }, () => {
  throw new NonRetryableError('broken');
});

/** Sends events, in order, each once. '!cancel', '!pause' and '!resume' are an operator's. */
type Events = [name: string, payload?: unknown][];

interface Story {
  run: (context: WorkflowContext) => Promise<unknown>;
  input?: unknown;
  events?: Events;
}

// Memory beside the history: what this would do to a workflow, every way but the live one must find.
let planted = 0;

const stories: Record<string, Story> = {
  // rule: 2
  sequence: {
    async run({ actions, setState, data }) {
      for (let n = 0; n < 4; n++) {
        data.set('n', await actions['echo']!({ n }));
        setState(`step ${n}`);
      }
      return data.all();
    },
  },
  // rules: 2, 14
  inPlace: {
    async run({ run, setState, events, input }) {
      const first = await run('double', () => input.n * 2);
      setState('doubled');
      const tried = await run(
        'try',
        async ({ attempt }) => {
          if (attempt < 3) throw new Error(`attempt ${attempt}`);
          return attempt;
        },
        { retry: quick },
      );
      const both = await Promise.all([run('a', () => 'a'), run('b', async () => 'b')]);
      const { payload } = await events.waitFor('Go');
      const failed = await run('fail', () => {
        throw new NonRetryableError('broken in place');
      }).catch((error: Error) => error.message);
      return [first, tried, both, payload, failed, await run('last', () => new Date(0))];
    },
    input: { n: 4 },
    events: [['Go', 'payload']],
  },
  // rule: 16
  graph: {
    async run({ executeActions, setState, events }) {
      const echo = (id: string, dependsOn: string[] = []) => ({ id, name: 'echo', parameters: { id }, dependsOn });
      const undo = (id: string) => ({ compensationActions: [{ name: 'echo', parameters: { undo: id } }] });
      setState('packing');
      const packed = await executeActions(
        [
          { ...echo('ship', ['ready']), syncPoint: 'done' },
          { ...echo('label', ['pack']), syncPoint: 'ready' },
          { ...echo('pack'), group: 'goods' },
          { id: 'tell', name: 'broken', errorStrategy: 'continue', syncPoint: 'ready' },
          { id: 'try', name: 'flaky', errorStrategy: 'retry', maxRetries: 2, retry: quick, dependsOn: ['goods'] },
        ],
        { maxConcurrency: 2 },
      );
      await events.waitFor('Return');
      setState('returning');
      const returned = await executeActions([
        { ...echo('a'), ...undo('a') },
        { ...echo('b', ['a']), ...undo('b') },
        { id: 'c', name: 'broken', dependsOn: ['b'], errorStrategy: 'compensate' },
      ]);
      return [...packed, ...returned].map(({ actionId, success, attempts, error, compensations }) => [
        actionId,
        success,
        attempts,
        error?.message,
        compensations?.map(({ result }) => result),
      ]);
    },
    events: [['Return']],
  },
  // rule: 7
  approval: {
    input: { amount: 5 },
    async run({ events, actions, setState, data, input }) {
      setState('draft');
      const { payload } = await events.waitFor('Submit');
      data.set('by', payload.by);
      await actions['echo']!({ note: 'submitted' });
      setState('submitted');
      const decision = await events.waitFor(['Approve', 'Reject']);
      setState(decision.name);
      return [input.amount, decision.name, decision.payload];
    },
    events: [['Submit', { by: 'ann' }], ['Reject', { why: ['cost'] }]],
  },
  // rule: 7
  buffered: {
    async run({ events, sleep }) {
      await sleep(30);
      const taken = [];
      for (let n = 0; n < 3; n++) taken.push((await events.waitFor(n === 1 ? 'B' : ['A', 'C'])).payload);
      return taken;
    },
    events: [['B', 1], ['A', 2], ['C', 3]],
  },
  // rules: 11, 23
  family: {
    async run({ startChild, events, setState }) {
      const child = startChild('sequence', { executionId: 'family-child' });
      const broken = startChild('breaks', { executionId: 'family-broken' });
      const [one, two] = await Promise.allSettled([child.result(), broken.result()]);
      setState('heard');
      await events.emit('Note', 1, { executionId: 'family' });
      return [one.status, two.status === 'rejected' && two.reason.cause.message, (await events.waitFor('Note')).payload];
    },
  },
  breaks: {
    async run({ actions }) {
      await actions['broken']!();
    },
  },
  // rules: 7, 23
  counting: {
    input: { round: 1, taken: [] },
    async run({ input, events, actions, continueAsNew }) {
      const { payload } = await events.waitFor('Next', { filter: (event) => event.payload % 2 === input.round % 2 });
      await actions['echo']!({ payload });
      const taken = [...input.taken, payload];
      return input.round === 3 ? taken : continueAsNew({ round: input.round + 1, taken });
    },
    events: [['Next', 2], ['Next', 4], ['Next', 1], ['Next', 3]],
  },
  // rule: 15
  parallel: {
    async run({ actions }) {
      const all = await Promise.all([1, 2, 3].map((n) => actions['echo']!({ n })));
      const settled = await Promise.allSettled([actions['broken']!(), actions['flaky']!()]);
      return [all, settled.map((one) => (one.status === 'rejected' ? one.reason.message : one.value))];
    },
  },
  // rule: 8
  races: {
    async run({ any, events, sleep, actions }) {
      const lost = events.waitFor('Never');
      const winner = await any([lost, sleep(5).then(() => 'slept')]);
      const still = events.waitFor('Late');
      await Promise.race([still, sleep(1)]);
      await actions['echo']!({});
      return [winner, (await still).name, await lost.catch((error: Error) => error.name)];
    },
    events: [['Late']],
  },
  // rule: 12
  timeouts: {
    async run({ events, data }) {
      for (let n = 0; n < 3; n++) {
        await events.waitFor('Nothing', { timeout: 3 }).catch((error: Error) => data.set(`t${n}`, error.message));
      }
      return data.all();
    },
  },
  // rule: 13
  chance: {
    async run({ random, uuid, now, actions, setState }) {
      const began = now();
      const drawn = [random() < 1, uuid().length, Math.random() < 1];
      for (let n = 0; n < 3; n++) await actions['echo']!({ id: uuid(), n: random(), ok: now() >= began });
      setState('drawn');
      return drawn;
    },
  },
  // rule: 19
  cleanup: {
    async run({ actions, setState, events }) {
      try {
        await events.waitFor('Go');
        await actions['broken']!();
      } finally {
        setState('cleaned');
        await actions['echo']!({ after: true });
      }
    },
    events: [['Go']],
  },
  // rule: 11
  talks: {
    async run({ events }) {
      const heard = [];
      for (let n = 0; n < 3; n++) {
        await events.emit('Self', { n });
        heard.push((await events.waitFor('Self')).payload.n);
      }
      return heard;
    },
  },
  // rule: 22
  cancelled: {
    async run({ events, actions, sleep, signal, setState }) {
      try {
        await Promise.all([events.waitFor('Never'), sleep('1d'), events.waitFor('Nor', { signal })]);
      } catch (error) {
        await actions['echo']!({ why: (error as Error).message, aborted: signal.aborted });
        setState('cleaned');
        throw error;
      }
    },
    events: [['!cancel']],
  },
  conditions: {
    async run({ condition, events, setState, getCurrentState, sleep, actions }) {
      let votes = 0;
      const counted = condition(() => getCurrentState() === 'counted', { timeout: '1d' });
      const late = await condition(() => votes > 0, { timeout: 5 }).catch((error: Error) => error.name);
      void (async () => {
        for (;;) votes += (await events.waitFor('Vote')).payload;
      })();
      await condition(() => votes >= 3);
      await actions['echo']!({ votes });
      await condition(() => votes >= 7);
      await sleep(1);
      setState('counted');
      await counted;
      return [late, votes];
    },
    events: [['Vote', 1], ['Vote', 2], ['Vote', 4]],
  },
  compensated: {
    async run({ actions, compensations, events, setState }) {
      try {
        for (const n of [1, 2, 3]) {
          await actions['echo']!({ book: n });
          compensations.add(n === 2 ? 'broken' : 'echo', { cancel: n });
        }
        await events.waitFor('Never');
      } catch (error) {
        const failed = await compensations.run().catch((one: Error) => one.message);
        setState(String(failed));
        throw error;
      }
    },
    events: [['!cancel']],
  },
  // rule: 22
  paused: {
    async run({ events, actions, setState }) {
      const first = await events.waitFor('First');
      setState('first');
      return [first.payload, await actions['echo']!({}), (await events.waitFor('Second')).payload];
    },
    events: [['!pause'], ['First', 1], ['Second', 2], ['!resume']],
  },
  // rule: 21
  patched: {
    async run({ events, patched, setState }) {
      const told = [];
      for (const name of ['One', 'Two']) {
        if (patched('first')) setState(`new ${name}`);
        await events.waitFor(name);
        told.push(patched('first'), patched(name));
      }
      return told;
    },
    events: [['One'], ['Two']],
  },
  planted: {
    async run({ events, setState }) {
      setState(`run ${++planted}`);
      await events.waitFor('One');
      await events.waitFor('Two');
      return 'unnoticed';
    },
    events: [['One'], ['Two']],
  },
};

for (const name of chosen) {
  const seed = /^random-(\d+)$/.exec(name)?.[1];
  if (seed !== undefined) stories[name] = randomStory(Number(seed));
}

const names = chosen.length > 0 ? chosen : Object.keys(stories).filter((name) => name !== 'planted');
const definitions = names.map((name) => defineWorkflow(name, stories[name]!.run));
// Something to put the others out of memory with, where one at most stays.
const other = defineWorkflow('Other', async ({ events }: WorkflowContext) => {
  for (;;) await events.waitFor('Stir');
});

let runtime: WorkflowRuntime;
async function open(): Promise<void> {
  runtime = getWorkflowRuntime(registry, {
    store,
    lease: '500ms',
    log: () => {},
    ...(mode === 'evicted' ? { limits: { executionsCachedMax: 1, historyPageRecordsMax: 4 } } : {}),
  });
  for (const definition of definitions) runtime.registerWorkflow(definition);
  runtime.registerWorkflow(other);
  await runtime.startWorker();
  await runtime.startWorkflow('Other', { tenant, executionId: 'other' });
}

async function between(): Promise<void> {
  if (mode === 'restarted') {
    await runtime.close();
    await open();
  }
  if (mode === 'evicted') await runtime.submitEvent({ execution_id: 'other', event_name: 'Stir', tenant });
}

/** Nothing moves by itself any more: it waits for an event, or has ended. */
async function rests(id: string): Promise<boolean> {
  for (;;) {
    const { isComplete, status, condition } = await runtime.getExecutionState(id, tenant);
    if (isComplete || status === 'stuck') return true;
    if (condition === 'waiting' || status === 'paused') return false;
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
}

await open();
if (mode === 'crowd') {
  const begin = (name: string) =>
    runtime!.startWorkflow(name, { tenant, executionId: name, initialData: stories[name]!.input });
  await Promise.all(names.map(begin));
}
const endings: Record<string, unknown> = {};
for (const name of names) {
  const { input, events = [] } = stories[name]!;
  await runtime!.startWorkflow(name, { tenant, executionId: name, initialData: input });
  let over = await rests(name);
  for (const [n, [event_name, payload]] of events.entries()) {
    await between();
    if (over) break;
    try {
      if (event_name === '!cancel') await runtime!.cancelWorkflow(name, tenant, { reason: 'told to' });
      else if (event_name === '!pause') await runtime!.pauseWorkflow(name, tenant);
      else if (event_name === '!resume') await runtime!.resumeWorkflow(name, tenant);
      else {
        await runtime!.submitEvent({ execution_id: name, tenant, event_name, payload, idempotency_key: `${name} ${n}` });
      }
    } catch (error) {
      // Told again after a crash: it may have ended meanwhile.
      if ((error as { code?: string }).code !== 'execution_ended') throw error;
    }
    over = await rests(name);
  }
  await between();
  const ended =
    (await rests(name)) && (await runtime!.getExecutionState(name, tenant)).status === 'stuck'
      ? await runtime!.getExecutionState(name, tenant)
      : await runtime!.waitForWorkflowCompletion(name, tenant);
  const { status, currentState, data, result, error } = ended;
  const history = await runtime!.getHistory(name, tenant);
  endings[name] = {
    status,
    currentState,
    data,
    result,
    error: error && { name: error.name, message: error.message },
    gapless: history.every(({ sequence }, i) => sequence === i + 1),
    outcomes: history.filter(({ type }) => /^Action(Completed|Failed)$/.test(type)).map(({ position }) => position).sort(),
    received: history.filter(({ type }) => type === 'EventReceived').map(({ name: event }) => event),
  };
}
await runtime!.close();
console.log(JSON.stringify(endings));
