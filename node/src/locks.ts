/** Locks that all processes of a store share: each is a row, held for a time that is renewed. */
import type { Knex } from 'knex';
import type { NativeEngine } from './addon.js';
import { toMilliseconds, type Duration } from './durations.js';
import { InvalidArgumentError, LockLostError } from './errors.js';
import { codeOf, dialectOf } from './knex_dialects.js';
import { checkName } from './names.js';
import { checkOptions, describeKind } from './options.js';

/** How a lock is taken. */
export interface LockOptions {
  /**
   * After so long a silence of its holder, another one gets it. It is renewed each third of that while it is held.
   * 100 ms to 24 hours; default '30s'.
   */
  ttl?: Duration;
  /** How long it is waited for while others have it, at most 24 hours. 0: it is asked for once. Default '1m'. */
  wait?: Duration;
}

/** The same, where it has to be said whose lock it is. */
export interface TenantLockOptions extends LockOptions {
  tenant: string;
}

/** A lock that is held. */
export interface Lock {
  readonly key: string;
  /**
   * One more with each acquisition of that key, for ever. Hand it to what the lock protects, which refuses a number
   * that is smaller than the last: then a holder that was stopped, and goes on after another one has the lock, can
   * do no harm.
   */
  readonly fence: number;
  /** Fires with a LockLostError when the lock was lost: it could not be renewed for its ttl, or another one has it. */
  readonly signal: AbortSignal;
  /**
   * Within a transaction on the database of the store (`context.transaction`, `runtime.database.transaction`): the
   * lock is held, and stays so until the transaction ends, since whoever acquires it waits for that. Rejects with a
   * LockLostError where it is not.
   */
  assertHeld(transaction: Knex.Transaction): Promise<void>;
}

interface Acquired {
  fence: number;
  token: string;
  query: string;
}

class HeldLock implements Lock {
  private readonly controller = new AbortController();
  private released = false;

  constructor(
    private readonly tenant: string,
    readonly key: string,
    private readonly acquired: Acquired,
    private readonly inPostgres: boolean,
  ) {}

  get fence(): number {
    return this.acquired.fence;
  }

  get signal(): AbortSignal {
    return this.controller.signal;
  }

  lose(reason: unknown): void {
    if (this.released) return;
    const message = reason instanceof Error ? reason.message : String(reason);
    this.controller.abort(reason instanceof LockLostError ? reason : new LockLostError(message));
  }

  release(): void {
    this.released = true;
  }

  async assertHeld(transaction: Knex.Transaction): Promise<void> {
    const { key, fence, tenant } = this;
    const { query, token } = this.acquired;
    this.signal.throwIfAborted();
    if (this.released) {
      throw new LockLostError(`Lock '${key}' was released: what it protects has to be done before`);
    }
    const where = `in a transaction on the database of the store, where its row is`;
    if (dialectOf(transaction) === undefined || transaction?.isTransaction !== true) {
      throw new InvalidArgumentError(`Lock '${key}' can be asked for ${where}: hand assertHeld that transaction`);
    }
    if (this.inPostgres !== (transaction.client as { dialect?: string }).dialect?.startsWith('postgres')) {
      throw new InvalidArgumentError(`Lock '${key}' can be asked for ${where}; elsewhere, compare its fence`);
    }
    let answer: unknown;
    try {
      answer = await transaction.raw(query, [tenant, key, fence, token]);
    } catch (error) {
      if (codeOf(error) !== '42P01' && !/no such table/.test(String(error))) throw error;
      throw new InvalidArgumentError(`Lock '${key}' can be asked for ${where}; elsewhere, compare its fence`);
    }
    const rows = Array.isArray(answer) ? answer : ((answer as { rows?: unknown[] }).rows ?? []);
    if (rows.length === 0) {
      throw new LockLostError(
        `Lock '${key}' is not held under fence ${fence} any more: its holder was silent for too long, and another ` +
          'one has acquired it since',
      );
    }
  }
}

/** A call into the engine, as those of the runtime. */
type Call = (make: (engine: NativeEngine, call: number) => void) => Promise<any>;

/** @internal The locks of a process. */
export class Locks {
  private last = 0;

  constructor(
    private readonly call: Call,
    private readonly inPostgres: boolean,
  ) {}

  /** What `body` gives, which runs while the lock is held. `stop` gives the wait up. */
  async with<T>(
    tenant: string,
    key: string,
    options: LockOptions,
    body: (lock: Lock) => T | PromiseLike<T>,
    stop?: AbortSignal,
  ): Promise<T> {
    if (typeof body !== 'function') {
      throw new InvalidArgumentError(`withLock takes a function to run while it has the lock, not ${describeKind(body)}`);
    }
    checkName(key, 'The key of a lock');
    const ttlMs = toMilliseconds(options.ttl ?? '30s', 'withLock: ttl');
    const waitMs = toMilliseconds(options.wait ?? '1m', 'withLock: wait');
    stop?.throwIfAborted();
    const number = ++this.last;
    let engine: NativeEngine | undefined;
    // Held or waited for.
    const release = () => engine?.releaseLock(number);
    stop?.addEventListener('abort', release, { once: true });
    let acquired: Acquired;
    try {
      acquired = (await this.call((opened, call) => {
        engine = opened;
        opened.acquireLock(call, number, tenant, key, ttlMs, waitMs);
      })) as Acquired;
    } catch (error) {
      release();
      throw stop?.aborted === true ? stop.reason : error;
    } finally {
      stop?.removeEventListener('abort', release);
    }
    try {
      stop?.throwIfAborted();
      const lock = new HeldLock(tenant, key, acquired, this.inPostgres);
      this.call((opened, call) => opened.lockEnded(call, number)).catch((reason: unknown) => lock.lose(reason));
      try {
        return await body(lock);
      } finally {
        lock.release();
      }
    } finally {
      release();
    }
  }
}

/** What withLock was called with: its options may be left out. */
export function lockArguments<Options extends LockOptions, Body>(
  optionsOrBody: Options | Body,
  body: Body | undefined,
  names: readonly string[],
): { options: Options; body: Body } {
  if (typeof optionsOrBody === 'function' && body === undefined) return { options: {} as Options, body: optionsOrBody };
  checkOptions('withLock', optionsOrBody, names);
  return { options: (optionsOrBody ?? {}) as Options, body: body as Body };
}
