// Load by so many clients, each of which begins its next workflow when the last one is done.

const stallSeconds = 60;
const secondsMax = 30;
const run = `${process.pid.toString(36)}${Date.now().toString(36)}`;
let ids = 0;

export const newId = (kind) => `${kind}-${run}-${++ids}`;

/**
 * Calls `work(index)` until there were `count` calls and `seconds` have passed, but not for more than half a
 * minute: whoever is slow is measured on fewer. Latencies are of the whole call, or `milliseconds` of what it gives.
 * Rejects when nothing completes for a minute: a workflow that is never woken would keep everything else from being
 * measured. With `whole` it makes `count` calls, however long they take.
 */
export async function closedLoop({ count, seconds = 0, concurrency, whole = false }, work) {
  const latencies = [];
  let begun = 0;
  let stalled;
  const start = performance.now();
  const passed = () => (performance.now() - start) / 1_000;
  const more = () => (begun < count && (whole || passed() < secondsMax)) || passed() < seconds;
  const client = async () => {
    while (more()) {
      const from = performance.now();
      const answer = await work(begun++);
      latencies.push(answer?.milliseconds ?? performance.now() - from);
      stalled?.refresh();
    }
  };
  const stall = new Promise((_, reject) => {
    if (whole) return;
    const say = () => `nothing completed for ${stallSeconds} s, after ${latencies.length} of ${begun} begun`;
    stalled = setTimeout(() => reject(new Error(say())), stallSeconds * 1_000);
  });
  try {
    await Promise.race([stall, Promise.all(Array.from({ length: concurrency }, client))]);
  } finally {
    clearTimeout(stalled);
  }
  return { ...figures(latencies, passed()), concurrency };
}

export function figures(latencies, seconds) {
  const sorted = Float64Array.from(latencies).sort();
  const at = (share) => rounded(sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))]);
  return {
    n: sorted.length,
    seconds: rounded(seconds),
    per_s: rounded(sorted.length / seconds),
    p50_ms: at(0.5),
    p90_ms: at(0.9),
    p99_ms: at(0.99),
    max_ms: at(1),
  };
}

export const rounded = (value) => Number(value.toFixed(3));

export const sleep = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));
