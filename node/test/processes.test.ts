// Pawl in processes of their own: how they live, end, are killed, and go on.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { Program } from './support/program.js';
import { temporaryFolder, until } from './support/runtime.js';

test('a rejection that nobody awaits does not end the process; anybody else\'s does', async (t) => {
  const folder = temporaryFolder(t);
  const own = Program.run('careless', [`sqlite:${join(folder, 'a.db')}`]);
  assert.deepEqual(await own.ended(), { code: 0, signal: null }, own.output);
  assert.match(own.output, /result bad/);
  assert.equal(own.output.match(/warn A promise was rejected and nobody has awaited it bad/g)?.length, 2);
  assert.doesNotMatch(own.output, /listens|Rejection/);
  const strict = Program.run('careless', [`sqlite:${join(folder, 's.db')}`], {
    NODE_OPTIONS: '--unhandled-rejections=strict',
  });
  assert.deepEqual(await strict.ended(), { code: 0, signal: null }, strict.output);
  assert.equal(strict.output, own.output);
  const foreign = Program.run('careless', [`sqlite:${join(folder, 'b.db')}`, 'foreign']);
  assert.deepEqual(await foreign.ended(), { code: 1, signal: null }, foreign.output);
  assert.match(foreign.output, /Error: of somebody else/);
  const call = Program.run('careless', [`sqlite:${join(folder, 'c.db')}`, 'call']);
  assert.deepEqual(await call.ended(), { code: 1, signal: null }, call.output);
  assert.match(call.output, /UnknownExecutionError: There is no execution 'none'/);
});

test('listeners of rejections hear of all but those of workflow code, which each replay repeats', async (t) => {
  const folder = temporaryFolder(t);
  const program = Program.run('careless', [`sqlite:${join(folder, 'a.db')}`, 'listen']);
  assert.deepEqual(await program.ended(), { code: 0, signal: null }, program.output);
  const heard = program.output.split('\n').filter((line) => /^(unhandled|handled late|warning)/.test(line));
  assert.deepEqual(heard.sort(), [
    `unhandled: No workflow 'None' is registered. Call registerWorkflow first`,
    `unhandled: There is no execution 'none' in tenant 'acme'.`,
    `unhandled: There is no execution 'none' in tenant 'acme'.`,
    'unhandled: of somebody else',
  ]);
  assert.equal(program.output.match(/nobody has awaited it bad/g)?.length, 2);
});

test('an open runtime keeps the process alive until it is closed; every way out is clean', async (t) => {
  const folder = temporaryFolder(t);
  const store = (name: string) => `sqlite:${join(folder, name)}`;
  const stays = Program.run('open', [store('stays'), 'stay']);
  const exits = Program.run('open', [store('exits'), 'exit']);
  const throws = Program.run('open', [store('throws'), 'throw']);
  const closes = Program.run('open', [store('closes'), 'close']);
  const unopened = Program.run('open', [store('unopened'), 'unopened']);
  assert.deepEqual(await exits.ended(), { code: 3, signal: null }, exits.output);
  assert.deepEqual(await throws.ended(), { code: 1, signal: null }, throws.output);
  assert.match(throws.output, /Error: uncaught/);
  assert.deepEqual(await closes.ended(), { code: 0, signal: null }, closes.output);
  assert.deepEqual(await unopened.ended(), { code: 0, signal: null }, unopened.output);
  await stays.says('open');
  const second = Program.run('open', [store('stays'), 'close']);
  assert.equal((await second.ended()).code, 1);
  assert.match(second.output, /store_in_use|StoreError/, 'one engine per file');
  assert.equal(stays.process.exitCode, null);
  stays.process.kill('SIGTERM');
  assert.deepEqual(await stays.ended(), { code: 0, signal: null }, stays.output);
  assert.match(stays.output, /closed/);
});

