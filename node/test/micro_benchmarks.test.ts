// The benchmarks of the crossing keep running, and say what scripts/bench_check reads.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

test('each benchmark of the crossing runs once', async () => {
  const { stdout } = await promisify(execFile)(
    process.execPath,
    ['--expose-gc', '--max-semi-space-size=128', '--import', 'tsx', 'bench/micro/crossing.ts', '--benchmark_min_time=0'],
    { cwd: fileURLToPath(new URL('..', import.meta.url)) },
  );
  const { benchmarks } = JSON.parse(stdout) as { benchmarks: Record<string, number | string>[] };
  assert.ok(benchmarks.length >= 3);
  for (const { name, real_time, cpu_time, heap_bytes } of benchmarks) {
    for (const value of [real_time, cpu_time, heap_bytes]) assert.ok(Number(value) > 0, `${name}: ${value}`);
  }
});
