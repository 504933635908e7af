// Serves the invoice approval as a process of its own, kills it in the middle of an action, starts it
// again, and shows what is left of it all. Checks on the way that it is true; exits with 1 if not.
import { strict as assert } from 'node:assert';
import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, rmSync } from 'node:fs';
import { join, relative } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import type { ExecutionState, HistoryRecord } from 'pawl';
import { readNotes, type Note } from './accounting.js';
import { bold, cyan, dim, green, heading, red, say, table, yellow, type Row } from './terminal.js';

const root = fileURLToPath(new URL('../../..', import.meta.url));
const folder = join(root, 'build', 'demo');
const database = join(folder, 'pawl.db');
const books = join(folder, 'accounting.jsonl');

interface Server {
  process: ChildProcess;
  url: string;
}

let serving: Server | undefined;

async function serve(): Promise<Server> {
  const child = spawn(process.execPath, ['--import', 'tsx', 'invoice_approval.ts'], {
    cwd: fileURLToPath(new URL('.', import.meta.url)),
    env: { ...process.env, PAWL_STORE: `sqlite:${database}`, ACCOUNTING: books, PORT: '0' },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  // Its log lines, without the time and the level.
  child.stderr.on('data', (chunk: Buffer) => {
    for (const line of chunk.toString().trimEnd().split('\n')) {
      say(dim(`│ ${line.replace(/^\S+Z \w+ +/, '')}`));
    }
  });
  const url = await new Promise<string>((resolve, reject) => {
    child.stdout.on('data', (chunk: Buffer) => {
      const found = /http:\S+/.exec(chunk.toString());
      if (found) resolve(found[0]);
    });
    child.once('exit', () => reject(new Error('the server ended before it served')));
  });
  serving = { process: child, url };
  return serving;
}

async function kill({ process: child }: Server): Promise<void> {
  child.kill('SIGKILL');
  await once(child, 'exit');
}

async function call<T>(path: string, body?: object): Promise<T> {
  const response = await fetch(`${serving!.url}/invoices/${path}`, {
    ...(body === undefined ? {} : { method: 'POST', body: JSON.stringify(body) }),
  });
  const answer = (await response.json()) as T & { error?: string };
  if (!response.ok) throw new Error(answer.error);
  return answer;
}

const stateOf = (id: string, at?: number) =>
  call<ExecutionState>(at === undefined ? id : `${id}?at=${at}`);

async function until<T>(look: () => T | Promise<T>, right: (value: T) => boolean): Promise<T> {
  const end = Date.now() + 10_000;
  for (;;) {
    const value = await look();
    if (right(value)) return value;
    if (Date.now() > end) throw new Error(`this took too long: ${look}`);
    await pause(10);
  }
}

function shorten(value: unknown, length = 46): string {
  if (value === undefined) return '';
  const { name, message } = (value ?? {}) as { name?: string; message?: string };
  const text = name && message ? `${name}: ${message}` : JSON.stringify(value);
  return text.length > length ? `${text.slice(0, length - 1)}…` : text;
}

function historyRows(history: HistoryRecord[], killedAt: number, pids: number[]): Row[] {
  const rows: Row[] = [];
  const began = history[0]!.at;
  let killed = false;
  let fresh = true;
  for (const { sequence, type, name, payload, at, endsActivation } of history) {
    if (!killed && at > killedAt) {
      killed = true;
      rows.push({ line: red(`      ✗  kill -9 of process ${pids[0]}; process ${pids[1]} goes on from here`) });
    }
    const paint = type.startsWith('Event') ? yellow : type.startsWith('Action') ? cyan : (text: string) => text;
    rows.push([
      String(sequence).padStart(3),
      fresh ? `${((at - began) / 1000).toFixed(2)} s` : '',
      paint(type),
      bold(name),
      dim(shorten(payload)),
    ]);
    fresh = endsActivation;
  }
  return rows;
}

async function main(): Promise<void> {
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  console.log(`\n ${bold('Pawl')}  an invoice approval that is killed while it works\n`);
  say('The workflow is one async function: examples/ts/invoice-approval/invoice_approval.ts');
  say(`Its store is one SQLite file: ${relative(root, database)}`);

  heading('A process serves it. Two invoices come in.');
  const first = await serve();
  const pids = [first.process.pid!];
  say(`process ${bold(String(pids[0]))} serves`);
  await call('inv-1', { customer: 'Ada', amount: 500 });
  await call('inv-2', { customer: 'Bob', amount: 80 });
  await call('inv-1/Submit', { by: 'ann' });
  say('inv-1 is submitted: its budget is checked, and it is booked');
  await until(() => stateOf('inv-1'), ({ condition, currentState }) => currentState === 'waiting for approval' && condition === 'waiting');
  say(`inv-1 is ${bold('waiting for approval')}`);
  await call('inv-2/Submit', { by: 'ann' });
  await until(() => readNotes(books), (notes) => notes.some(({ what }) => what === 'book inv-2'));
  say(`inv-2 is submitted, and ${bold('its booking is under way')} …`);
  await pause(150);

  heading('kill -9');
  await kill(first);
  const killedAt = Date.now();
  say(red(`process ${pids[0]} is gone: inv-1 was waiting, the booking of inv-2 was half done`));

  heading('It is started again, and nothing else is done.');
  const second = await serve();
  pids.push(second.process.pid!);
  say(`process ${bold(String(pids[1]))} serves the same file`);
  await until(() => stateOf('inv-2'), ({ condition, currentState }) => currentState === 'waiting for approval' && condition === 'waiting');
  say(`inv-2 was booked by itself, and is ${bold('waiting for approval')}`);
  for (const id of ['inv-1', 'inv-2']) await call(`${id}/Approve`, { by: 'mia' });
  for (const id of ['inv-1', 'inv-2']) {
    const { status, result } = await until(() => stateOf(id), ({ isComplete }) => isComplete);
    assert.deepEqual([status, result], ['completed', 'paid']);
    say(green(`${id} is approved, paid and ${status}`));
  }

  heading('What the accounting system saw');
  const notes = readNotes(books);
  const began = new Map<string, Note[]>();
  for (const note of notes.filter(({ step }) => step === 'began')) {
    began.set(note.key, [...(began.get(note.key) ?? []), note]);
  }
  table(
    ['asked for', 'idempotency key', 'by process', ''],
    [...began].map(([key, calls]) => [
      calls[0]!.what,
      key,
      calls.map(({ pid }) => pid).join(', then '),
      calls.length > 1 ? yellow('interrupted, so asked again under the same key') : dim('once'),
    ]),
  );
  const repeated = [...began.values()].filter((calls) => calls.length > 1);
  assert.equal(repeated.length, 1, 'one action was interrupted');
  assert.deepEqual(repeated[0]!.map(({ what, pid }) => [what, pid]), pids.map((pid) => ['book inv-2', pid]));
  assert.equal(began.size, 6);
  assert.equal(notes.filter(({ entry }) => entry !== undefined).length, 2, 'each invoice is in the books once');

  heading('The history of inv-2');
  say(dim('Everything that happened to it and everything that its code asked for. A time begins each'));
  say(dim('step: what the code was woken with, and what it did until it waited again.'));
  say();
  const history = await call<HistoryRecord[]>('inv-2/history');
  table(['  #', 'at', 'what', 'name', 'payload'], historyRows(history, killedAt, pids));

  heading('State and data at three earlier points');
  say(dim('Read from the store alone: no workflow code runs for it.'));
  say();
  const points = [
    history.findIndex(({ endsActivation }) => endsActivation) + 1,
    history.find(({ type, name }) => type === 'ActionScheduled' && /book/i.test(name))!.sequence,
    history.findLast(({ type }) => type === 'WaitStarted')!.sequence,
  ];
  const earlier = await Promise.all(points.map((at) => stateOf('inv-2', at)));
  table(
    ['at #', 'state and data'],
    earlier.flatMap(({ currentState, data }, i) => [
      [String(points[i]).padStart(4), bold(currentState)],
      ['', dim(JSON.stringify(data))],
    ]),
  );
  assert.deepEqual(earlier.map(({ currentState }) => currentState), ['draft', 'checking', 'waiting for approval']);

  second.process.kill('SIGTERM');
  await once(second.process, 'exit');

  heading('Look for yourself');
  const queries = [
    'SELECT execution_id, status, current_state FROM executions;',
    "SELECT sequence, event_type, event_name, payload FROM history WHERE execution_id = 'inv-2';",
    'SELECT action_name, idempotency_key, attempts, result FROM workflow_action_results;',
  ];
  say(`sqlite3 -box ${relative(root, database)}`);
  for (const query of queries) say(`  ${bold(query)}`);
  const answer = spawnSync('sqlite3', ['-box', database, queries[0]!], { encoding: 'utf8' });
  if (answer.status === 0) {
    say();
    for (const line of answer.stdout.trimEnd().split('\n')) say(dim(line));
  }
  say();
  say(green('Nothing was lost, and what had been done was not done again.'));
  console.log();
}

main().catch((error: unknown) => {
  console.error(red(`\n   The demo failed: ${error instanceof Error ? error.stack : String(error)}\n`));
  serving?.process.kill('SIGKILL');
  process.exitCode = 1;
});
