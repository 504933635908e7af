// One workload of one peer, in a process of its own, which run.mjs starts:
//
//   driver.mjs MODULE '{"workload": "three-step", "count": 5000, "seconds": 5, "idleSeconds": 0}'
//
// It sends to it { section, per_s, … } for each load, then { checked: how many } once what was acknowledged was
// found in the store, or { section, reason } when something went wrong.
import { sectionOf, sectionsOf, workloads } from './choices.mjs';
import { closedLoop, newId } from './load.mjs';
import { measureParked } from './parked.mjs';
import { bytesOnDisk, measureCores, memoryMib } from './processes.mjs';

const [, , module, settings] = process.argv;
const { count, seconds, idleSeconds, workload: name } = JSON.parse(settings);
const workload = workloads.find((each) => each.name === name);
let section = sectionsOf(workload)[0];
process.once('disconnect', () => process.exit(1)); // Nobody listens any more.

const tell = (message) => new Promise((resolve) => process.send(message, resolve));

const folder = process.env.PEERS_FOLDER;
const width = 100;

/** What one client does, again and again. */
const work = {
  'three-step': (peer) => peer.threeStep(newId('three')),

  async approval({ approval }) {
    const id = newId('approval');
    await approval.start(id);
    const submitted = approval.submitted(id);
    const from = performance.now();
    await approval.submit(id);
    await submitted;
    const milliseconds = performance.now() - from;
    await approval.approve(id);
    const result = await approval.result(id);
    if (result !== 'approved') throw new Error(`${id} is '${result}', not 'approved'`);
    return { milliseconds };
  },

  async 'fan-out'(peer) {
    const joined = await peer.fanOut(newId('fan'), width);
    if (joined !== width) throw new Error(`${joined} of ${width} were joined`);
  },
};

async function measureLoads(peer) {
  const each = () => work[name](peer);
  const [warmUpCount, warmUpConcurrency] = workload.warmUp;
  let { n: acknowledged } = await closedLoop(
    { count: Math.min(count, warmUpCount), concurrency: warmUpConcurrency },
    each,
  );
  for (const concurrency of workload.loads) {
    section = sectionOf(workload, concurrency);
    const most = concurrency === 1 ? workload.oneAtATime : count;
    const before = await bytesOnDisk(folder);
    const cores = measureCores(peer.processes());
    const figures = await closedLoop({ count: Math.min(count, most), seconds, concurrency }, each);
    acknowledged += figures.n;
    const line = { ...figures, cores: cores(), memory_mib: memoryMib(peer.processes()) };
    if (name === 'fan-out') line.steps_per_s = Math.round(figures.per_s * width);
    line.bytes_each = Math.round(((await bytesOnDisk(folder)) - before) / figures.n);
    await tell({ section, ...line });
  }
  return acknowledged;
}

async function measureLoadsOf(peer) {
  await peer.reset();
  await peer.startEngine?.();
  await peer.startApp();
  const acknowledged = await measureLoads(peer);
  await peer.stopApp();
  return acknowledged;
}

function missingOf({ code, message }) {
  if (code !== 'ERR_MODULE_NOT_FOUND' && code !== 'MODULE_NOT_FOUND') return undefined;
  const missing = /'([^']+)'/.exec(message)?.[1] ?? message;
  if (missing.startsWith('/')) return `there is no ${missing}: run make build`;
  return `the package ${missing} is not installed: scripts/bootstrap peers does, where there is one for this machine`;
}

try {
  const peer = await import(new URL(module, new URL('..', import.meta.url)));
  const enter = (phase) => (section = phase);
  const acknowledged =
    name === 'parked'
      ? await measureParked(peer, { module, count, idleSeconds, enter, tell })
      : await measureLoadsOf(peer);
  section = undefined; // What is wrong from here on concerns all of them.
  // What is in the store is counted when nothing of the load runs any more.
  const completed = await peer.completed(name);
  if (completed !== acknowledged) {
    throw new Error(`${acknowledged} were acknowledged as completed, and the store has ${completed}`);
  }
  await tell({ checked: completed });
  await peer.stopEngine?.();
  process.exit(0);
} catch (error) {
  console.error(error);
  await tell({ section, reason: missingOf(error) ?? error.message });
  process.exit(1);
}
