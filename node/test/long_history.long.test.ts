import { test } from 'node:test';
import { liveLong } from './support/long_history.js';

test('a history of a million records is no burden', (t) => liveLong(t, 1_000_000));
