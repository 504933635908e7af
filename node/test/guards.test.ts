import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { getRandomValues, randomInt, randomUUID, webcrypto } from 'node:crypto';
import * as http from 'node:http';
import { afterEach, test } from 'node:test';
import { setTimeout as namedSetTimeout } from 'node:timers';
import { setTimeout as promisedSetTimeout } from 'node:timers/promises';
import { promisify } from 'node:util';
import { defineWorkflow, type WorkflowContext } from 'pawl';
import { installGuards, removeGuards } from '../dist/guards.js';
import { ignoreRejections, watchRejections } from '../dist/rejections.js';
import { tell } from './support/probe.js';

afterEach(() => removeGuards());

async function inside(fn: (context: WorkflowContext) => unknown): Promise<void> {
  let failure: unknown;
  const definition = defineWorkflow('Guarded', async (context: WorkflowContext) => {
    try {
      await fn(context);
    } catch (error) {
      failure = error;
    }
  });
  const [result] = await tell(definition, undefined);
  if (failure !== undefined) throw failure;
  assert.equal(result!.violation, '');
}

// rule: 13
test('clocks and randomness are those of the history', async () => {
  installGuards('error');
  const seen: unknown[][] = [];
  for (let round = 0; round < 2; round++) {
    await inside(({ now }) => {
      assert.equal(now(), 1_000);
      assert.equal(Date.now(), 1_000);
      assert.equal(new Date().getTime(), 1_000);
      assert.equal(new Date(5).getTime(), 5);
      assert.equal(Date(), new Date(1_000).toString());
      assert.ok(new Date() instanceof Date);
      class Later extends Date {}
      assert.ok(new Later() instanceof Later && new Later().getTime() === 1_000);
      assert.equal(performance.now(), 0);
      assert.equal(process.hrtime.bigint(), 1_000_000_000n);
      assert.deepEqual(process.hrtime(), [1, 0]);
      seen.push([Math.random(), Math.random(), crypto.randomUUID(), randomUUID()]);
    });
  }
  assert.deepEqual(seen[0], seen[1]);
  assert.equal(new Set(seen[0]).size, 4);
  assert.ok(Date.now() > 1_000_000 && new Date().getTime() > 1_000_000);
  assert.notEqual(Math.random(), seen[0]![0]);
});

test('ways to the outside raise an error that names what to use', async () => {
  installGuards('error');
  const ways: [() => unknown, RegExp][] = [
    [() => setTimeout(() => {}, 1), /^setTimeout\(\) was called by workflow 'Guarded'.*use 'context\.sleep'/],
    [() => setInterval(() => {}, 1), /^setInterval\(\)/],
    [() => setImmediate(() => {}), /^setImmediate\(\)/],
    [() => namedSetTimeout(() => {}, 1), /^setTimeout\(\)/],
    [() => promisedSetTimeout(1), /^setTimeout\(\) of node:timers\/promises/],
    [() => promisify(setTimeout)(1), /^setTimeout\(\)/],
    [() => fetch('http://localhost'), /^fetch\(\).*use an action/],
    [() => http.get('http://localhost'), /^get\(\) of node:http/],
    [() => execFile('true'), /^execFile\(\) of node:child_process/],
    [() => randomInt(5), /^randomInt\(\) of node:crypto.*'context\.random'/],
    [() => crypto.getRandomValues(new Uint8Array(1)), /^crypto\.getRandomValues\(\) was called.*'context\.random' or 'context\.uuid'/],
    [() => webcrypto.getRandomValues(new Uint8Array(1)), /^crypto\.getRandomValues\(\)/],
    [() => getRandomValues(new Uint8Array(1)), /getRandomValues\(\)/],
    [() => AbortSignal.timeout(1), /^AbortSignal\.timeout\(\)/],
  ];
  for (const [way, message] of ways) {
    await assert.rejects(inside(way), { name: 'NotDeterministicError', message }, String(way));
  }
});

test('a library can tell a Date by its constructor, whoever made it', async () => {
  const early = new Date(5);
  const { constructor } = Date.prototype;
  installGuards('error');
  const check = () => {
    for (const date of [early, new Date(), new Date(7), structuredClone(new Date(9)), new (class extends Date {})()]) {
      assert.ok(date instanceof Date);
      assert.equal(Object.getPrototypeOf(date) === Date.prototype ? date.constructor : Date, Date);
    }
    assert.deepEqual(Object.keys(Date.prototype), []);
  };
  check();
  await inside(check);
  removeGuards();
  check();
  assert.equal(Date.prototype.constructor, constructor);
});

