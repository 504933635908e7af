/**
 * What keeps workflow code replayable. While the code of an execution runs, clocks and randomness
 * give what its history says, and entry points to the outside raise an error that names what to use
 * instead. At any other time everything does what it always does. docs/determinism.md has the table.
 */
import { createRequire, syncBuiltinESMExports } from 'node:module';
import { NotDeterministicError } from './errors.js';
import { currentInstance, type Instance } from './instance.js';
import { replaceProperty } from './replacements.js';

/** 'error' refuses, 'warn' warns once per function and lets through, 'off' leaves all as it is. */
export type GuardMode = 'off' | 'warn' | 'error';

type AnyFunction = (...args: any[]) => any;

const useSleep = "'context.sleep', or 'timeout' of events.waitFor";
const useAction = 'an action';
const useRandom = "'context.random' or 'context.uuid'";

const nodeRequire = createRequire(__filename);

// Functions that lead outside, by module, and what to use in their place.
const forbidden: readonly [module: string, names: readonly string[], instead: string][] = [
  ['node:timers', ['setTimeout', 'setInterval', 'setImmediate'], useSleep],
  ['node:timers/promises', ['setTimeout', 'setInterval', 'setImmediate'], useSleep],
  ['node:http', ['request', 'get'], useAction],
  ['node:https', ['request', 'get'], useAction],
  ['node:net', ['connect', 'createConnection'], useAction],
  [
    'node:child_process',
    ['exec', 'execFile', 'execFileSync', 'execSync', 'fork', 'spawn', 'spawnSync'],
    useAction,
  ],
  // Libraries fill pools of a module's own with these, and serve everybody from them: with what a
  // seed gives, ids would be guessed and come twice.
  [
    'node:crypto',
    ['randomBytes', 'randomInt', 'randomFill', 'randomFillSync', 'getRandomValues'],
    useRandom,
  ],
];

class Guards {
  private readonly restorers: (() => void)[] = [];
  private readonly warned = new Set<string>();
  private active = true;

  constructor(private readonly mode: 'warn' | 'error') {
    this.guardClocks();
    this.guardRandomness();
    this.guardOutside();
    // Named imports of node: modules follow.
    syncBuiltinESMExports();
  }

  /** What others have wrapped meanwhile stays beneath what they made of it, and does nothing. */
  restore(): void {
    this.active = false;
    for (const restore of this.restorers.reverse()) restore();
    syncBuiltinESMExports();
  }

  private replace(object: object, key: string, value: unknown): void {
    const restore = replaceProperty(object, key, value);
    if (restore !== undefined) this.restorers.push(restore);
  }

  /** The instance whose code is running; none once this is over. */
  private inside(): Instance | undefined {
    return this.active ? currentInstance() : undefined;
  }

  /** `inside` answers while workflow code runs, the original at any other time. */
  private deterministic(object: object, key: string, inside: (instance: Instance, args: any[]) => unknown): void {
    const original = (object as Record<string, unknown>)[key];
    if (typeof original !== 'function') return;
    const guards = this;
    this.replace(
      object,
      key,
      keepLook(original as AnyFunction, function (this: unknown, ...args) {
        const instance = guards.inside();
        return instance === undefined ? original.apply(this, args) : inside(instance, args);
      }),
    );
  }

  private forbid(object: object, key: string, label: string, instead: string): void {
    const original = (object as Record<string, unknown>)[key];
    if (typeof original !== 'function') return;
    const check = () => {
      const instance = this.inside();
      if (instance !== undefined) this.violate(instance, label, instead);
    };
    const guarded = new Proxy(original as AnyFunction, {
      apply(target, self, args) {
        check();
        return Reflect.apply(target, self, args) as unknown;
      },
      construct(target, args, newTarget) {
        check();
        return Reflect.construct(target, args, newTarget) as object;
      },
    });
    this.replace(object, key, guarded);
  }

  private violate(instance: Instance, label: string, instead: string): void {
    const message =
      `${label} was called by workflow '${instance.start.workflow}'. Workflow code is run again ` +
      `from its history and must not depend on anything else: use ${instead}`;
    if (this.mode === 'error') throw new NotDeterministicError(message);
    if (this.warned.has(label)) return;
    this.warned.add(label);
    process.emitWarning(message, 'PawlWarning');
  }

  private guardClocks(): void {
    const original = Date;
    const guarded = new Proxy(original, {
      apply: (target, self, args) => {
        const instance = this.inside();
        if (instance === undefined) return Reflect.apply(target, self, args);
        return new original(instance.now).toString();
      },
      construct: (target, args, newTarget) => {
        const instance = args.length === 0 ? this.inside() : undefined;
        return Reflect.construct(target, instance === undefined ? args : [instance.now], newTarget);
      },
    });
    this.replace(globalThis, 'Date', guarded);
    // Libraries ask a value which class it is of: date.constructor === Date.
    this.replace(original.prototype, 'constructor', guarded);
    this.deterministic(original, 'now', (instance) => instance.now);
    this.deterministic(performance, 'now', (instance) => instance.now - instance.start.startedAt);
    const nanoseconds = (instance: Instance) => BigInt(instance.now) * 1_000_000n;
    const { hrtime } = process;
    const { bigint } = hrtime;
    this.deterministic(process, 'hrtime', (instance, args) => {
      const since = args[0] as [number, number] | undefined;
      const at = nanoseconds(instance);
      const from = since === undefined ? 0n : BigInt(since[0]) * 1_000_000_000n + BigInt(since[1]);
      return [Number((at - from) / 1_000_000_000n), Number((at - from) % 1_000_000_000n)];
    });
    process.hrtime.bigint = () => {
      const instance = this.inside();
      return instance === undefined ? bigint() : nanoseconds(instance);
    };
  }

  private guardRandomness(): void {
    this.deterministic(Math, 'random', ({ start }) => start.random.fraction());
    const module = nodeRequire('node:crypto') as object;
    const webCrypto = globalThis.crypto as object;
    for (const object of [webCrypto, module]) {
      this.deterministic(object, 'randomUUID', ({ start }) => start.random.uuid());
    }
    this.forbid(webCrypto, 'getRandomValues', 'crypto.getRandomValues()', useRandom);
  }

  private guardOutside(): void {
    for (const name of ['setTimeout', 'setInterval', 'setImmediate']) {
      this.forbid(globalThis, name, `${name}()`, useSleep);
    }
    this.forbid(globalThis, 'fetch', 'fetch()', useAction);
    this.forbid(globalThis, 'WebSocket', 'WebSocket', useAction);
    this.forbid(AbortSignal, 'timeout', 'AbortSignal.timeout()', "'timeout' of events.waitFor");
    for (const [module, names, instead] of forbidden) {
      const object = nodeRequire(module) as object;
      for (const name of names) this.forbid(object, name, `${name}() of ${module}`, instead);
    }
  }
}

/** The guard looks like what it guards: name, length, and members such as setTimeout's promisify. */
function keepLook(original: AnyFunction, guard: AnyFunction): AnyFunction {
  for (const key of Reflect.ownKeys(original)) {
    const descriptor = Object.getOwnPropertyDescriptor(original, key)!;
    if (key !== 'prototype') Object.defineProperty(guard, key, { ...descriptor, configurable: true });
  }
  return guard;
}

let installed: Guards | undefined;

export function installGuards(mode: GuardMode): void {
  removeGuards();
  if (mode !== 'off') installed = new Guards(mode);
}

export function removeGuards(): void {
  installed?.restore();
  installed = undefined;
}
