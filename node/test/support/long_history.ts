// An execution whose history grows long: going on, coming back and looking at any point of it.
import assert from 'node:assert/strict';
import type { TestContext } from 'node:test';
import { defineWorkflow, type WorkflowContext } from 'pawl';
import { setUp } from './runtime.js';

const tenant = 'acme';
/** ExecutionStarted, WaitStarted; then EventReceived, DataSet, WaitStarted for each event. */
const recordsFirst = 2;
const recordsOfTick = 3;
const recordsPerSnapshot = 4_096;

const ticks = defineWorkflow('Ticks', async ({ events, data, input }: WorkflowContext) => {
  for (let n = 1; n <= input.target; n++) {
    await events.waitFor('Tick');
    data.set('n', n);
  }
  return input.target;
});

export async function liveLong(t: TestContext, records: number): Promise<void> {
  const { runtime, reopen } = setUp(t);
  const grown = Math.floor((records - recordsFirst) / recordsOfTick);
  const target = grown + 10;
  runtime.registerWorkflow(ticks);
  await runtime.startWorkflow('Ticks', { tenant, executionId: 'long', initialData: { target } });
  for (let sent = 0; sent < grown; ) {
    const some = Math.min(200, grown - sent);
    sent += some;
    const event = { execution_id: 'long', event_name: 'Tick', tenant };
    await Promise.all(Array.from({ length: some }, () => runtime.submitEvent(event)));
  }
  const live = await runtime.counters();
  assert.equal(live.replays, 0);
  assert.equal(live.activations, grown + 1);
  const end = await runtime.getExecutionState('long', tenant);
  assert.equal(end.data['n'], grown);
  assert.equal(end.sequence, recordsFirst + recordsOfTick * grown);

  const again = await reopen();
  again.registerWorkflow(ticks);
  for (let look = 1; look <= 30; look++) {
    const before = (await again.counters()).stateRecordsRead;
    const atSequence = recordsFirst + Math.floor(((end.sequence - recordsFirst) * look) / 31);
    const state = await again.getExecutionState('long', tenant, { atSequence });
    const n = Math.floor((atSequence - recordsFirst) / recordsOfTick);
    assert.equal(state.data['n'], n === 0 ? undefined : n);
    const read = (await again.counters()).stateRecordsRead - before;
    assert.ok(read <= recordsPerSnapshot + recordsOfTick, `${read} records were read for one point`);
  }
  assert.equal((await again.counters()).replays, 0);
  for (let n = grown; n < target; n++) {
    const sent = await again.submitEvent({ execution_id: 'long', event_name: 'Tick', tenant });
    assert.equal(sent.consumed, true);
  }
  assert.equal((await again.counters()).replays, 1);
  assert.equal((await again.waitForWorkflowCompletion('long', tenant)).result, target);
}
