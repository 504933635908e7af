/**
 * A connection to an SQLite file through the addon. SQLite has one writer at a time, and what waits for it in
 * the addon keeps a thread of Node's pool: so transactions take turns here, before they get there.
 */
import { TransactionEndedError } from './action_database.js';
import type { NativeSession, SqlRows } from './addon.js';
import type { FlatWriter } from './wire.js';

/** One at a time, in the order in which they asked. */
export class Turns {
  private readonly asked: Turn[] = [];

  ask(): Turn {
    const turn = new Turn(() => this.end(turn));
    this.asked.push(turn);
    if (this.asked[0] === turn) turn.grant(true);
    return turn;
  }

  private end(turn: Turn): void {
    const at = this.asked.indexOf(turn);
    if (at < 0) return;
    this.asked.splice(at, 1);
    turn.grant(false);
    if (at === 0) this.asked[0]?.grant(true);
  }
}

class Turn {
  /** False: it was ended before it came. */
  readonly granted: Promise<boolean>;
  grant!: (granted: boolean) => void;

  /** `end` ends the turn, or the waiting for it. */
  constructor(readonly end: () => void) {
    this.granted = new Promise((resolve) => (this.grant = resolve));
  }
}

const control = /^\s*(begin|commit|rollback)(?:\s+transaction)?\s*;?\s*$/i;
// What is sure to write nothing; WITH may.
const reading = /^\s*(select|values|explain|pragma)\b/i;

function lostError(transactionMsMax: number): Error {
  const error = new Error(
    'The transaction had the write lock of the store, for which everything else waits, for more than ' +
      `${transactionMsMax} ms (limits.transactionMsMax), and was rolled back. Do what takes long before its ` +
      'first query, and let nothing in it wait for the runtime',
  );
  error.name = 'SqliteError';
  return Object.assign(error, { code: 'transaction_lost', failureClass: 'timeout' });
}

function refusal(message: string): Error {
  const error = new Error(message);
  error.name = 'SqliteError';
  return Object.assign(error, { code: 'SQLITE_MISUSE', failureClass: 'permanent' });
}

interface Attempt {
  row: FlatWriter;
  action: string;
  outcome?: string;
  recorded?: string;
  error?: unknown;
  /** It was rolled back, by its handler or for good. */
  ended?: true;
}

export class SqliteSession {
  /** Of an attempt at an action: its transaction ends with this and not by SQL. */
  private attempt: Attempt | undefined;
  private last: Promise<unknown> = Promise.resolve();
  private phase: 'idle' | 'begun' | 'open' = 'idle';
  private turn: Turn | undefined;
  private timer: NodeJS.Timeout | undefined;
  private lost: unknown;
  private closed = false;

  constructor(
    private readonly native: NativeSession,
    private readonly turns: Turns,
    private readonly transactionMsMax: number,
  ) {}

  get isClosed(): boolean {
    return this.closed;
  }

  /** BEGIN, COMMIT and ROLLBACK are the transaction's; it begins with the first query in it. */
  query(sql: string, parameters: readonly unknown[]): Promise<SqlRows> {
    return this.next(async () => {
      const verb = control.exec(sql)?.[1]?.toLowerCase();
      if (verb === 'rollback') return this.rollBack();
      if (this.lost !== undefined) throw this.lost;
      if (this.attempt?.ended === true) throw this.noteError(new TransactionEndedError(this.attempt.action));
      if (verb === 'begin') return this.begin();
      if (verb === 'commit') return this.commit();
      return this.run(sql, parameters);
    });
  }

  /** From now on its transaction is that of an attempt. */
  guard(row: FlatWriter, action: string): void {
    this.attempt = { row, action };
  }

  /** What an attempt at that action has committed. */
  findOutcome(row: FlatWriter): Promise<string | undefined> {
    return this.next(() => this.native.findOutcome(row));
  }

  /** What COMMIT is to record. */
  setOutcome(text: string): void {
    this.attempt!.outcome = text;
  }

  /** What it has recorded, or found. */
  recorded(): string {
    const { recorded, error } = this.attempt!;
    if (recorded !== undefined) return recorded;
    throw error ?? this.lost ?? refusal('the transaction was not committed');
  }

  /** Rolls back, whatever runs or waits; what comes after is refused with that, up to a ROLLBACK. */
  lose(why: unknown): void {
    if (this.lost !== undefined || this.phase === 'idle') return;
    this.lost = why;
    if (this.phase === 'begun') this.turn?.end();
    this.native.breakOff();
    void this.next(() => this.end(() => this.native.rollBack())).catch(() => undefined);
  }

  close(): Promise<void> {
    this.closed = true;
    return this.next(() => this.end(() => this.native.close()));
  }

  private next<T>(call: () => Promise<T>): Promise<T> {
    const done = this.last.then(call);
    this.last = done.catch(() => undefined);
    return done;
  }

  private async begin(): Promise<SqlRows> {
    await this.native.begin();
    this.phase = 'begun';
    return nothing;
  }

  private async commit(): Promise<SqlRows> {
    const { attempt } = this;
    if (attempt === undefined) {
      await this.end(() => this.native.commit());
      return nothing;
    }
    const { outcome, row } = attempt;
    if (outcome === undefined) {
      throw refusal('the transaction of an action is committed when its handler has returned');
    }
    try {
      if (this.phase === 'begun') await this.takeTurn();
      attempt.recorded = await this.end(() => this.native.commitOutcome(row, outcome));
    } catch (error) {
      throw this.noteError(error);
    }
    return nothing;
  }

  private noteError(error: unknown): unknown {
    this.attempt!.error = error;
    return error;
  }

  private async rollBack(): Promise<SqlRows> {
    await this.end(() => this.native.rollBack());
    this.lost = undefined;
    if (this.attempt !== undefined) this.attempt.ended = true;
    return nothing;
  }

  private async run(sql: string, parameters: readonly unknown[]): Promise<SqlRows> {
    if (this.phase === 'begun') await this.takeTurn();
    if (this.phase === 'open') return this.runOpen(sql, parameters);
    if (reading.test(sql)) return this.native.run(sql, parameters);
    const turn = this.turns.ask();
    await turn.granted;
    const timer = this.countDown(() => this.native.breakOff());
    try {
      return await this.native.run(sql, parameters);
    } finally {
      clearTimeout(timer);
      turn.end();
    }
  }

  private async runOpen(sql: string, parameters: readonly unknown[]): Promise<SqlRows> {
    try {
      return await this.native.run(sql, parameters);
    } catch (error) {
      throw this.lost ?? error;
    }
  }

  private async takeTurn(): Promise<void> {
    this.turn = this.turns.ask();
    await this.turn.granted;
    if (this.lost !== undefined) throw this.lost;
    this.phase = 'open';
    this.timer = this.countDown(() => this.lose(lostError(this.transactionMsMax)));
  }

  private countDown(then: () => void): NodeJS.Timeout {
    return setTimeout(then, this.transactionMsMax).unref();
  }

  private async end<T>(call: () => Promise<T>): Promise<T> {
    try {
      return await call();
    } finally {
      clearTimeout(this.timer);
      this.phase = 'idle';
      this.turn?.end();
      this.turn = undefined;
    }
  }
}

const nothing: SqlRows = { rows: [], hasRows: false, changed: 0, lastId: 0 };
