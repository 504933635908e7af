// The benchmarks run on a store in PostgreSQL, and notice a row that is lost.
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { Postgres } from './support/postgres.js';
import { Program } from './support/program.js';

let server: Postgres;
before(async () => {
  server = await Postgres.start();
});
after(() => server?.end());

async function bench(workload: string, ...more: string[]): Promise<{ code: number | null; output: string }> {
  const command = ['--import', 'tsx', join('bench', 'main.ts'), workload, '--n', '3', '--store', server.url('postgres')];
  const program = new Program([...command, ...more]);
  const { code } = await program.ended();
  return { code, output: program.output };
}

test('its rows are counted, and its database is gone afterwards', async () => {
  for (const workload of ['three-step', 'approval', 'replay']) {
    const { code, output } = await bench(workload);
    assert.equal(code, 0, output);
    const line = JSON.parse(output) as Record<string, unknown>;
    assert.equal(line['store'], 'postgresql');
    assert.ok(Number(line['per_s']) > 0 && Number(line['disk_bytes_each']) > 0, output);
  }
  const admin = server.connect('postgres');
  const { rows } = await admin.raw(`SELECT datname FROM pg_database WHERE datname LIKE 'pawl%'`);
  await admin.destroy();
  assert.deepEqual(rows, []);
});

test('a row that is lost fails the run', async () => {
  for (const [table, missing] of [
    ['workflow_events', 'histories with a gap'],
    ['workflow_action_results', 'results of actions'],
  ]) {
    const { code, output } = await bench('three-step', '--lose', table!);
    assert.equal(code, 1, output);
    assert.match(output, new RegExp(missing!));
  }
});
