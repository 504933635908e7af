// BullMQ on Redis: a queue of jobs, no durable execution; what a queue alone costs. Three steps are a chain
// of jobs, the fan-out a job with 100 children. Nothing in it waits durably for an event.
//   BULLMQ_CONCURRENCY    jobs that its worker runs at once (64)
import { FlowProducer, Queue, Worker } from 'bullmq';
import { Redis } from 'ioredis';

const connection = { host: '127.0.0.1', port: Number(process.env.REDIS_PORT), maxRetriesPerRequest: null };
const queueName = 'steps';
const whenDone = new Map(); // from the id of a job to whom waits for it

let flows;
let worker;

export async function reset() {
  const redis = new Redis(connection);
  await redis.flushall();
  redis.disconnect();
}

export async function startApp() {
  flows = new FlowProducer({ connection });
  const handler = async (job) => (job.name === 'join' ? Object.keys(await job.getChildrenValues()).length : 'ok');
  worker = new Worker(queueName, handler, {
    connection,
    concurrency: Number(process.env.BULLMQ_CONCURRENCY ?? 64),
    drainDelay: 1,
  });
  worker.on('completed', (job, result) => {
    whenDone.get(job.id)?.(result);
    whenDone.delete(job.id);
  });
  await worker.waitUntilReady();
}

export async function stopApp() {
  await worker.close();
  await flows.close();
}

export const processes = () => ({ redis: Number(process.env.PEERS_REDIS_PID), app: process.pid });

/** Of the jobs that end a workflow. */
export async function completed(workflow) {
  const queue = new Queue(queueName, { connection });
  let count = 0;
  for (const job of await queue.getCompleted(0, -1)) if (job.name === last[workflow]) count++;
  await queue.close();
  return count;
}

const last = { 'three-step': 'third', 'fan-out': 'join' };
const job = (name, jobId, children) => ({ name, queueName, data: { name }, opts: { jobId }, children });

async function run(flow) {
  const done = new Promise((resolve) => whenDone.set(flow.opts.jobId, resolve));
  await flows.add(flow);
  return done;
}

export const threeStep = (id) =>
  run(job('third', id, [job('second', `${id}-second`, [job('first', `${id}-first`)])]));

export const fanOut = (id, width) =>
  run(job('join', id, Array.from({ length: width }, (_, index) => job('step', `${id}-${index}`))));
