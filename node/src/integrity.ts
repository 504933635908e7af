import { loadAddon } from './addon.js';
import { errorFromCode, InvalidArgumentError } from './errors.js';
import { checkOptions } from './options.js';
import { checkSqliteAddress } from './store_address.js';

/** How far a check goes. */
export interface IntegrityOptions {
  /** 1 to 10,000; default 100. The check ends with the first beyond it. */
  findingsMax?: number;
}

/** One thing that is not as it must be. */
export interface IntegrityFinding {
  /** Absent: it is not of one execution. */
  tenant?: string;
  executionId?: string;
  /** Of the record that it is about. Absent: of none. */
  sequence?: number;
  what: string;
}

/** What a check has found. A store is sound where `findings` is empty. */
export interface IntegrityReport {
  findings: IntegrityFinding[];
  /** There may be others: `findingsMax` was reached. */
  more: boolean;
  /** Executions that were looked at. */
  executions: number;
  /** Of their histories. */
  records: number;
}

export function findingsMaxOf(what: string, options: IntegrityOptions): number {
  checkOptions(what, options, ['findingsMax']);
  const max = options.findingsMax ?? 100;
  if (Number.isInteger(max) && max >= 1 && max <= 10_000) return max;
  throw new InvalidArgumentError(`findingsMax is a whole number from 1 to 10,000, not ${String(max)}`);
}

/** The addon writes '' and 0 where there is none. */
export function integrityReportFrom(carried: IntegrityReport): IntegrityReport {
  return {
    ...carried,
    findings: carried.findings.map(({ tenant, executionId, sequence, what }) => ({
      ...(tenant === '' ? {} : { tenant }),
      ...(executionId === '' ? {} : { executionId }),
      ...(sequence === 0 ? {} : { sequence }),
      what,
    })),
  };
}

/**
 * Reads a store ('sqlite:FILE') from beginning to end, whether an engine has it open (here or in
 * another process) or not, and writes nothing to it. Beside the database's own check of its pages and
 * indexes: histories run from 1 without a gap, can be read, and follow from one another; each
 * execution's row says what its history adds up to; results and timers are those of the histories, and
 * none is missing; and nothing belongs to an execution that is not there.
 *
 * Takes about as long as reading all of it. What is found wrong is reported, no error. Rejects with a
 * StoreError where there is no such file, or it is no store, or one of another version.
 */
export async function checkStore(store: string, options: IntegrityOptions = {}): Promise<IntegrityReport> {
  const file = checkSqliteAddress('checkStore', store, "PostgreSQL's own tools check its databases");
  const text = await loadAddon().checkStore(file, findingsMaxOf('checkStore', options));
  const answer = JSON.parse(text) as [0, IntegrityReport] | [code: number, message: string, subject: string];
  if (answer[0] === 0) return integrityReportFrom(answer[1] as IntegrityReport);
  throw errorFromCode(answer[0], answer[1] as string, answer[2] as string);
}
