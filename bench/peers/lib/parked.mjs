// The workload 'parked': executions wait for an event, in an application of their own. It is killed with
// kill -9, and so is the engine's server where it has one of its own; both are started again; each
// execution gets its event, and completes.
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { workloads } from './choices.mjs';
import { rounded, sleep } from './load.mjs';

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
  const warm = { prefix: 'warm', count: Math.min(count, warmUp[0]) };
  const all = { prefix: 'parked', count };

  await peer.reset();
  await peer.startEngine?.();
  let application = new Application(module);
  await application.ask('start');
  await application.ask('park', warm);
  await application.ask('wake', warm);
  await sleep(settleMs);

  const before = await application.ask('measure');
  const parked = await application.ask('park', all);
  await sleep(settleMs + idleSeconds * 1_000); // An engine may let go of what is idle for so long.
  const after = await application.ask('measure');
  const { cores } = await application.ask('idle', { milliseconds: settleMs });
  await tell({
    section: phases[0],
    ...parked,
    idle_cores: cores,
    memory_mib: after.memoryMib,
    memory_kib_each: rounded(((after.memoryMib - before.memoryMib) * 1_024) / count),
    bytes_each: Math.round((after.bytesWritten - before.bytesWritten) / count),
  });

  enter(phases[1]);
  await application.kill();
  await peer.killEngine?.();
  const from = performance.now();
  await peer.startEngine?.();
  application = new Application(module);
  await application.ask('start', { again: true });
  const readySeconds = (performance.now() - from) / 1_000;
  const atStart = await application.ask('measure');
  const woken = await application.ask('wake', all);
  const atEnd = await application.ask('measure');
  await tell({
    section: phases[1],
    ...woken,
    ready_s: rounded(readySeconds),
    killed_to_all_done_s: rounded(readySeconds + woken.seconds),
    memory_mib: atEnd.memoryMib,
    bytes_each: Math.round((atEnd.bytesWritten - atStart.bytesWritten) / count),
  });
  await application.kill();
  return warm.count + all.count;
}
