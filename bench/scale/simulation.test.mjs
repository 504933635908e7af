// The simulation against queueing theory, against itself, and against what was measured of one machine.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { simulate } from './simulation/cluster.mjs';
import { Log, Servers, Simulation, Thread } from './simulation/kernel.mjs';
import { fitRelative, fitSurveys, parametersOf } from './simulation/parameters.mjs';
import { oneMachine } from './simulation/scenarios.mjs';

const near = (found, expected, tolerance, what) =>
  assert.ok(Math.abs(found / expected - 1) <= tolerance, `${what}: ${found}, and ${expected} is what it should be`);

/** Customers who come at any moment, at that rate; how long they wait on average, behind which time of service. */
function meanWait(count, perSecond, serviceOf, customers = 400_000) {
  const simulation = new Simulation(0.42);
  const servers = new Servers(simulation, count);
  let sum = 0;
  let served = 0;
  const arrive = () => {
    const since = simulation.now;
    const service = serviceOf(simulation);
    servers.use(service, () => {
      sum += simulation.now - since - service;
      served++;
    });
    simulation.after(simulation.exponential(1 / perSecond), arrive);
  };
  arrive();
  simulation.run(customers / perSecond);
  return { wait: sum / served, utilisation: servers.utilisation };
}

/** Of M/M/c: Erlang's C, and with it the mean wait. */
function erlangWait(count, perSecond, service) {
  const load = perSecond * service;
  let term = 1;
  let sum = 1;
  for (let k = 1; k < count; k++) sum += term *= load / k;
  const last = ((term * load) / count) * (count / (count - load));
  return ((last / (sum + last)) * service) / (count - load);
}

for (const [count, utilisation] of [
  [1, 0.5],
  [1, 0.8],
  [2, 0.7],
  [16, 0.9],
]) {
  test(`M/M/${count} at ${utilisation} waits as Erlang says`, () => {
    const service = 0.01;
    const perSecond = (utilisation * count) / service;
    const found = meanWait(count, perSecond, (simulation) => simulation.exponential(service));
    near(found.wait, erlangWait(count, perSecond, service), 0.06, 'mean wait');
    near(found.utilisation, utilisation, 0.02, 'utilisation');
  });
}

test('M/D/1 waits half as long as M/M/1', () => {
  const found = meanWait(1, 70, () => 0.01);
  near(found.wait, (0.7 * 0.01) / (2 * 0.3), 0.05, 'mean wait');
});

test('M/G/1 with what varies waits as Pollaczek and Khinchine say', () => {
  const found = meanWait(1, 70, (simulation) => simulation.varied(0.01));
  // The square of the deviation is a quarter of that of the mean.
  near(found.wait, ((0.7 * 0.01) / (2 * 0.3)) * (1 + 1 / 4), 0.06, 'mean wait');
});

test('a thread does one thing after the other, however many processors there are', () => {
  const simulation = new Simulation(1);
  const thread = new Thread(new Servers(simulation, 8));
  const ends = [];
  for (let number = 0; number < 5; number++) thread.run(1, () => ends.push(simulation.now));
  simulation.run(10);
  assert.deepEqual(ends, [1, 2, 3, 4, 5]);
});

test('commits share a sync: the first is alone, and those who came meanwhile go together', () => {
  const simulation = new Simulation(1);
  const log = new Log(simulation, { syncSeconds: 1, bytesPerSecond: 100 });
  const ends = [];
  for (let number = 0; number < 10; number++) log.write(10, () => ends.push(simulation.now));
  simulation.run(100);
  near(ends[0], 1.1, 1e-9, 'the first');
  assert.deepEqual(new Set(ends.slice(1)), new Set([1.1 + 1.9]));
  assert.equal(log.syncs, 2);
});

const costs = {
  commit: { databaseSeconds: 400e-6, bytes: 500, scriptSeconds: 10e-6, engineSeconds: 100e-6 },
  transition: { databaseSeconds: 40e-6, bytes: 1_000, scriptSeconds: 25e-6, engineSeconds: 15e-6 },
  mail: { batchSeconds: 100e-6, databaseSeconds: 200e-6, bytes: 1_500, redisSeconds: 40e-6 },
  read: { databaseSeconds: 100e-6 },
  log: { syncSeconds: 200e-6, bytesPerSecond: 1e9 },
  rest: { surveysPerSecond: 2, otherSeconds: 100e-6, secondsOfSurvey: (w, p) => 1e-6 * (50 + w + p) },
};
const usual = {
  workers: 10,
  partitions: 1_024,
  databases: 1,
  clients: 64,
  databaseCores: 16,
  roundTrip: 200e-6,
  warmUp: 0.2,
  seconds: 0.5,
};

