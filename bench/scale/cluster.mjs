// PostgreSQL and Redis of a run, and processes of a cluster beside them; all end with this process.
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { emptyDatabase, query } from '../peers/lib/postgres.mjs';
import { startService } from '../peers/lib/services.mjs';

const member = fileURLToPath(new URL('member.mjs', import.meta.url));

export class Servers {
  #services = [];
  #folder;

  /** Below `parent`, which lies on a disk. `settings` are PostgreSQL's, beside those that it comes with. */
  static async start(parent, settings) {
    const servers = new Servers();
    servers.#folder = mkdtempSync(join(parent, 'pawl-scale-'));
    chmodSync(servers.#folder, 0o755); // PostgreSQL is another user's.
    try {
      for (const name of ['postgres', 'redis']) {
        const service = await startService(name, join(servers.#folder, name), name === 'postgres' ? settings : undefined);
        servers.#services.push(service);
        Object.assign(process.env, service.environment); // for psql
      }
    } catch (error) {
      await servers.stop();
      throw error;
    }
    return servers;
  }

  get folder() {
    return this.#folder;
  }

  get postgresPort() {
    return Number(process.env.PGPORT);
  }

  get redis() {
    return `redis://127.0.0.1:${process.env.REDIS_PORT}`;
  }

  get pids() {
    return { postgres: Number(process.env.PEERS_POSTGRES_PID), redis: Number(process.env.PEERS_REDIS_PID) };
  }

  async stop() {
    for (const service of this.#services.splice(0)) await service.stop();
    rmSync(this.#folder, { recursive: true, force: true, maxRetries: 5 });
  }
}

class Member {
  constructor() {
    this.process = fork(member, [], { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] });
    this.ended = once(this.process, 'exit');
  }

  async ask(operation, options = {}) {
    const answered = once(this.process, 'message').then(([answer]) => answer);
    this.process.send({ operation, ...options });
    const answer = await Promise.race([answered, this.ended.then(([code]) => ({ error: `exited with status ${code}` }))]);
    if (answer.error !== undefined) throw new Error(`a process of the cluster, at '${operation}': ${answer.error}`);
    return answer;
  }

  async kill() {
    this.process.kill('SIGKILL');
    await this.ended;
  }
}

/** A store in a database of its own, and the processes that have it open. */
export class Cluster {
  members = [];

  /** `partitions`: as a store is made with, unless it is said. `port`: of PostgreSQL, or of what is in front of it. */
  static async make(servers, { partitions, redis = true, lease = '10s', port = servers.postgresPort } = {}) {
    const cluster = new Cluster();
    cluster.database = 'scale';
    await emptyDatabase(cluster.database);
    cluster.options = {
      store: `postgresql://pawl@127.0.0.1:${port}/${cluster.database}`,
      lease,
      ...(redis && { redis: servers.redis }),
      ...(partitions !== undefined && { partitions }),
    };
    if (partitions !== undefined) await cluster.#makeTables();
    return cluster;
  }

  async #makeTables() {
    const maker = await this.client();
    await maker.ask('spent'); // opens it
    await maker.ask('close');
    await maker.kill();
    this.members = [];
  }

  ask(...statements) {
    return query(this.database, ...statements);
  }

  async #open(works) {
    const one = new Member();
    this.members.push(one);
    await one.ask('open', { works, ...this.options });
    return one;
  }

  /** So many workers, which share all partitions when it resolves. */
  async workers(count) {
    const all = [];
    for (let at = 0; at < count; at++) all.push(await this.#open(true));
    await this.shared(count);
    return all;
  }

  /** One that runs none; it opens the store when it is first asked for something. */
  client() {
    return this.#open(false);
  }

  async shared(owners) {
    for (;;) {
      const [owning, free, most, least] = (
        await this.ask(
          `SELECT count(DISTINCT owner), count(*) FILTER (WHERE owner IS NULL OR expires_at < clock_timestamp()),
             (SELECT max(n) FROM (SELECT count(*) AS n FROM workflow_partitions GROUP BY owner) AS each),
             (SELECT min(n) FROM (SELECT count(*) AS n FROM workflow_partitions GROUP BY owner) AS each)
           FROM workflow_partitions`,
        )
      )
        .split('|')
        .map(Number);
      const count = Number(await this.ask('SELECT count(*) FROM workflow_partitions'));
      if (owning === Math.min(owners, count) && free === 0 && most - least <= 1) return;
      await pause(100);
    }
  }

  /** The partitions of the worker with that process. */
  async partitionsOf({ process: { pid } }) {
    const owned = await this.ask(
      `SELECT partition FROM workflow_partitions WHERE split_part(owner, '/', 2) = '${pid}' ORDER BY 1`,
    );
    return owned.split('\n').map(Number);
  }

  /** An execution in each of those partitions, found by trying ids: { partition: id }. */
  async parkIn(partitions, of) {
    const found = new Map();
    for (let tried = 0; found.size < partitions.length; tried += 200) {
      const ids = Array.from({ length: 200 }, (_, at) => `tick-${tried + at}`);
      await of.ask('park', { ids });
      const rows = await this.ask('SELECT partition, execution_id FROM workflow_executions');
      for (const row of rows.split('\n')) {
        const [partition, id] = row.split('|');
        if (partitions.includes(Number(partition)) && !found.has(Number(partition))) found.set(Number(partition), id);
      }
    }
    return found;
  }

  /** All of what it had open is closed, and what was acknowledged is counted. */
  async end({ completed } = {}) {
    for (const one of this.members) {
      if (one.process.exitCode !== null || one.process.signalCode !== null) continue;
      await one.ask('close');
      await one.kill();
    }
    if (completed === undefined) return;
    const found = Number(await this.ask(`SELECT count(*) FROM workflow_executions WHERE status = 'completed'`));
    if (found !== completed) throw new Error(`${completed} were acknowledged as completed, and the store has ${found}`);
  }
}
