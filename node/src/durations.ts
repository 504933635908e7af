import { InvalidArgumentError } from './errors.js';

/** A number of milliseconds, or text: '500ms', '30s', '15m', '12h', '3d'. */
export type Duration = number | string;

const unitsMs: Record<string, number> = {
  ms: 1,
  s: 1_000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
};

// A little over 285,000 years: what still is an exact integer, and no overflow once added to now.
const durationMsMax = Number.MAX_SAFE_INTEGER;

function kindOf(value: unknown): string {
  if (value === null) return 'null';
  const kind = typeof value;
  return kind === 'object' || kind === 'undefined' ? `an ${kind}` : `a ${kind}`;
}

/** In whole milliseconds, rounded up: a wait is never shorter than what was asked for. */
export function toMilliseconds(duration: Duration, what = 'duration'): number {
  let ms: number;
  if (typeof duration === 'number') {
    ms = duration;
  } else if (typeof duration === 'string') {
    const match = /^\s*(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)\s*$/.exec(duration);
    if (match === null) {
      throw new InvalidArgumentError(
        `${what}: ${JSON.stringify(duration)} is no duration. Write a number with a unit: ` +
          `'500ms', '30s', '15m', '12h' or '3d'`,
      );
    }
    ms = Number(match[1]) * unitsMs[match[2]!]!;
  } else {
    throw new InvalidArgumentError(
      `${what}: ${kindOf(duration)} is no duration. Give a number of ` +
        `milliseconds or text such as '30s'`,
    );
  }
  if (!(ms >= 0) || ms > durationMsMax) {
    throw new InvalidArgumentError(
      `${what}: ${String(duration)} is out of range. A duration is at least 0 and finite`,
    );
  }
  return Math.ceil(ms);
}

/** A point in time, as the addon takes it: milliseconds since 1970 as text, '' for none. */
export function timeOf(time: Date | Duration | undefined, what: string): string {
  if (time === undefined) return '';
  if (!(time instanceof Date)) return String(Date.now() + toMilliseconds(time, what));
  const ms = time.getTime();
  if (Number.isNaN(ms)) throw new InvalidArgumentError(`${what}: that Date is no point in time`);
  return String(ms);
}
