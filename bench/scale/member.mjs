// A process of a cluster, which bench/scale/cluster.mjs starts, asks and kills: a worker, or a client that has none of
// the workflows' code. Answers one question after the other.
import { createActionRegistry, defineWorkflow, getWorkflowRuntime } from '../../node/index.mjs';
import { readFileSync, readdirSync } from 'node:fs';
import { closedLoop } from '../peers/lib/load.mjs';

const tenant = 'bench';
process.once('disconnect', () => process.exit(1));

const registry = createActionRegistry({ builtIns: false });
registry.registerSimpleAction(
  'benchStep',
  'Does nothing',
  [{ name: 'number', type: 'number', required: true }],
  ({ number }) => number,
);
const threeStep = defineWorkflow('ThreeStep', async ({ input, actions }) => {
  let sum = input;
  for (let number = 1; number <= 3; number++) sum += await actions.benchStep({ number });
  return sum;
});
const ticks = defineWorkflow('Ticks', async ({ events }) => {
  for (;;) await events.waitFor('Tick');
});

let runtime;
let ticking; // { stopped, mark, first: when the first tick that was begun after the mark was answered, of each id }

const tick = (id) => runtime.submitEvent({ execution_id: id, event_name: 'Tick', tenant });

/** Seconds on the processors so far: of the thread that runs JavaScript, and of all threads. */
function processorSeconds() {
  const of = (thread) => {
    const text = readFileSync(`/proc/self/task/${thread}/stat`, 'utf8');
    const fields = text.slice(text.lastIndexOf(')') + 2).split(' ').map(Number);
    return (fields[11] + fields[12]) / 100;
  };
  return { main: of(process.pid), all: readdirSync('/proc/self/task').reduce((sum, thread) => sum + of(thread), 0) };
}

/** With what this process spent in it. */
async function counted(work) {
  const before = await operations.spent({});
  return { ...(await work()), ...(await operations.spent(before)) };
}

const operations = {
  async open({ works, store, redis, lease, partitions }) {
    runtime = getWorkflowRuntime(works ? registry : createActionRegistry(), {
      store,
      lease,
      ...(partitions !== undefined && { partitions }),
      redis,
      log: () => {},
    });
    if (!works) return;
    for (const workflow of [threeStep, ticks]) runtime.registerWorkflow(workflow);
    await runtime.startWorker();
  },

  /** Clients of this process, each of which begins the next when its last one is done. */
  threeSteps: ({ count, seconds, concurrency }) =>
    counted(() =>
      closedLoop({ count, seconds, concurrency, whole: seconds === undefined }, async () => {
        const id = await runtime.startWorkflow('ThreeStep', { tenant, initialData: 36 });
        const { status, result } = await runtime.waitForWorkflowCompletion(id, tenant);
        if (status !== 'completed' || result !== 42) throw new Error(`${id} is ${status} with ${result}`);
      }),
    ),

  /** Since `main_s`, `all_s` and `batches`, which an earlier call gave: what this process spent, whoever asked it to. */
  async spent({ main_s = 0, all_s = 0, batches = 0 }) {
    const { main, all } = processorSeconds();
    return {
      main_s: main - main_s,
      all_s: all - all_s,
      batches: (await runtime.counters()).commitBatches - batches,
    };
  },

  async park({ ids }) {
    await closedLoop({ count: ids.length, concurrency: 32, whole: true }, (at) =>
      runtime.startWorkflow('Ticks', { tenant, executionId: ids[at] }),
    );
  },

  /** Events to those, each of which gets the next one when its last one is answered. */
  events: ({ ids, count }) =>
    counted(() => closedLoop({ count, concurrency: ids.length, whole: true }, (at) => tick(ids[at % ids.length]))),

  reads: ({ ids, count, concurrency }) =>
    counted(() =>
      closedLoop({ count, concurrency, whole: true }, (at) => runtime.getHandle(ids[at % ids.length], tenant).getState()),
    ),

  /** Begins to send events to each of them, without end. */
  tickAll({ ids }) {
    ticking = { stopped: false, mark: 0, first: new Map() };
    const mine = ticking;
    for (const id of ids) {
      void (async () => {
        while (!mine.stopped) {
          const begun = Date.now();
          const answered = await tick(id).then(
            () => true,
            () => false,
          );
          if (answered && mine.mark > 0 && begun >= mine.mark && !mine.first.has(id)) mine.first.set(id, Date.now());
        }
      })();
    }
  },

  /** Ticks that are begun from here on are what `firstTicks` tells of. */
  mark() {
    ticking.mark = Date.now();
  },

  async firstTicks({ ids, secondsMax }) {
    const until = Date.now() + secondsMax * 1_000;
    while (ids.some((id) => !ticking.first.has(id)) && Date.now() < until) {
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    ticking.stopped = true;
    return { first: Object.fromEntries(ticking.first) };
  },

  async close() {
    await runtime.close();
  },
};

process.on('message', async ({ operation, ...options }) => {
  try {
    process.send((await operations[operation](options)) ?? {});
  } catch (error) {
    console.error(error);
    process.send({ error: error.message });
  }
});
