// The curves: at which points each is measured, what of their lines is drawn, and what is told in its table.

const whole = (value) => Math.round(value).toLocaleString('en-US');
const ms = (value) => (value < 10 ? value.toFixed(2) : whole(value));
const bytes = (value) => (value < 1_000_000 ? `${whole(value / 1_000)} kB` : `${whole(value / 1_000_000)} MB`);
const plainBytes = (value) => (value < 1_000 ? `${value} B` : bytes(value));
const host = { cpp: 'C++', ts: 'TypeScript' };

const clamp = (least, value, most) => Math.max(least, Math.min(value, most));

/**
 * Of each:
 *
 *   xs      where it is measured; `more` are points beyond the default ones, for a MAX that asks for them
 *   runs    the runs at one point: host, and arguments of pawl_bench or node/bench/main.ts. Where something is done n
 *           times at a point, n can be given
 *   panels  the plots side by side: of which lines (`when`), and what of them is drawn (`series`: its name, and the
 *           field or function)
 *   columns of the table, one row for each line of `when`
 */
export const curves = {
  clients: {
    title: 'Clients at once',
    about: 'Three steps (`three-step`) by so many clients, each of which waits for its result before it begins anew.',
    x: { title: 'clients at once', format: whole },
    xs: [1, 4, 16, 64, 256, 1_024, 4_096],
    runs: (x, n = clamp(1_000, 300 * x, 60_000)) =>
      ['cpp', 'ts'].map((host) => ({
        host,
        args: ['three-step', '--concurrency', String(x), '--n', String(n)],
      })),
    panels: [
      { title: 'throughput', y: 'workflows per second', series: (line) => ({ [host[line.host]]: line.per_s }) },
      {
        title: 'what a client waits',
        y: 'milliseconds',
        series: (line) => ({ [`${host[line.host]}, p50`]: line.p50_ms, [`${host[line.host]}, p99`]: line.p99_ms }),
      },
    ],
    columns: [
      { title: 'host', of: (line) => host[line.host] },
      { title: 'workflows/s', of: (line) => whole(line.per_s) },
      { title: 'p50 ms', of: (line) => ms(line.p50_ms) },
      { title: 'p99 ms', of: (line) => ms(line.p99_ms) },
      { title: 'workflows a sync', of: (line) => ms(line.n / line.syncs) },
      { title: 'CPU µs each', of: (line) => whole(line.cpu_us) },
      { title: 'RSS MiB', of: (line) => whole(line.rss_mib) },
    ],
  },
  payload: {
    title: 'Size of payloads',
    about: 'Three steps whose input, and whose first result, are JSON of that size.',
    x: { title: 'bytes of the input, and of one result', format: plainBytes },
    xs: [100, 1_000, 10_000, 100_000, 1_000_000],
    runs: (x, n) =>
      [1, 64].map((clients) => ({
        host: 'cpp',
        args: [
          'three-step',
          ...['--payload', String(x), '--concurrency', String(clients)],
          ...['--n', String(n ?? clamp(3 * clients, Math.round(40_000_000 / x), clients === 1 ? 1_000 : 20_000))],
        ],
      })),
    panels: [
      {
        title: 'throughput',
        y: 'workflows per second',
        series: (line) => ({ [clientsOf(line)]: line.per_s }),
      },
      {
        title: 'what a client waits',
        y: 'milliseconds',
        series: (line) => ({ [`${clientsOf(line)}, p50`]: line.p50_ms, [`${clientsOf(line)}, p99`]: line.p99_ms }),
      },
    ],
    columns: [
      { title: 'clients', of: (line) => whole(line.concurrency) },
      { title: 'workflows/s', of: (line) => whole(line.per_s) },
      { title: 'p50 ms', of: (line) => ms(line.p50_ms) },
      { title: 'p99 ms', of: (line) => ms(line.p99_ms) },
      { title: 'payload MB/s', of: (line) => ms((2 * line.payload * line.per_s) / 1e6) },
      { title: 'bytes on disk each', of: (line) => whole(line.disk_bytes_each) },
      { title: 'CPU µs each', of: (line) => whole(line.cpu_us) },
      { title: 'RSS MiB', of: (line) => whole(line.rss_mib) },
    ],
  },
  history: {
    title: 'Length of a history',
    about:
      'One execution whose history has so many records (`long-history`): an event to it, one at a time, and the ' +
      'first event after a restart, for which its code is run again over all of them.',
    x: { title: 'records of the history', format: whole },
    xs: [10, 100, 1_000, 10_000, 100_000, 1_000_000],
    // Short ones are over at once: one event and one replay say little.
    repeats: (x) => (x <= 1_000 ? 9 : 1),
    runs: (x) => [{ host: 'cpp', args: ['long-history', '--n', String(x)] }],
    panels: [
      { title: 'an event', y: 'milliseconds', series: (line) => ({ 'p50 at that length': line.event_last_p50_ms }) },
      {
        title: 'the first event after a restart',
        y: 'seconds',
        series: (line) => ({ 'with its replay': line.replay_s }),
      },
    ],
    columns: [
      { title: 'event p50 ms, at its beginning', of: (line) => line.event_first_p50_ms.toFixed(3) },
      { title: 'at that length', of: (line) => line.event_last_p50_ms.toFixed(3) },
      { title: 'replay s', of: (line) => line.replay_s.toFixed(3) },
      { title: 'records/s replayed', of: (line) => whole(line.replay_per_s) },
      { title: 'others meanwhile, p50 ms', of: (line) => line.beside_p50_ms.toFixed(2) },
      { title: 'their max ms', of: (line) => ms(line.beside_max_ms) },
      { title: 'a state in the past, p50 ms', of: (line) => line.state_p50_ms.toFixed(3) },
      { title: 'RSS MiB', of: (line) => whole(line.rss_mib) },
    ],
  },
  executions: {
    title: 'Executions in the store',
    about:
      'A store that holds so many executions already, half of them ended and half of them waiting (`full-store`): ' +
      'three steps by 256 clients with new ones, and single events to those that wait, in random order, none of ' +
      'which is in memory.',
    x: { title: 'executions in the store', format: whole },
    xs: [1_000, 10_000, 100_000, 1_000_000],
    more: [10_000_000],
    bytesEach: 500,
    runs: (x) => [{ host: 'cpp', args: ['full-store', '--n', String(x)] }],
    panels: [
      {
        title: 'three steps, 256 clients',
        y: 'workflows per second',
        series: (line) => (line.variant === 'three-step' ? { 'three steps': line.per_s } : {}),
      },
      {
        title: 'an event to one that waits',
        y: 'milliseconds',
        series: (line) => (line.variant === 'wake' ? { p50: line.p50_ms, p99: line.p99_ms } : {}),
      },
    ],
    columns: [
      { title: 'what', of: whatOf },
      { title: 'per second', of: (line) => whole(line.per_s) },
      { title: 'p50 ms', of: (line) => ms(line.p50_ms) },
      { title: 'p99 ms', of: (line) => ms(line.p99_ms) },
      { title: 'first answer after opening, s', of: (line) => line.ready_s.toFixed(3) },
      { title: 'bytes on disk each', of: (line) => whole(line.disk_bytes_each) },
      { title: 'CPU µs each', of: (line) => whole(line.cpu_us) },
      { title: 'RSS MiB', of: (line) => whole(line.rss_mib) },
    ],
  },
};

function whatOf(line) {
  return line.variant === 'wake' ? 'an event, one at a time' : 'three steps, 256 clients';
}

function clientsOf(line) {
  return line.concurrency === 1 ? '1 client' : `${line.concurrency} clients`;
}
