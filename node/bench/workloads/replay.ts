import { defineWorkflow } from 'pawl';
import { closedLoop } from '../harness/load.js';
import { finish } from '../harness/measurement.js';
import { forgetPeakRss, Usage } from '../harness/report.js';
import { open, submit, tenant } from '../harness/runtime.js';
import { makeStore } from '../harness/store.js';
import type { Workload } from '../harness/workload.js';

const recordsOfTick = 3; // EventReceived, DataSet, WaitStarted
const growingClients = 256;

const workflow = defineWorkflow('Ticks', async ({ events, data }) => {
  for (let n = 1; ; n++) {
    await events.waitFor('Tick');
    data.set('n', n);
  }
});

export const replay: Workload = {
  name: 'replay',
  about: 'the code of one execution run again over a history of n records',
  cases: [{ concurrency: 1, n: 300_000 }],
  anyConcurrency: false,
  async run(run) {
    const store = await makeStore(run);
    const ticks = Math.max(1, Math.floor(run.n / recordsOfTick));
    let runtime = await open(store, workflow);
    const id = await runtime.startWorkflow('Ticks', { tenant });
    await closedLoop(0, ticks, growingClients, async () => {
      await submit(runtime, id, 'Tick');
    });
    await runtime.close();

    forgetPeakRss();
    runtime = await open(store, workflow);
    const { sequence } = await runtime.getExecutionState(id, tenant);
    const usage = new Usage();
    await submit(runtime, id, 'Tick');
    const figures = usage.figures(run, sequence, 'records');
    if ((await runtime.counters()).replays !== 1) throw new Error('it was not replayed');
    await runtime.close();
    await finish(store, { running: 1, events: ticks + 1 }, sequence, figures);
  },
};
