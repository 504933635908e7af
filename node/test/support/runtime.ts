// A runtime on a file of its own, closed and deleted after the test.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import {
  createActionRegistry,
  getWorkflowRuntime,
  type ActionRegistry,
  type LogLine,
  type RuntimeOptions,
  type WorkflowRuntime,
} from 'pawl';

export interface Setting {
  folder: string;
  store: string;
  registry: ActionRegistry;
  runtime: WorkflowRuntime;
  lines: LogLine[];
  /** Closes the runtime at once and opens another one on the same file, with the same actions. */
  reopen(options?: RuntimeOptions): Promise<WorkflowRuntime>;
}

export function temporaryFolder(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'pawl-test-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

export function setUp(t: TestContext, options: RuntimeOptions = {}): Setting {
  const folder = temporaryFolder(t);
  const lines: LogLine[] = [];
  const all = { store: `sqlite:${join(folder, 'pawl.db')}`, log: (line: LogLine) => void lines.push(line), ...options };
  const registry = createActionRegistry();
  const setting: Setting = {
    folder,
    store: all.store,
    registry,
    lines,
    runtime: getWorkflowRuntime(registry, all),
    async reopen(more = {}) {
      await setting.runtime.close({ drain: 0 });
      setting.runtime = getWorkflowRuntime(registry, { ...all, ...more });
      return setting.runtime;
    },
  };
  t.after(() => setting.runtime.close({ drain: 0 }));
  return setting;
}

/** Until it holds. Gives up with the test's own time limit. */
export async function until<T>(get: () => Promise<T> | T, holds: (value: T) => boolean): Promise<T> {
  for (;;) {
    const value = await get();
    if (holds(value)) return value;
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
