// Tells all stories, killed at a commit, and told again: they must end as they do when nothing happens.
import assert from 'node:assert/strict';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { Program } from './program.js';
import { temporaryFolder } from './runtime.js';

/** Addresses of empty stores, each of its own name. */
export type Stores = (name: string) => string | Promise<string>;

export function filesOf(t: TestContext): Stores {
  const folder = temporaryFolder(t);
  return (name) => `sqlite:${join(folder, `${name}.db`)}`;
}

export type Endings = Record<string, { status: string; gapless: boolean; [more: string]: unknown }>;

export const crashPoints = ['store.before_begin', 'store.before_commit', 'store.after_commit'];

export async function tellStories(store: string, mode: string, ...names: string[]): Promise<Endings> {
  const program = Program.run('stories', [store, mode, ...names]);
  assert.deepEqual(await program.ended(), { code: 0, signal: null }, program.output);
  return JSON.parse(program.output) as Endings;
}

/** How each of the stories ends. */
export function expectEndings(endings: Endings): void {
  const expected: Record<string, string> = {
    breaks: 'failed',
    cleanup: 'failed',
    cancelled: 'cancelled',
    compensated: 'cancelled',
  };
  for (const [name, { status, gapless }] of Object.entries(endings)) {
    assert.equal(status, expected[name] ?? 'completed', name);
    assert.ok(gapless, name);
  }
}

/** Kills at the passes of a crash point that `passes` names, until a telling gets through. */
export async function sweep(stores: Stores, point: string, passes: Iterable<number>): Promise<number> {
  const expected = await tellStories(await stores('live'), 'live');
  let kills = 0;
  for (const pass of passes) {
    const store = await stores(String(pass));
    const killed = Program.run('stories', [store, 'live'], { PAWL_CRASH_POINT: `${point}:${pass}` });
    const { code, signal } = await killed.ended();
    if (code === 0) return kills;
    assert.equal(signal, 'SIGKILL', killed.output);
    kills++;
    assert.deepEqual(await tellStories(store, 'live'), expected, `killed at pass ${pass} of ${point}`);
  }
  assert.fail(`${point} was passed more often than expected`);
}

export function* every(step: number, first = 1): Generator<number> {
  for (let pass = first; pass < 1_000; pass += step) yield pass;
}