// rule: 14
test('killed while an action runs: it runs again under its key, finished ones do not', async (t) => {
  const folder = temporaryFolder(t);
  const journal = join(folder, 'journal');
  const store = `sqlite:${join(folder, 'pawl.db')}`;
  const lines = () => readFileSync(journal, 'utf8').trim().split('\n');
  const first = Program.run('serve', [store, journal, 'hang', 'start wf-1']);
  await first.says('ready');
  await until(lines, (all) => all.some((line) => line.includes(' second ')));
  first.process.kill('SIGKILL');
  assert.deepEqual(await first.ended(), { code: null, signal: 'SIGKILL' });

  const second = Program.run('serve', [store, journal, 'go', 'finish wf-1']);
  await second.says('ready');
  second.process.kill('SIGKILL');
  await second.ended();
  assert.deepEqual(JSON.parse(second.output.split('\n')[0]!), {
    id: 'wf-1',
    status: 'completed',
    result: ['one', 'two', 'three'],
    data: { results: ['one', 'two'] },
  });
  const [one, two, again, ...more] = lines().map((line) => line.split(' '));
  assert.deepEqual(more, []);
  assert.deepEqual([one![1], two![1], again![1]], ['first', 'second', 'second']);
  assert.equal(two![2], again![2], 'the same idempotency key');
  assert.notEqual(one![2], two![2]);
  assert.notEqual(two![0], again![0], 'another process');
});

test('require of the folder gives the package: old ways to resolve read "main"', () => {
  const folder = fileURLToPath(new URL('..', import.meta.url));
  // A path is resolved without "exports".
  const script = `const pawl = require(${JSON.stringify(folder)}); process.exit(typeof pawl.defineWorkflow === 'function' && pawl === require('pawl') ? 0 : 1)`;
  const { status, stderr } = spawnSync(process.execPath, ['--input-type=commonjs', '-e', script], { cwd: folder, encoding: 'utf8' });
  assert.equal(status, 0, stderr);
  const { types } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'));
  assert.ok(existsSync(join(folder, types)), types);
});

test('import and require give the same thing', async (t) => {
  const folder = temporaryFolder(t);
  const program = new Program([
    '--input-type=module',
    '--eval',
    `import { createRequire } from 'node:module';
     import * as esm from 'pawl';
     const cjs = createRequire(import.meta.url)('pawl');
     const names = Object.keys(cjs).sort();
     if (names.some((name) => esm[name] !== cjs[name])) throw new Error('two of them');
     if (esm.getActionRegistry() !== cjs.getActionRegistry()) throw new Error('two registries');
     const runtime = esm.getWorkflowRuntime(undefined, { store: 'sqlite:${folder}/a.db' });
     if (runtime !== cjs.getWorkflowRuntime()) throw new Error('two runtimes');
     cjs.getWorkflowRuntime().registerWorkflow(cjs.defineWorkflow('A', async () => 5));
     const id = await runtime.startWorkflow('A', { tenant: 'acme' });
     console.log((await runtime.waitForWorkflowCompletion(id, 'acme')).result, names.length);
     await runtime.close();`,
  ]);
  assert.deepEqual(await program.ended(), { code: 0, signal: null }, program.output);
  assert.match(program.output, /^5 \d+/);
});

// rule: 20
test('workflow code that never yields is reported, once, in a way that leads to it', async (t) => {
  const folder = temporaryFolder(t);
  const later = Program.run('busy', [`sqlite:${join(folder, 'b.db')}`, 'later']);
  await later.says('has not yielded for 0.1 s');
  later.process.kill('SIGKILL');
  await later.ended();
  const [, where] = /workflow code of execution number \d+ has not yielded.* (SELECT .*) tells which/.exec(later.output)!;
  const rows = spawnSync('sqlite3', [join(folder, 'b.db'), where!], { encoding: 'utf8' });
  if (rows.error === undefined) assert.match(rows.stdout, /busy-1/);

  const busy = Program.run('busy', [`sqlite:${join(folder, 'a.db')}`]);
  await busy.says('has not yielded for 0.1 s');
  assert.match(busy.output, /workflow code of execution 'busy-1' of workflow 'Busy' \(tenant 'acme'\) has not yielded/);
  await new Promise((resolve) => setTimeout(resolve, 300));
  busy.process.kill('SIGKILL');
  await busy.ended();
  assert.equal(busy.output.match(/has not yielded/g)!.length, 1);
});
