// Takes locks until it is done, or killed:
//
//   count STORE FILE TIMES   adds one to the number in FILE, so often, under the lock 'counter'
//   hold STORE TTL           says the fence of 'held'; 'lost' when it is; and what its row then tells a transaction
import { readFileSync, writeFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { getWorkflowRuntime, type Lock } from 'pawl';

const [, , what, store, ...rest] = process.argv;
const tenant = 'acme';
const runtime = getWorkflowRuntime(undefined, { store: store!, log: () => {} });

async function count(file: string, times: number) {
  for (let time = 0; time < times; time++) {
    await runtime.withLock('counter', { tenant }, async () => {
      const number = Number(readFileSync(file, 'utf8'));
      await sleep(1);
      writeFileSync(file, String(number + 1));
    });
  }
  console.log('done');
}

/** By the row alone: what the lock itself knows is left out. */
async function askRow(lock: Lock): Promise<string> {
  const { fence } = lock;
  return runtime.database.transaction(async (transaction) => {
    const row = await transaction('workflow_locks').where({ tenant, key: 'held', fence }).first();
    return row === undefined ? 'refused' : 'held';
  });
}

async function hold(ttl: string) {
  await runtime.withLock('held', { tenant, ttl }, async (lock) => {
    console.log(`fence ${lock.fence}`);
    await new Promise((resolve) => lock.signal.addEventListener('abort', resolve));
    const { name, code } = lock.signal.reason as { name: string; code: string };
    console.log(`${name} ${code}`);
    console.log(await askRow(lock));
    await runtime.database
      .transaction((transaction) => lock.assertHeld(transaction))
      .catch((error: Error) => console.log(error.name));
  });
  console.log('ended');
}

if (what === 'count') await count(rest[0]!, Number(rest[1]));
else await hold(rest[0]!);
await runtime.close();
