// A full disk: a clear error, nothing acknowledged is lost, and it goes on when there is room again.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { Program } from './support/program.js';
import { temporaryFolder } from './support/runtime.js';

function check(output: string, store: string): void {
  const { refusals, taken, currentState, n, status, result } = JSON.parse(output.trim().split('\n').at(-1)!);
  assert.deepEqual(taken, [false, false]);
  // What was refused first had not been taken by then; all before had been acknowledged.
  const acknowledged = Number(/^has (\d+)$/.exec(currentState)![1]);
  assert.ok(acknowledged >= 3 && acknowledged <= n, currentState);
  for (const refusal of refusals) {
    assert.match(refusal, /^StoreError (store_unavailable|outcome_unknown): /);
    assert.match(refusal, /SQLite code \d+|not tried/, refusal);
  }
  assert.ok(refusals[0].includes(store), refusals[0]);
  assert.equal(status, 'completed');
  assert.deepEqual(result, { seen: Array.from({ length: n + 1 }, (_, i) => i), noted: n + 1 }, 'each once, in order');
}

test('files that can grow no more', async (t) => {
  const folder = temporaryFolder(t);
  const program = Program.run('full', [folder, 'limit']);
  assert.deepEqual(await program.ended(), { code: 0, signal: null }, program.output);
  check(program.output, join(folder, 'pawl.db'));
  assert.match(program.output, /files may not grow that large here \(ulimit -f\)/);
});

// Mounted in a name space of the program's own, which takes no privileges where such are allowed.
const mount = (folder: string, ...command: string[]) => [
  '--mount',
  '--map-root-user',
  'sh',
  '-c',
  'mount -t tmpfs -o size=2m pawl "$0" && exec "$@"',
  folder,
  ...command,
];

test('a disk that is full', async (t) => {
  const folder = join(temporaryFolder(t), 'disk');
  mkdirSync(folder);
  const { status, stderr, error } = spawnSync('unshare', mount(folder, 'true'), { encoding: 'utf8' });
  if (status !== 0) return t.skip(`nothing can be mounted here: ${error?.message ?? stderr}`);
  const program = Program.run('full', [folder, 'disk'], {}, (command) => ['unshare', ...mount(folder, ...command)]);
  assert.deepEqual(await program.ended(), { code: 0, signal: null }, program.output);
  check(program.output, join(folder, 'pawl.db'));
  assert.match(program.output, /database or disk is full/);
});
