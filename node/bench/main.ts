// See --help.
import { help, list, parseRun, UsageError } from './harness/options.js';
import type { Workload } from './harness/workload.js';
import { approval } from './workloads/approval.js';
import { event } from './workloads/event.js';
import { fanOut } from './workloads/fan_out.js';
import { replay } from './workloads/replay.js';
import { start } from './workloads/start.js';
import { threeStep } from './workloads/three_step.js';

const workloads: Workload[] = [threeStep, approval, event, fanOut, start, replay];

async function main(args: string[]): Promise<void> {
  const [first] = args;
  if (first === undefined || first === '--help') {
    process.stdout.write(help(workloads));
  } else if (first === '--list') {
    process.stdout.write(list(workloads));
  } else {
    const { run, workload } = parseRun(args, workloads);
    await workload.run(run);
  }
}

try {
  await main(process.argv.slice(2));
} catch (error) {
  const text = error instanceof UsageError ? error.message : String((error as Error)?.stack ?? error);
  console.error(`bench/main.ts: ${text}`);
  process.exit(1);
}
