// What the benchmark of peers makes of the environment and of what was measured. Nothing is measured here.
import assert from 'node:assert/strict';
import { fork } from 'node:child_process';
import { once } from 'node:events';
import test from 'node:test';
import { fileURLToPath } from 'node:url';

const peers = new URL('../../bench/peers/', import.meta.url);
const { choose, peers: all, sectionsOf, workloads } = await import(new URL('lib/choices.mjs', peers).href);
const { closedLoop } = await import(new URL('lib/load.mjs', peers).href);
const { table } = await import(new URL('lib/table.mjs', peers).href);

type Named = { name: string };
const names = (list: Named[]) => list.map(({ name }) => name);

test('without a word everything is measured', () => {
  const chosen = choose({});
  assert.deepEqual(names(chosen.peers), names(all));
  assert.deepEqual(names(chosen.workloads), ['three-step', 'approval', 'fan-out', 'parked']);
  assert.deepEqual([chosen.limits, chosen.count, chosen.seconds], [true, undefined, 5]);
});

test('peers and workloads are chosen by name, workloads by number too', () => {
  const chosen = choose({ PEERS: 'dbos, pawl', WORKLOADS: 'W4,Three-Step', N: '200' });
  assert.deepEqual(names(chosen.peers), ['pawl', 'dbos']);
  assert.deepEqual(names(chosen.workloads), ['three-step', 'parked']);
  assert.deepEqual([chosen.limits, chosen.count, chosen.seconds], [false, 200, 0]);
});

test('a choice that is none says what there is', () => {
  assert.throws(() => choose({ PEERS: 'pawl,dboss' }), /^Error: PEERS: there is no 'dboss'\. There are pawl, .*limits;/);
  assert.throws(() => choose({ WORKLOADS: 'W5' }), /WORKLOADS: there is no 'w5'\. There are three-step \(W1\), /);
  for (const N of ['0', '1.5', 'many', '-3']) assert.throws(() => choose({ N }), /N: '.*' is no whole number of 1 or more/);
  assert.throws(() => choose({ LOAD_SECONDS: '-1' }), /LOAD_SECONDS: '-1' is no number of 0 or more/);
});

test('peers that need the same service stand together, so that it is started once', () => {
  const services = all.map(({ service }: { service?: string }) => service);
  const changes = services.filter((service: string | undefined, at: number) => service !== services[at - 1]);
  assert.equal(new Set(changes).size, changes.length);
});

test('a load has as many calls as asked for, and never more than so many at once', async () => {
  let atOnce = 0;
  let most = 0;
  const seen: number[] = [];
  const figures = await closedLoop({ count: 50, concurrency: 8 }, async (index: number) => {
    most = Math.max(most, ++atOnce);
    seen.push(index);
    await new Promise(setImmediate);
    atOnce--;
    return { milliseconds: index };
  });
  assert.deepEqual(seen, Array.from({ length: 50 }, (_, index) => index));
  assert.equal(most, 8);
  assert.deepEqual([figures.n, figures.p50_ms, figures.p99_ms, figures.max_ms], [50, 25, 49, 49]);
  await assert.rejects(
    closedLoop({ count: 50, concurrency: 8 }, async () => Promise.reject(new Error('the peer failed'))),
    /the peer failed/,
  );
});

/** What the driver tells of a peer whose store has so many for each that was completed. */
async function drive(ofEach: number): Promise<{ section?: string; n?: number; checked?: number; reason?: string }[]> {
  const peer = `
    let completions = 0;
    export const reset = () => {}, startApp = () => {}, stopApp = () => {}, processes = () => ({ app: process.pid });
    export const threeStep = async () => { completions++; };
    export const completed = () => completions * ${ofEach};`;
  const settings = JSON.stringify({ workload: 'three-step', count: 10, seconds: 0, idleSeconds: 0 });
  const module = `data:text/javascript,${encodeURIComponent(peer)}`;
  const driver = fork(fileURLToPath(new URL('lib/driver.mjs', peers)), [module, settings], {
    execArgv: [],
    silent: true,
    env: { ...process.env, PEERS_FOLDER: '/proc' }, // nothing of a disk, for which the driver would wait
  });
  const told: object[] = [];
  driver.on('message', (message: object) => told.push(message));
  await Promise.all([once(driver, 'exit'), once(driver, 'disconnect')]);
  return told;
}