test('the same seed gives the same, and another one something else', () => {
  const first = simulate(costs, usual, 0.1);
  assert.deepEqual(simulate(costs, usual, 0.1), first);
  const other = simulate(costs, usual, 0.2);
  assert.notEqual(other.mean_ms, first.mean_ms);
  near(other.per_s, first.per_s, 0.05, 'throughput');
});

test("Little's law: what is under way is what comes, times how long it stays", () => {
  for (const load of [{ perSecond: 5_000, clients: undefined }, { clients: 16 }]) {
    const found = simulate(costs, { ...usual, ...load, seconds: 2, elsewhere: 0.5 }, 0.3);
    near(found.inside, (found.per_s * found.mean_ms) / 1_000, 0.05, 'under way');
  }
});

test('all that come are served, where there is room', () => {
  const found = simulate(costs, { ...usual, clients: undefined, perSecond: 8_000, seconds: 2 }, 0.3);
  near(found.per_s, 8_000, 0.03, 'throughput');
});

test('a database that is full is what bounds, and a second one is twice as much', () => {
  const one = simulate(costs, { ...usual, workers: 100, databaseCores: 4 }, 0.4);
  assert.ok(one.used['PostgreSQL, processors'] > 0.97, `it is ${one.used['PostgreSQL, processors']} full`);
  assert.ok(one.used['PostgreSQL, processors'] < 1.01);
  // No more than its processors can do, were all batches as large as can be.
  assert.ok(one.per_s < 4 / (4 * costs.transition.databaseSeconds));
  const two = simulate(costs, { ...usual, workers: 100, databaseCores: 4, databases: 2 }, 0.4);
  near(two.per_s, 2 * one.per_s, 0.15, 'throughput of two');
});

test('one Redis is full when all comes by mail and the databases are many', () => {
  const shape = { ...usual, workers: 100, databases: 16, elsewhere: 1, clients: 128 };
  const one = simulate(costs, shape, 0.5);
  near(one.per_s, 1 / costs.mail.redisSeconds, 0.05, 'throughput');
  const four = simulate(costs, { ...shape, redisNodes: 4 }, 0.5);
  assert.ok(four.per_s > 2 * one.per_s, `${four.per_s} with four, ${one.per_s} with one`);
});

test('more workers than partitions: the others have nothing to do', () => {
  const found = simulate(costs, { ...usual, workers: 100, partitions: 16 }, 0.6);
  assert.equal(found.served, 16);
});

test('replicas take the reads', () => {
  const shape = { ...usual, workers: 100, databaseCores: 4, reads: 10 };
  const without = simulate(costs, shape, 0.7);
  const within = simulate(costs, { ...shape, replicas: 4 }, 0.7);
  assert.ok(within.per_s > 2 * without.per_s, `${within.per_s} with replicas, ${without.per_s} without`);
});

test('lines are found again from points on them', () => {
  const { fixed, rest, worst } = fitRelative([4, 1, 0.3, 0.05].map((x) => [x, 500 * x + 200]));
  near(fixed, 500, 1e-9, 'of a batch');
  near(rest, 200, 1e-9, 'of a workflow');
  assert.ok(worst < 1e-9);
  const points = [1, 10, 100].flatMap((workers) =>
    [16, 1_024].map((partitions) => ({ workers, partitions, postgres_us: 60 + 2 * workers + 0.5 * partitions })),
  );
  const survey = fitSurveys(points);
  near(survey.us(1_000, 512), 60 + 2_000 + 256, 1e-9, 'a survey');
});

const measured = JSON.parse(readFileSync(new URL('costs.json', import.meta.url), 'utf8'));

test('what was measured lies on the lines that it is reckoned with', () => {
  const { errors } = parametersOf(measured);
  for (const [what, error] of Object.entries(errors)) assert.ok(error < 0.35, `${what} is ${error} off`);
});

test('one machine does what was measured there', () => {
  // Where other work had the processors too, the machine was another one.
  const lines = oneMachine(measured).filter(({ measured: line }) => line.others_cores < 0.5);
  assert.ok(lines.length >= 3, 'too little was measured on a quiet machine');
  for (const { concurrency, measured: line, simulated } of lines) {
    near(simulated.per_s, line.per_s, 0.4, `throughput, ${concurrency} at once`);
    near(simulated.p50_ms, line.p50_ms, 0.5, `p50, ${concurrency} at once`);
  }
});
