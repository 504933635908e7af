// What can be measured, and what the environment chose of it.

/**
 * `count`: workflows of each load, unless N says otherwise; `oneAtATime` as many when one runs at a time.
 * `loads`: how many are under way at once.
 */
export const workloads = [
  { name: 'three-step', alias: 'W1', count: 5_000, oneAtATime: 300, loads: [1, 64, 256], warmUp: [500, 64] },
  { name: 'approval', alias: 'W2', count: 2_000, oneAtATime: 300, loads: [1, 64], warmUp: [200, 32] },
  { name: 'fan-out', alias: 'W3', count: 200, oneAtATime: 30, loads: [1, 16], warmUp: [10, 4] },
  { name: 'parked', alias: 'W4', count: 10_000, phases: ['parked', 'killed and woken'], warmUp: [100, 64] },
];

const noWait = 'a queue has no durable wait for an event';

/**
 * `module` is a file of this folder; `service` a server that has to run; `durable` says when an answer
 * outlives a loss of power; `lacks` why a peer has no such workload. Those of one service stand together.
 */
export const peers = [
  { name: 'pawl', module: 'pawl/peer.mjs', durable: 'each commit synced' },
  { name: 'restate', module: 'restate/peer.mjs', durable: 'each commit synced' },
  {
    name: 'duroxide-sqlite',
    module: 'duroxide/peer.mjs',
    environment: { DUROXIDE_STORE: 'sqlite', RUST_LOG: 'off' },
    durable: 'not by the commit',
  },
  {
    name: 'pawl-postgres',
    module: 'pawl/peer.mjs',
    environment: { PAWL_STORE: 'postgres' },
    service: 'postgres',
    durable: 'each commit synced',
  },
  { name: 'dbos', module: 'dbos/peer.mjs', service: 'postgres', durable: 'each commit synced' },
  { name: 'openworkflow', module: 'openworkflow/peer.mjs', service: 'postgres', durable: 'each commit synced' },
  {
    name: 'duroxide-postgres',
    module: 'duroxide/peer.mjs',
    environment: { DUROXIDE_STORE: 'postgres', RUST_LOG: 'off' },
    service: 'postgres',
    durable: 'each commit synced',
  },
  {
    name: 'bullmq',
    module: 'bullmq/peer.mjs',
    service: 'redis',
    durable: 'synced once a second',
    lacks: { approval: noWait, parked: noWait },
  },
];

/** No peer: the machine and the stores by themselves. Each part with the service that it measures. */
export const limits = { name: 'limits', parts: { disk: undefined, sqlite: undefined, postgres: 'postgres', redis: 'redis' } };

/** The headings of the table under which a workload's figures stand. */
export function sectionsOf(workload) {
  return workload.phases ?? workload.loads.map((load) => sectionOf(workload, load));
}

export function sectionOf({ name }, load) {
  return load === 1 ? `${name}, one at a time` : `${name}, ${load} at once`;
}

export class WrongChoice extends Error {}

function chosen(variable, text, all) {
  if (text === undefined || text === '') return all;
  const wanted = text.split(',').map((word) => word.trim().toLowerCase());
  for (const word of wanted) {
    if (!all.some(({ name, alias }) => word === name || word === alias?.toLowerCase())) {
      const known = all.map(({ name, alias }) => (alias === undefined ? name : `${name} (${alias})`));
      throw new WrongChoice(`${variable}: there is no '${word}'. There are ${known.join(', ')}; commas between several`);
    }
  }
  return all.filter(({ name, alias }) => wanted.includes(name) || wanted.includes(alias?.toLowerCase()));
}

function number(variable, text, otherwise, { least, whole }) {
  if (text === undefined || text === '') return otherwise;
  const value = Number(text);
  if (Number.isFinite(value) && value >= least && (!whole || Number.isInteger(value))) return value;
  throw new WrongChoice(`${variable}: '${text}' is no ${whole ? 'whole ' : ''}number of ${least} or more`);
}

/** Throws a WrongChoice, whose message is for the user. */
export function choose({ PEERS, WORKLOADS, N, LOAD_SECONDS, IDLE_SECONDS }) {
  const all = [...peers, limits];
  const names = chosen('PEERS', PEERS, all);
  const count = number('N', N, undefined, { least: 1, whole: true });
  return {
    peers: names.filter((peer) => peer !== limits),
    limits: names.includes(limits),
    workloads: chosen('WORKLOADS', WORKLOADS, workloads),
    count,
    // Whoever says how many wants as many.
    seconds: number('LOAD_SECONDS', LOAD_SECONDS, count === undefined ? 5 : 0, { least: 0 }),
    idleSeconds: number('IDLE_SECONDS', IDLE_SECONDS, 0, { least: 0 }),
  };
}