test('what was acknowledged has to be in the store when the loads are over', async () => {
  const kept = await drive(1);
  assert.deepEqual(
    kept.map(({ section, n, checked }) => [section, n, checked]),
    [
      ['three-step, one at a time', 10, undefined],
      ['three-step, 64 at once', 10, undefined],
      ['three-step, 256 at once', 10, undefined],
      [undefined, undefined, 40], // and 10 to warm up
    ],
  );
  const lost = await drive(0.5);
  assert.deepEqual(lost.length, 4);
  assert.deepEqual(lost.at(-1), { reason: '40 were acknowledged as completed, and the store has 20' });
});

const line = (peer: string, section: string, more: object) => ({
  peer,
  workload: workloads.find((workload: Named) => sectionsOf(workload).includes(section)).name,
  section,
  p50_ms: 1.234,
  p99_ms: 12.34,
  memory_mib: 80.12,
  bytes_each: 12_345,
  ...more,
});

/** The cells of the peer's line below that title. */
function row(text: string, title: string, peer: string): string[] {
  const lines = text.split('\n');
  const found = lines.slice(lines.indexOf(title) + 1).find((each) => each.startsWith(`  ${peer} `));
  assert.ok(lines.includes(title) && found !== undefined, `no line of ${peer} below '${title}' in\n${text}`);
  return found.trim().split(/ {2,}/);
}

test('the table compares each peer with Pawl, workload by workload', () => {
  const text = table([
    line('dbos', 'three-step, 256 at once', { per_s: 466.2, checked: 5_800 }),
    line('pawl', 'three-step, 256 at once', { per_s: 9_324, checked: 105_800 }),
    line('pawl-postgres', 'three-step, 256 at once', { per_s: 4_662, checked: 50_000 }),
    line('dbos', 'fan-out, 16 at once', { per_s: 11.9, steps_per_s: 1_190 }),
  ]);
  assert.deepEqual(row(text, 'three-step, 256 at once', 'pawl'), [
    'pawl', '9,324', '1.23', '12.3', '80.1', '12,345', '1×', '0.5×', 'each commit synced', '105,800 counted',
  ]);
  assert.deepEqual(row(text, 'three-step, 256 at once', 'dbos').slice(0, 8), [
    'dbos', '466', '1.23', '12.3', '80.1', '12,345', '20×', '10×',
  ]);
  // Pawl has no such figure: there is nothing to compare with.
  const fanOut = row(text, 'fan-out, 16 at once (steps per s)', 'dbos');
  assert.deepEqual([fanOut[1], fanOut[6], fanOut[7], fanOut[9]], ['1,190', '–', '–', 'not counted afterwards']);
  assert.ok(!text.includes('approval'), 'what was not measured has no lines');
});

test('a peer that failed has a line that says why, and keeps the figures that it has', () => {
  const text = table([
    line('pawl', 'approval, one at a time', { per_s: 500 }),
    line('openworkflow', 'approval, one at a time', { per_s: 20 }),
    { peer: 'openworkflow', workload: 'approval', section: 'approval, 64 at once', reason: 'nothing completed for 60 s' },
    { peer: 'bullmq', workload: 'approval', reason: 'a queue has no durable wait for an event' },
    line('restate', 'approval, one at a time', { per_s: 100 }),
    { peer: 'restate', workload: 'approval', reason: '2,300 were acknowledged as completed, and the store has 2,299' },
  ]);
  assert.deepEqual(row(text, 'approval, one at a time', 'openworkflow').slice(0, 2), ['openworkflow', '20']);
  assert.deepEqual(row(text, 'approval, 64 at once', 'openworkflow'), ['openworkflow', 'nothing completed for 60 s']);
  assert.deepEqual(row(text, 'approval, one at a time', 'bullmq'), ['bullmq', 'a queue has no durable wait for an event']);
  assert.deepEqual(row(text, 'approval, 64 at once', 'bullmq'), ['bullmq', 'as above']);
  assert.match(row(text, 'approval, one at a time', 'restate').at(-1)!, /^2,300 were acknowledged .* 2,299$/);
});

test('the limits of the machine stand below the workloads', () => {
  const text = table([
    { peer: 'limits', limit: 'disk, 4 KiB appended, fdatasync', per_s: 4_746.2, p50_ms: 0.2, p99_ms: 0.319 },
    { peer: 'limits', limit: 'redis', reason: 'there is no redis-benchmark: run scripts/bootstrap peers' },
  ]);
  assert.deepEqual(row(text, 'limits of the machine', 'disk, 4 KiB appended, fdatasync').slice(0, 4), [
    'disk, 4 KiB appended, fdatasync', '4,746', '0.2', '0.319',
  ]);
  assert.deepEqual(row(text, 'limits of the machine', 'redis'), ['redis', 'there is no redis-benchmark: run scripts/bootstrap peers']);
});
