// Every story, killed at every commit.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { crashPoints, every, sweep } from './support/crashes.js';

for (const point of crashPoints) {
  test(`killed at each pass of ${point}`, async (t) => {
    assert.ok((await sweep(t, point, every(1))) >= 20);
  });
}
