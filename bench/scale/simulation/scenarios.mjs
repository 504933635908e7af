// What is simulated: the machine that was measured, to see whether the model holds there, and clusters that nobody here
// has.
import { simulate } from './cluster.mjs';
import { parametersOf } from './parameters.mjs';

const seed = 0.20261128;

/** What is taken for granted of machines that were not measured. */
export const assumed = {
  databaseCores: 16, // of one PostgreSQL, each as fast as one that was measured
  workerCores: 2,
  roundTrip: 0.3e-3, // seconds
  reads: 5, // looks at executions, for each workflow, where there are any
  clients: 32, // for each worker
};

/**
 * Three steps by one worker beside its PostgreSQL, each measured line with what is simulated of it, beside as much of
 * other work as there was.
 */
export function oneMachine(costs) {
  const parameters = parametersOf(costs);
  return costs.steps
    .filter(({ what, from }) => what === 'three-step' && from === 'worker')
    .map((line) => {
      const shape = {
        workers: 1,
        partitions: 16,
        databases: 1,
        clients: line.concurrency,
        shared: costs.machine.cores,
        others: line.others_cores,
        roundTrip: 20e-6, // the loopback's
        warmUp: 0.5,
        seconds: 3,
      };
      return { concurrency: line.concurrency, measured: line, simulated: simulate(parameters, shape, seed) };
    });
}

const shapes = [
  { what: '1 PostgreSQL, 16 partitions as a store is made today', databases: 1, partitions: 16 },
  { what: '1 PostgreSQL, 1,024 partitions', databases: 1 },
  { what: '4 PostgreSQL', databases: 4 },
  { what: '16 PostgreSQL', databases: 16 },
  { what: '16 PostgreSQL, Redis Cluster of 8', databases: 16, redisNodes: 8 },
  { what: '1 PostgreSQL, 5 reads each', databases: 1, reads: assumed.reads },
  { what: '1 PostgreSQL, 5 reads each, 2 replicas', databases: 1, reads: assumed.reads, replicas: 2 },
];

/** Each with how much it does at most, and how long a workflow takes at half of that. */
export function clusters(costs, tell = () => {}) {
  const parameters = parametersOf(costs);
  const lines = [];
  for (const { what, ...shape } of shapes) {
    for (const workers of [10, 100, 1_000]) {
      const all = {
        workers,
        partitions: 1_024,
        redisNodes: 1,
        elsewhere: 1 - 1 / workers,
        databaseCores: assumed.databaseCores,
        workerCores: assumed.workerCores,
        roundTrip: assumed.roundTrip,
        ...shape,
      };
      const most = simulate(parameters, { ...all, clients: assumed.clients, warmUp: 0.2, seconds: 0.3 }, seed);
      const half = simulate(parameters, { ...all, perSecond: most.per_s / 2, warmUp: 0.5, seconds: 0.5 }, seed);
      const line = { what, workers, most, half };
      lines.push(line);
      tell(line);
    }
  }
  return lines;
}

/** The one of which the most is used; what waits for none of them waits for round trips and syncs. */
export function limitOf({ used }) {
  const [[name, share]] = Object.entries(used).sort((a, b) => b[1] - a[1]);
  return { name: share > 0.8 ? name : 'none of them', share };
}
