import { formatWithOptions } from 'node:util';
import { logLevels, type LogLevel } from './wire.js';

/** One line of a workflow's logger, of an action's, or of the engine. */
export interface LogLine {
  level: LogLevel;
  message: string;
  /** What was given beside the message. */
  details: unknown[];
  /** Milliseconds since 1970. */
  at: number;
  tenant?: string;
  /** Absent: a line of the engine itself. */
  executionId?: string;
  workflow?: string;
  correlationId?: string;
}

/** Takes the lines of everything that logs. What it throws is reported as a warning of the process. */
export type LogFunction = (line: LogLine) => void;

/** A line as the addon carries it. */
export interface CarriedLogLine {
  level: number;
  message: string;
  details?: unknown[];
  at?: number;
  tenant?: string;
  executionId?: string;
  workflow?: string;
  correlationId?: string;
}

export function logLineFrom(carried: CarriedLogLine): LogLine {
  const line: LogLine = {
    level: logLevels[carried.level] ?? 'info',
    message: carried.message,
    details: carried.details ?? [],
    at: carried.at ?? Date.now(),
  };
  for (const key of ['tenant', 'executionId', 'workflow', 'correlationId'] as const) {
    const value = carried[key];
    if (value !== undefined && value !== '') line[key] = value;
  }
  return line;
}

/** What an Error became on its way reads like one again. */
function readable(detail: unknown): unknown {
  const { name, message, stack } = (detail ?? {}) as Record<string, unknown>;
  if (detail instanceof Error || typeof name !== 'string' || typeof message !== 'string') return detail;
  return typeof stack === 'string' ? stack : `${name}: ${message}`;
}

/** The default: standard error, a line each. */
export function logToStandardError(line: LogLine): void {
  const whose = [line.tenant, line.executionId].filter((part) => part !== undefined).join('/');
  const details = line.details.map(readable);
  const text = formatWithOptions({ breakLength: Infinity, colors: false }, '%s', line.message, ...details);
  const time = new Date(line.at).toISOString();
  process.stderr.write(`${time} ${line.level.padEnd(5)} ${whose === '' ? 'pawl' : whose}: ${text}\n`);
}

/** The logger of an action: lines are written at once, also those of an attempt that then fails. */
export interface Logger {
  /** For who looks into a single execution. */
  debug(message: string, ...details: unknown[]): void;
  /** What happens when all is well. */
  info(message: string, ...details: unknown[]): void;
  /** What somebody should look at. */
  warn(message: string, ...details: unknown[]): void;
  /** What went wrong. */
  error(message: string, ...details: unknown[]): void;
}

/** A logger of something that is no workflow: lines are written at once. */
export function makeLogger(write: LogFunction, whose: Partial<LogLine>): Logger {
  const at =
    (level: LogLevel) =>
    (message: string, ...details: unknown[]) =>
      write({ ...whose, level, message: String(message), details, at: Date.now() });
  return { debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error') };
}
