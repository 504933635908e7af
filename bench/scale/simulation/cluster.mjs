// Workers on PostgreSQL and Redis, as a simulation of what was measured of one worker: three steps, each of which is a
// transition that is committed before the next one begins.
//
//   client → postman: a row in the inbox → Redis → owner: JavaScript, engine → batch → three round trips → client
//
// What the model leaves out: locks and caches within PostgreSQL, whose share grows with its processors; vacuum beyond what it
// took when it was measured; uneven keys.
import { quantileSorted } from 'simple-statistics';
import { Batches, Log, Servers, Simulation, Thread } from './kernel.mjs';

const transitions = 4; // of a workflow with three steps: its start, and the end of each
const commitMost = 1_024;
const mailMost = 512;

/**
 * `costs` of a workflow, see parameters.mjs. `shape`:
 *
 *   workers, partitions, databases, redisNodes, replicas
 *   clients         for each worker, each of which begins anew when its last one is done; or
 *   perSecond       so many workflows begin in a second, at any moment
 *   elsewhere       the share of workflows that a process starts which does not own their partition
 *   reads           looks at executions, for each workflow
 *   databaseCores, workerCores, shared: one set of so many processors for all, in place of both, of which other work has
 *                   so many for itself: others
 *   roundTrip       seconds of the network, to a server and back
 *   warmUp, seconds how long it goes on before, and while, it is counted; and longer, until each client's workflow has
 *                   come round twice, and once more
 */
