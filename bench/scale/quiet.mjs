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
