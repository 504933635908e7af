import { spawnSync } from 'node:child_process';
import { rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { pawlBench } from './options.js';
import type { Acknowledged, Store } from './store.js';
import type { Run } from './workload.js';

/** A file in the run's folder. */
export class StoreFile implements Store {
  readonly kind = 'sqlite';
  readonly path: string;
  private readonly lose: string;

  constructor({ workload, concurrency, folder, lose }: Run) {
    this.path = join(folder, `ts-${workload}-${concurrency}.db`);
    this.lose = lose;
  }

  get address(): string {
    return `sqlite:${this.path}`;
  }

  async remove(): Promise<void> {
    for (const part of ['', '-wal', '-shm', '-lock']) rmSync(this.path + part, { force: true });
  }

  async bytes(): Promise<number> {
    const size = (file: string) => statSync(file, { throwIfNoEntry: false })?.size ?? 0;
    return size(this.path) + size(`${this.path}-wal`);
  }

  /** Has another process open it. */
  async check(acknowledged: Acknowledged): Promise<void> {
    const expected = Object.entries(acknowledged).map(([name, count]) => `${name}=${count}`);
    const lose = this.lose === '' ? [] : [`lose=${this.lose}`];
    const { status, stderr, error } = spawnSync(pawlBench(), ['--check', this.path, ...expected, ...lose], {
      encoding: 'utf8',
    });
    if (error !== undefined) throw new Error(`the rows can't be counted: ${error.message}`);
    if (status !== 0) throw new Error(stderr.trim());
  }
}
