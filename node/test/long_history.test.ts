import { test } from 'node:test';
import { liveLong } from './support/long_history.js';

// rule: 26
test('a history of 20,000 records is no burden', (t) => liveLong(t, 20_000));
