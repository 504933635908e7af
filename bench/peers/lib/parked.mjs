// The workload 'parked': executions wait for an event, in an application of their own. It is killed with
// kill -9, and so is the engine's server where it has one of its own; both are started again; each
// execution gets its event, and completes.
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { workloads } from './choices.mjs';
import { rounded, sleep } from './load.mjs';
import { bytesOnDisk } from './processes.mjs';

const { phases, warmUp } = workloads.find(({ name }) => name === 'parked');
const settleMs = 3_000;

/** lib/application.mjs in a process, which does what it is asked, one thing after the other. */
class Application {
  constructor(module) {
    this.process = fork(fileURLToPath(new URL('application.mjs', import.meta.url)), [module]);
    this.ended = once(this.process, 'exit');
  }

  async ask(operation, options = {}) {
    const answered = once(this.process, 'message').then(([answer]) => answer);
    this.process.send({ operation, ...options });
    const answer = await Promise.race([answered, this.ended.then(([code]) => ({ error: `exited with status ${code}` }))]);
    if (answer.error !== undefined) throw new Error(`the application, at '${operation}': ${answer.error}`);
    return answer;
  }

  async kill() {
    this.process.kill('SIGKILL');
    await this.ended;
  }
}

export async function measureParked(peer, { module, count, idleSeconds, enter, tell }) {
  const folder = process.env.PEERS_FOLDER;
  const warm = { prefix: 'warm', count: Math.min(count, warmUp[0]) };
  const all = { prefix: 'parked', count };

  await peer.reset();
  await peer.startEngine?.();
  let application = new Application(module);
  await application.ask('start');
  await application.ask('park', warm);
  await application.ask('wake', warm);
  await sleep(settleMs);

  const memoryBefore = await application.ask('memory');
  let bytesBefore = await bytesOnDisk(folder);
  const parked = await application.ask('park', all);
  await sleep(settleMs + idleSeconds * 1_000); // An engine may let go of what is idle for so long.
  const memoryParked = await application.ask('memory');
  const { cores } = await application.ask('idle', { milliseconds: settleMs });
  await tell({
    section: phases[0],
    ...parked,
    idle_cores: cores,
    memory_mib: memoryParked.mib,
    memory_kib_each: rounded(((memoryParked.mib - memoryBefore.mib) * 1_024) / count),
    bytes_each: Math.round(((await bytesOnDisk(folder)) - bytesBefore) / count),
  });

  enter(phases[1]);
  await application.kill();
  await peer.killEngine?.();
  const from = performance.now();
  await peer.startEngine?.();
  application = new Application(module);
  await application.ask('start', { again: true });
  const readySeconds = (performance.now() - from) / 1_000;
  bytesBefore = await bytesOnDisk(folder);
  const woken = await application.ask('wake', all);
  await tell({
    section: phases[1],
    ...woken,
    ready_s: rounded(readySeconds),
    killed_to_all_done_s: rounded(readySeconds + woken.seconds),
    memory_mib: (await application.ask('memory')).mib,
    bytes_each: Math.round(((await bytesOnDisk(folder)) - bytesBefore) / count),
  });
  await application.kill();
  return warm.count + all.count;
}
