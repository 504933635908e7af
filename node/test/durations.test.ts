import assert from 'node:assert/strict';
import { test } from 'node:test';
import { toMilliseconds } from '../dist/durations.js';

test('numbers are milliseconds, text has a unit', () => {
  assert.equal(toMilliseconds(0), 0);
  assert.equal(toMilliseconds(1.2), 2, 'never shorter than asked for');
  assert.equal(toMilliseconds('500ms'), 500);
  assert.equal(toMilliseconds('30s'), 30_000);
  assert.equal(toMilliseconds('15m'), 900_000);
  assert.equal(toMilliseconds('12h'), 43_200_000);
  assert.equal(toMilliseconds('3d'), 259_200_000);
  assert.equal(toMilliseconds(' 1.5 s '), 1_500);
});

test('what is no duration is refused, with what it should be', () => {
  for (const bad of ['', '5', 'abc', '5 weeks', '-3s', '1e3ms', '3D']) {
    assert.throws(() => toMilliseconds(bad, 'timeout'), {
      code: 'invalid_argument',
      message: /^timeout: .* is no duration\. Write a number with a unit: '500ms', '30s'/,
    });
  }
  for (const bad of [-1, Number.NaN, Infinity, 2 ** 60]) {
    assert.throws(() => toMilliseconds(bad), { message: /is out of range/ });
  }
  for (const bad of [null, undefined, {}, true]) {
    assert.throws(() => toMilliseconds(bad as never), { message: /is no duration. Give a number/ });
  }
});