test('a pool of random bytes that a library shares is never filled from a seed', async () => {
  installGuards('error');
  const pool = new Uint8Array(32);
  const id = () => {
    if (pool.every((byte) => byte === 0)) crypto.getRandomValues(pool);
    return pool.join();
  };
  await assert.rejects(inside(id), { name: 'NotDeterministicError' });
  assert.ok(pool.every((byte) => byte === 0));
  assert.notEqual(id(), new Uint8Array(32).join());
});

test('outside of workflow code everything does what it does', async () => {
  const before = [Date, setTimeout, fetch, Math.random, Date.now, crypto.randomUUID, http.get, process.hrtime];
  installGuards('error');
  assert.equal(await promisedSetTimeout(1, 'x'), 'x');
  assert.equal(await promisify(setTimeout)(1, 'y'), 'y');
  assert.equal(new Date(2020, 1, 1).getFullYear(), 2020);
  assert.equal(structuredClone(new Date(7)).getTime(), 7);
  assert.equal(typeof Date.parse('2020-01-01'), 'number');
  assert.equal(Date.name, 'Date');
  assert.equal(randomUUID().length, 36);
  removeGuards();
  const after = [Date, setTimeout, fetch, Math.random, Date.now, crypto.randomUUID, http.get, process.hrtime];
  after.forEach((one, i) => assert.equal(one, before[i]));
});

test('what others have put over the guards stays, and goes through to the original', async () => {
  const before = { setTimeout, fetch, Date, random: Math.random, emit: process.emit };
  const heard: unknown[] = [];
  try {
    installGuards('error');
    watchRejections(() => heard.push('ours'));
    const [guardedTimeout, guardedDate, guardedEmit] = [setTimeout, Date, process.emit];
    const wrapped = ((...args: Parameters<typeof setTimeout>) => guardedTimeout(...args)) as typeof setTimeout;
    globalThis.setTimeout = wrapped;
    class FrozenDate extends guardedDate {}
    globalThis.Date = FrozenDate as DateConstructor;
    const emit = function (this: NodeJS.Process, ...args: unknown[]) {
      return Reflect.apply(guardedEmit as unknown as (...all: unknown[]) => boolean, this, args);
    } as typeof process.emit;
    process.emit = emit;
    removeGuards();
    ignoreRejections();
    assert.equal(setTimeout, wrapped);
    assert.equal(Date, FrozenDate);
    assert.equal(process.emit, emit);
    assert.equal(fetch, before.fetch);
    assert.equal(Math.random, before.random);
    await inside(() => {
      clearTimeout(setTimeout(() => {}, 1));
      assert.ok(new Date().getTime() > 1_000_000);
      // Without the listeners of the test runner.
      const listeners = process.listeners('unhandledRejection');
      process.removeAllListeners('unhandledRejection');
      process.once('unhandledRejection', (reason) => heard.push(reason));
      process.emit('unhandledRejection', 'theirs', Promise.resolve());
      for (const listener of listeners) process.on('unhandledRejection', listener);
    });
    assert.deepEqual(heard, ['theirs']);
    // The next ones are put over it, and taken off it.
    installGuards('error');
    await assert.rejects(inside(() => setTimeout(() => {}, 1)), { name: 'NotDeterministicError' });
    removeGuards();
    assert.equal(setTimeout, wrapped);
  } finally {
    globalThis.setTimeout = before.setTimeout;
    globalThis.Date = before.Date;
    process.emit = before.emit;
  }
});

test('warn lets through and warns once; off leaves all as it is', async () => {
  const warnings: string[] = [];
  const note = (warning: Error) => warnings.push(warning.message);
  process.on('warning', note);
  installGuards('warn');
  await inside(() => clearTimeout(setTimeout(() => {}, 1)));
  await inside(() => clearTimeout(setTimeout(() => {}, 1)));
  await new Promise((resolve) => setImmediate(resolve));
  process.off('warning', note);
  assert.equal(warnings.filter((text) => text.startsWith('setTimeout()')).length, 1);
  installGuards('off');
  await inside(() => {
    clearTimeout(setTimeout(() => {}, 1));
    assert.ok(Date.now() > 1_000_000);
  });
});
