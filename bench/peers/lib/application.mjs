// The application whose executions are parked; lib/parked.mjs starts it, asks it, and kills it.
import { closedLoop, rounded, sleep } from './load.mjs';
import { measureCores, memoryMib } from './processes.mjs';

const { parked, processes, startApp } = await import(new URL(process.argv[2], new URL('..', import.meta.url)));
const concurrency = 64;
process.once('disconnect', () => process.exit(1));

const operations = {
  start: ({ again }) => startApp({ again }),

  async park({ prefix, count }) {
    const started = await closedLoop({ count, concurrency, whole: true }, (index) => parked.start(`${prefix}-${index}`));
    await parked.settled?.(count);
    return started;
  },

  /** The latencies are of the acknowledgement of an event; the rate is of completions. */
  async wake({ prefix, count }) {
    const from = performance.now();
    const { n: _, ...sent } = await closedLoop({ count, concurrency, whole: true }, (index) => parked.wake(`${prefix}-${index}`));
    if (parked.allDone) await parked.allDone(prefix, count);
    else await closedLoop({ count, concurrency, whole: true }, (index) => parked.result(`${prefix}-${index}`));
    const seconds = (performance.now() - from) / 1_000;
    return { ...sent, n: count, seconds: rounded(seconds), per_s: rounded(count / seconds), sent_per_s: sent.per_s };
  },

  memory: () => ({ mib: memoryMib(processes()) }),

  async idle({ milliseconds }) {
    const cores = measureCores(processes());
    await sleep(milliseconds);
    return { cores: cores() };
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
