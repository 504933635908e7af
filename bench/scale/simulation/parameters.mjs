// What the simulation reckons with, from the measured costs of costs.json.
import { linearRegression, median, rSquared } from 'simple-statistics';

const transitions = 4; // of a workflow with three steps

/**
 * y = fixed · x + rest, so that the largest of the relative errors counts and not that of the largest y: least squares
 * of (fixed · x + rest) / y - 1.
 */
export function fitRelative(points) {
  const sums = { xx: 0, x1: 0, ones: 0, x: 0, one: 0 };
  for (const [x, y] of points) {
    sums.xx += (x / y) ** 2;
    sums.x1 += x / y / y;
    sums.ones += 1 / y / y;
    sums.x += x / y;
    sums.one += 1 / y;
  }
  const determinant = sums.xx * sums.ones - sums.x1 ** 2;
  const fixed = (sums.x * sums.ones - sums.one * sums.x1) / determinant;
  const rest = (sums.one * sums.xx - sums.x * sums.x1) / determinant;
  const worst = Math.max(...points.map(([x, y]) => Math.abs((fixed * x + rest) / y - 1)));
  return { fixed, rest, worst };
}

const of = (costs, what, from, hints = 'redis') =>
  costs.steps.filter((step) => step.what === what && step.from === from && step.hints === hints);

/** What a survey costs, by how many workers and partitions there are: seconds = base + w · workers + p · partitions. */
export function fitSurveys(surveys) {
  const points = surveys.map(({ workers, partitions, postgres_us }) => ({ workers, partitions, us: postgres_us }));
  // The one axis at the least of the other; both are linear, and what they share counts once.
  const least = (field) => Math.min(...points.map((point) => point[field]));
  const along = (axis, other) =>
    linearRegression(points.filter((point) => point[other] === least(other)).map((point) => [point[axis], point.us]));
  const byWorkers = along('workers', 'partitions');
  const byPartitions = along('partitions', 'workers');
  const base = median([
    byWorkers.b - byPartitions.m * least('partitions'),
    byPartitions.b - byWorkers.m * least('workers'),
  ]);
  const us = (workers, partitions) => base + byWorkers.m * workers + byPartitions.m * partitions;
  const explained = rSquared(
    points.map(({ workers, partitions, us: y }) => [us(workers, partitions), y]),
    (x) => x,
  );
  return { us, base, perWorker: byWorkers.m, perPartition: byPartitions.m, explained };
}

/** Of one sync: its seconds, and the bytes that go through in a second beyond that. */
export function fitFlushes(flushes) {
  const { m } = linearRegression(flushes.map(({ bytes, p50_ms }) => [bytes, p50_ms / 1_000]));
  const small = flushes.filter(({ bytes }) => bytes <= 65_536);
  return { syncSeconds: Math.min(...small.map(({ p50_ms }) => p50_ms / 1_000)), bytesPerSecond: 1 / m };
}

export function parametersOf(costs) {
  const local = of(costs, 'three-step', 'worker');
  const elsewhere = of(costs, 'three-step', 'elsewhere');
  const fit = (field, lines = local) => fitRelative(lines.map((line) => [line.batches, line[field]]));
  const database = fit('postgres_us');
  const log = fit('wal_bytes');
  const script = fit('main_us');
  const engine = fitRelative(local.map((line) => [line.batches, line.process_us - line.main_us]));
  // What comes by mail costs that much more than what is begun where it is run, at the same size of batches: of each of
  // the sender's batches, which are the transactions that are no batch of the worker's, and of each workflow.
  const moreOf = (line, field, { fixed, rest }) => line[field] - fixed * line.batches - rest;
  const mail = fitRelative(elsewhere.map((line) => [line.transactions - line.batches, moreOf(line, 'postgres_us', database)]));
  const busiest = elsewhere.reduce((most, line) => (line.concurrency > most.concurrency ? line : most));
  const surveys = fitSurveys(costs.surveys);
  const reads = of(costs, 'read', 'elsewhere');
  const alone = costs.idle.filter(({ partitions }) => partitions === 16);
  // Of a worker that has nothing to do, without its survey.
  const otherUs = median(
    alone.map((line) => {
      const us = line.statements.filter(({ statement }) => !statement.startsWith('survey')).reduce((sum, { us }) => sum + us, 0);
      return us / line.workers;
    }),
  );
  const surveysPerSecond = median(
    alone.map((line) => (line.statements.find(({ statement }) => statement === 'survey: partitions')?.calls ?? 0) / line.workers),
  );
  return {
    commit: {
      databaseSeconds: Math.max(0, database.fixed) / 1e6,
      bytes: Math.max(0, log.fixed),
      scriptSeconds: Math.max(0, script.fixed) / 1e6,
      engineSeconds: Math.max(0, engine.fixed) / 1e6,
    },
    transition: {
      databaseSeconds: database.rest / transitions / 1e6,
      bytes: log.rest / transitions,
      scriptSeconds: script.rest / transitions / 1e6,
      engineSeconds: engine.rest / transitions / 1e6,
    },
    mail: {
      batchSeconds: Math.max(0, mail.fixed) / 1e6,
      databaseSeconds: Math.max(0, mail.rest) / 1e6,
      bytes: Math.max(0, median(elsewhere.map((line) => moreOf(line, 'wal_bytes', log)))),
      redisSeconds: busiest.redis_us / 1e6, // less than of one alone: Redis is asked for many at once
    },
    read: { databaseSeconds: median(reads.map((line) => line.postgres_us)) / 1e6 },
    log: fitFlushes(costs.flushes),
    rest: {
      surveysPerSecond,
      otherSeconds: otherUs / 1e6,
      secondsOfSurvey: (workers, partitions) => surveys.us(workers, partitions) / 1e6,
    },
    connections: Math.max(...costs.idle.map((line) => line.connections / line.workers)),
    // How well lines describe what was measured: the worst relative error.
    errors: { database: database.worst, log: log.worst, script: script.worst, engine: engine.worst, mail: mail.worst, surveys: 1 - surveys.explained },
  };
}