export function simulate(costs, shape, seed) {
  const simulation = new Simulation(seed);
  const shared = shape.shared && new Servers(simulation, shape.shared);
  const databases = Array.from({ length: shape.databases }, () => ({
    processors: shared ?? new Servers(simulation, shape.databaseCores),
    log: new Log(simulation, costs.log),
    replicas: Array.from({ length: shape.replicas ?? 0 }, () => new Servers(simulation, shape.databaseCores)),
  }));
  const redis = Array.from({ length: shape.redisNodes ?? 1 }, () => new Servers(simulation, 1));
  const workers = Array.from({ length: shape.workers }, () => makeWorker());
  const clients = workers.map((_, at) => ({ at, postmen: new Map() }));
  const latencies = [];
  const served = new Set();
  let began = 0;
  let completed = 0;
  let inside = 0; // workflows that are under way
  let insideSince = 0;
  let insideSum = 0; // workflows times seconds

  const travel = (done) => simulation.after(shape.roundTrip, done);

  function makeWorker() {
    const processors = shared ?? new Servers(simulation, shape.workerCores ?? 2);
    return { script: new Thread(processors), engine: new Thread(processors), writers: new Map() };
  }

  // One connection that commits, for each database in which it has partitions.
  function writerOf(worker, database) {
    let writer = worker.writers.get(database);
    if (writer === undefined) {
      writer = new Batches(commitMost, (items, done) =>
        worker.engine.run(simulation.varied(costs.commit.engineSeconds), () =>
          commit(databases[database], items, () => {
            done();
            worker.script.run(simulation.varied(costs.commit.scriptSeconds), () => {
              for (const item of items) item();
            });
          }),
        ),
      );
      worker.writers.set(database, writer);
    }
    return writer;
  }

  // BEGIN and the leases; the rows; COMMIT.
  function commit({ processors, log }, items, done) {
    const seconds = costs.commit.databaseSeconds + items.length * costs.transition.databaseSeconds;
    const bytes = costs.commit.bytes + items.length * costs.transition.bytes;
    travel(() =>
      processors.use(simulation.varied(0.2 * seconds), () =>
        travel(() =>
          processors.use(simulation.varied(0.7 * seconds), () =>
            travel(() =>
              processors.use(simulation.varied(0.1 * seconds), () => log.write(bytes, done)),
            ),
          ),
        ),
      ),
    );
  }

  function postmanOf(client, database) {
    let postman = client.postmen.get(database);
    if (postman === undefined) {
      postman = new Batches(mailMost, (items, done) => deliver(databases[database], items, done));
      client.postmen.set(database, postman);
    }
    return postman;
  }

  // Numbers, then rows; half of what each costs the server. The other half is its owner's reading of it.
  function deliver({ processors, log }, items, done) {
    travel(() =>
      travel(() =>
        processors.use(simulation.varied(costs.mail.batchSeconds + 0.5 * items.length * costs.mail.databaseSeconds), () =>
          log.write(items.length * costs.mail.bytes, () => {
            done();
            for (const item of items) item();
          }),
        ),
      ),
    );
  }

  const hint = (partition, seconds, done) => redis[partition % redis.length].use(simulation.varied(seconds), () => travel(done));

  function step(worker, database, left, done) {
    worker.script.run(simulation.varied(costs.transition.scriptSeconds), () =>
      worker.engine.run(simulation.varied(costs.transition.engineSeconds), () =>
        writerOf(worker, database).add(() => (left > 1 ? step(worker, database, left - 1, done) : done())),
      ),
    );
  }

  function workflow(client, done) {
    const partition = simulation.choice(shape.partitions);
    const owner = partition % shape.workers;
    const database = partition % shape.databases;
    const { processors, replicas } = databases[database];
    const since = simulation.now;
    served.add(owner);
    insideChanged(1);
    const finished = () => {
      insideChanged(-1);
      completed++;
      if (since >= began) latencies.push(simulation.now - since);
      done();
    };
    const look = () => {
      for (let read = 0; read < (shape.reads ?? 0); read++) {
        const reader = replicas.length > 0 ? replicas[simulation.choice(replicas.length)] : processors;
        reader.use(simulation.varied(costs.read.databaseSeconds), () => {});
      }
    };
    if (simulation.uniform() >= (shape.elsewhere ?? 0)) {
      return step(workers[owner], database, transitions, () => {
        look();
        finished();
      });
    }
    postmanOf(client, database).add(() =>
      hint(partition, 0.5 * costs.mail.redisSeconds, () =>
        travel(() =>
          processors.use(simulation.varied(0.5 * costs.mail.databaseSeconds), () =>
            step(workers[owner], database, transitions, () => {
              look();
              hint(partition, 0.5 * costs.mail.redisSeconds, finished);
            }),
          ),
        ),
      ),
    );
  }

  function insideChanged(by) {
    insideSum += inside * (simulation.now - insideSince);
    insideSince = simulation.now;
    inside += by;
  }

  // What workers ask for that have nothing to do: each time a look at who owns what, and the rest of it with that.
  function rest() {
    const perDatabase = Math.max(1, shape.workers / shape.databases);
    const partitions = shape.partitions / shape.databases;
    const seconds = costs.rest.secondsOfSurvey(perDatabase, partitions) + costs.rest.otherSeconds / costs.rest.surveysPerSecond;
    const every = 1 / (perDatabase * costs.rest.surveysPerSecond);
    for (const { processors } of databases) {
      const again = () => {
        processors.use(simulation.varied(seconds), () => {});
        simulation.after(simulation.exponential(every), again);
      };
      simulation.after(simulation.exponential(every), again);
    }
  }

  function otherWork() {
    const slice = 1e-3; // seconds that it has a processor for
    const again = () => {
      shared.use(simulation.varied(slice), () => {});
      simulation.after(simulation.exponential(slice / shape.others), again);
    };
    again();
  }

  // For so many seconds, and until so many more have completed.
  function goOn(seconds, completions) {
    const until = simulation.now + seconds;
    const all = completed + completions;
    simulation.run(until);
    while (completed < all) simulation.run(simulation.now + 0.05);
  }

  function load() {
    if (shape.perSecond !== undefined) {
      const arrive = () => {
        workflow(clients[simulation.choice(clients.length)], () => {});
        simulation.after(simulation.exponential(1 / shape.perSecond), arrive);
      };
      return arrive();
    }
    for (const client of clients) {
      for (let number = 0; number < shape.clients; number++) {
        const again = () => workflow(client, again);
        simulation.after(simulation.uniform() * shape.warmUp, again);
      }
    }
  }

  rest();
  if (shape.others > 0) otherWork();
  load();
  const clientsOfAll = shape.workers * (shape.clients ?? 0);
  goOn(shape.warmUp, 2 * clientsOfAll);
  began = simulation.now;
  const watched = [...databases.flatMap(({ processors, log, replicas }) => [processors, log, ...replicas]), ...redis];
  for (const each of watched) each.forget();
  for (const { script } of workers) script.processors.forget();
  insideChanged(0);
  insideSum = 0;
  const before = workers.reduce((sum, { writers }) => sum + batchesOf(writers), 0);
  const completedBefore = completed;
  goOn(shape.seconds, clientsOfAll);
  insideChanged(0);
  const seconds = simulation.now - began;
  const sorted = Float64Array.from(latencies).sort();
  const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;
  const busiest = (values) => values.reduce((most, value) => Math.max(most, value), 0);
  const done = completed - completedBefore;
  const at = (share) => (sorted.length === 0 ? Number.NaN : 1_000 * quantileSorted(sorted, share));
  return {
    per_s: done / seconds,
    p50_ms: at(0.5),
    p99_ms: at(0.99),
    mean_ms: 1_000 * mean(sorted),
    inside: insideSum / seconds,
    batches: (workers.reduce((sum, { writers }) => sum + batchesOf(writers), 0) - before) / done,
    served: served.size,
    used: {
      'PostgreSQL, processors': busiest(databases.map(({ processors }) => processors.utilisation)),
      'PostgreSQL, log': busiest(databases.map(({ log }) => log.utilisation)),
      Redis: busiest(redis.map((node) => node.utilisation)),
      workers: mean(workers.map(({ script }) => script.processors.utilisation)),
    },
  };
}

function batchesOf(writers) {
  let sum = 0;
  for (const { batches } of writers.values()) sum += batches;
  return sum;
}
