// A program of test/programs in a process of its own.
import assert from 'node:assert/strict';
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { until } from './runtime.js';

const packageFolder = fileURLToPath(new URL('../..', import.meta.url));

export class Program {
  readonly process: ChildProcess;
  output = '';
  private readonly closed: Promise<unknown>;

  /** `within` makes another command of the one that runs Node.js. */
  constructor(
    command: string[],
    environment: Record<string, string> = {},
    within: (command: string[]) => string[] = (same) => same,
  ) {
    const [file, ...rest] = within([process.execPath, ...command]);
    this.process = spawn(file!, rest, {
      cwd: packageFolder,
      env: { ...process.env, ...environment },
    });
    this.closed = once(this.process, 'close');
    for (const stream of [this.process.stdout!, this.process.stderr!]) {
      stream.on('data', (chunk) => (this.output += String(chunk)));
    }
  }

  static run(
    name: string,
    args: string[],
    environment?: Record<string, string>,
    within?: (command: string[]) => string[],
  ): Program {
    return new Program(['--import', 'tsx', join('test', 'programs', `${name}.ts`), ...args], environment, within);
  }

  /** Once it has ended and everything that it said was read. */
  async ended(): Promise<{ code: number | null; signal: string | null }> {
    await this.closed;
    return { code: this.process.exitCode, signal: this.process.signalCode };
  }

  async says(text: string): Promise<void> {
    await until(
      () => this.output,
      (output) => {
        if (output.includes(text)) return true;
        assert.equal(this.process.exitCode, null, `it ended before it said '${text}': ${output}`);
        return false;
      },
    );
  }
}
