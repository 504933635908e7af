// Tells all stories, killed at a commit, and told again: they must end as they do when nothing happens.
import assert from 'node:assert/strict';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { Program } from './program.js';
import { temporaryFolder } from './runtime.js';

export type Endings = Record<string, { status: string; gapless: boolean; [more: string]: unknown }>;

export const crashPoints = ['store.before_begin', 'store.before_commit', 'store.after_commit'];

export async function tellStories(store: string, mode: string, ...names: string[]): Promise<Endings> {
  const program = Program.run('stories', [store, mode, ...names]);
  assert.deepEqual(await program.ended(), { code: 0, signal: null }, program.output);
  return JSON.parse(program.output) as Endings;
}

/** Kills at the passes of a crash point that `passes` names, until a telling gets through. */
export async function sweep(t: TestContext, point: string, passes: Iterable<number>): Promise<number> {
  const folder = temporaryFolder(t);
  const expected = await tellStories(`sqlite:${join(folder, 'live.db')}`, 'live');
  let kills = 0;
  for (const pass of passes) {
    const store = `sqlite:${join(folder, `${pass}.db`)}`;
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
