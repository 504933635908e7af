// Executions that count by database actions, in processes that are killed between any two steps.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { Program } from './program.js';

/** Of the engine's commits and of the actions' own, on the store's database. */
const storePoints = [
  'store.before_commit', 'store.after_commit', 'database.begun', 'database.before_commit', 'database.after_commit',
];
/** How many queries a process sends and has answered for an execution, or some more. */
const queriesPerRun = 40;

/** What ends a process, by the number of those that were killed before. */
function endOf(kills: number, onServer: boolean): Record<string, string> {
  if (!onServer) {
    return { PAWL_CRASH_POINT: `${storePoints[kills % storePoints.length]}:${1 + (kills * 5) % 7}` };
  }
  if (kills % 5 === 0) return { PAWL_CRASH_POINT: `${storePoints[(kills / 5) % 2]}:${1 + (kills * 3) % 7}` };
  return { PAWL_TEST_KILL_AT: String(1 + (kills * 7) % queriesPerRun) };
}

/** The counters are in the database of the store, or at the URL of a PostgreSQL. */
export async function countUnderKills(store: string, killsWanted: number, postgres?: string): Promise<void> {
  const environment: Record<string, string> = postgres === undefined ? {} : { PAWL_TEST_POSTGRES: postgres };
  const perProcess = 2;
  let started = 0;
  let kills = 0;
  for (let whole = 0; kills < killsWanted; ) {
    const program = Program.run('counter', [store, String(started), String(perProcess)], {
      ...environment, ...endOf(kills + whole, postgres !== undefined || !store.startsWith('sqlite:')),
    });
    const { code, signal } = await program.ended();
    started += perProcess;
    if (signal === 'SIGKILL') {
      kills++;
      continue;
    }
    assert.equal(code, 0, program.output);
    // It had fewer steps than that: the next ends elsewhere.
    assert.ok(++whole <= killsWanted, 'the processes are not killed');
  }
  const last = Program.run('counter', [store, '0', String(started), 'all'], environment);
  assert.deepEqual(await last.ended(), { code: 0, signal: null }, last.output);
  const counted = JSON.parse(last.output) as unknown;
  assert.deepEqual(counted, { executions: started, completed: started, all: 2 * started, own: started });
}

/** What ends one of two workers: it is killed, or stopped until the other one has what it had. */
function endOfWorker(run: number): Record<string, string> {
  const stop = run % 2 === 1 ? ':stop' : '';
  if (run % 6 < 2) return { PAWL_CRASH_POINT: `${storePoints[run % 2]}:${1 + (run * 3) % 7}${stop}` };
  return { PAWL_TEST_KILL_AT: `${1 + (run * 7) % queriesPerRun}${stop}` };
}

async function stops({ process }: Program): Promise<boolean> {
  while (process.exitCode === null && process.signalCode === null) {
    let state = '';
    try {
      state = readFileSync(`/proc/${process.pid}/stat`, 'utf8').split(') ')[1]![0]!;
    } catch {
      // It has just ended.
    }
    if (state === 'T') return true;
    await sleep(20);
  }
  return false;
}

/** On a store in PostgreSQL, where two processes are at work at any time, which are killed and lose their leases. */
export async function countWhileWorkersLose(store: string, endsWanted: number): Promise<void> {
  const perProcess = 2;
  let runs = 0;
  let started = 0;
  let kills = 0;
  let stopped = 0;
  const worker = async () => {
    while (kills + stopped < endsWanted) {
      const run = runs++;
      assert.ok(run < 4 * endsWanted + 10, 'the processes are not killed');
      const first = started;
      started += perProcess;
      const program = Program.run('counter', [store, String(first), String(perProcess)], endOfWorker(run));
      if (await stops(program)) {
        stopped++;
        // The lease, or the lease and what a claim waits for before it ends the transaction that holds it up.
        await sleep(run % 4 === 1 ? 800 : 2_200);
        program.process.kill('SIGCONT');
      }
      const { code, signal } = await program.ended();
      if (signal === 'SIGKILL') kills++;
      else assert.equal(code, 0, program.output);
    }
  };
  const first = Program.run('counter', [store, '0', '0']);
  assert.equal((await first.ended()).code, 0, first.output);
  await Promise.all([worker(), worker()]);
  assert.ok(kills > 0 && stopped > 0, `${kills} kills, ${stopped} stops`);
  const last = Program.run('counter', [store, '0', String(started), 'all']);
  assert.deepEqual(await last.ended(), { code: 0, signal: null }, last.output);
  const counted = JSON.parse(last.output) as unknown;
  assert.deepEqual(counted, { executions: started, completed: started, all: 2 * started, own: started });
}
