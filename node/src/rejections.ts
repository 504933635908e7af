/**
 * Promises that are rejected and that nobody has handled yet. Those of workflow code belong to their
 * execution: it may still await them, and each replay rejects them again, so nobody else is to hear
 * of them. All others go where they always go: what asks is Node.js, by `process.emit`, and no
 * listener is added, since its mere presence would change what becomes of them.
 */
import { currentInstance, instanceOfError, setCurrentInstance, type Instance } from './instance.js';
import { replaceProperty } from './replacements.js';

type Take = (instance: Instance, reason: unknown) => void;

class Watch {
  private active = true;
  private readonly taken = new WeakSet<object>();
  private suspended: Instance | undefined;
  private readonly restore: (() => void) | undefined;

  constructor(private readonly take: Take) {
    const { emit } = process;
    const watch = this;
    this.restore = replaceProperty(process, 'emit', function (this: unknown, ...args: unknown[]) {
      return watch.takes(args) || Reflect.apply(emit, this, args);
    });
  }

  /** Where others have wrapped it, it stays, and does nothing. */
  end(): void {
    this.active = false;
    this.restore?.();
  }

  private takes([event, reason, detail]: unknown[]): boolean {
    if (!this.active) return false;
    switch (event) {
      case 'unhandledRejection': {
        this.resume();
        const instance = currentInstance() ?? instanceOfError(reason);
        if (instance === undefined) return false;
        this.taken.add(detail as object);
        this.take(instance, reason);
        return true;
      }
      case 'rejectionHandled':
        return this.taken.delete(reason as object);
      // With --unhandled-rejections=strict these come before, and Node.js then calls what the guards
      // stand over.
      case 'uncaughtExceptionMonitor':
      case 'uncaughtException': {
        const ours = (currentInstance() ?? instanceOfError(reason)) !== undefined;
        if (detail !== 'unhandledRejection' || !ours) return false;
        if (event === 'uncaughtException') this.suspend();
        return true;
      }
      default:
        return false;
    }
  }

  private suspend(): void {
    this.suspended = currentInstance();
    setCurrentInstance(undefined);
  }

  private resume(): void {
    if (this.suspended !== undefined) setCurrentInstance(this.suspended);
    this.suspended = undefined;
  }
}

let watching: Watch | undefined;

/** From now on `take` gets those of workflow code, and nobody else. */
export function watchRejections(take: Take): void {
  ignoreRejections();
  watching = new Watch(take);
}

export function ignoreRejections(): void {
  watching?.end();
  watching = undefined;
}
