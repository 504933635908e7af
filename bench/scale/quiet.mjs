import { setTimeout as pause } from 'node:timers/promises';
import { watchOthers } from '../processor_time.mjs';

/** What others may use while something is measured. */
export const quietCores = 0.25;

const lookMs = 2_000;

/** Waits until nothing else uses the processors, for up to `seconds`. */
export async function untilQuiet(seconds) {
  const until = performance.now() + seconds * 1_000;
  while (performance.now() < until) {
    const others = watchOthers();
    await pause(lookMs);
    if (others() < quietCores) return;
  }
}

/**
 * What `work` gives, with how much others used of the processors meanwhile. Where that is much it is done again, up to
 * `tries` times, and what counts is the quietest.
 */
export async function quietest(work, { seconds, tries }) {
  let best;
  for (let tried = 0; tried < tries; tried++) {
    await untilQuiet(seconds);
    const others = watchOthers();
    const line = { ...(await work()), others_cores: others(), at: new Date().toISOString() };
    if (best === undefined || line.others_cores < best.others_cores) best = line;
    if (best.others_cores < quietCores) break;
  }
  return best;
}
