// Stands for the world outside: an accounting system that is slow, keeps books in a file, and knows a
// repeated request by its idempotency key. It notes each request, for the demo to show.
import { appendFileSync, existsSync, readFileSync } from 'node:fs';
import { setTimeout as pause } from 'node:timers/promises';

export interface Note {
  step: 'began' | 'done';
  what: string;
  key: string;
  pid: number;
  entry?: number;
}

const file = process.env.ACCOUNTING ?? 'accounting.jsonl';

export function readNotes(from = file): Note[] {
  if (!existsSync(from)) return [];
  return readFileSync(from, 'utf8')
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as Note);
}

function note(line: Omit<Note, 'pid'>): void {
  appendFileSync(file, `${JSON.stringify({ ...line, pid: process.pid })}\n`);
}

export const accounting = {
  async checkBudget(key: string, amount: number): Promise<boolean> {
    note({ step: 'began', what: 'check budget', key });
    note({ step: 'done', what: 'check budget', key });
    return amount < 10_000;
  },

  async book(key: string, invoice: string, _amount: number): Promise<number> {
    const what = `book ${invoice}`;
    note({ step: 'began', what, key });
    await pause(900);
    const before = readNotes().find((line) => line.step === 'done' && line.key === key);
    if (before?.entry !== undefined) return before.entry;
    const entry = 4711 + readNotes().filter((line) => line.entry !== undefined).length;
    note({ step: 'done', what, key, entry });
    return entry;
  },

  async pay(key: string, invoice: string, customer: string): Promise<void> {
    const what = `pay ${customer} for ${invoice}`;
    note({ step: 'began', what, key });
    note({ step: 'done', what, key });
  },
};
