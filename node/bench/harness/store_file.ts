import { spawnSync } from 'node:child_process';
import { rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { pawlBench } from './options.js';
import type { Run } from './workload.js';

/** What clients were told, and what therefore has to be in the file. */
export interface Acknowledged {
  /** Executions. */
  completed?: number;
  /** Executions. */
  running?: number;
  /** With a result. */
  actions?: number;
  /** Received by workflows. */
  events?: number;
}

/** The file of a run's store. Where a run fails it is left behind, to be looked at. */
export class StoreFile {
  readonly path: string;
  private readonly lose: string;

  /** One from an earlier run is deleted. */
  constructor({ workload, concurrency, folder, lose }: Run) {
    this.path = join(folder, `ts-${workload}-${concurrency}.db`);
    this.lose = lose;
    this.remove();
  }

  get address(): string {
    return `sqlite:${this.path}`;
  }

  remove(): void {
    for (const part of ['', '-wal', '-shm', '-lock']) rmSync(this.path + part, { force: true });
  }

  /** With its log. */
  bytes(): number {
    const size = (file: string) => statSync(file, { throwIfNoEntry: false })?.size ?? 0;
    return size(this.path) + size(`${this.path}-wal`);
  }

  /** Has another process open it, once it is closed here, and count its rows. Throws where the two differ. */
  check(acknowledged: Acknowledged): void {
    const expected = Object.entries(acknowledged).map(([name, count]) => `${name}=${count}`);
    const lose = this.lose === '' ? [] : [`lose=${this.lose}`];
    const { status, stderr, error } = spawnSync(pawlBench(), ['--check', this.path, ...expected, ...lose], {
      encoding: 'utf8',
    });
    if (error !== undefined) throw new Error(`the rows can't be counted: ${error.message}`);
    if (status !== 0) throw new Error(stderr.trim());
  }
}
