import type { Run } from './workload.js';
import { StoreDatabase } from './store_database.js';
import { StoreFile } from './store_file.js';

/** What clients were told, and what therefore has to be in the store. */
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

/** Of a run. Where that fails it is left behind, to be looked at. */
export interface Store {
  /** For getWorkflowRuntime. */
  readonly address: string;
  readonly kind: 'sqlite' | 'postgresql';
  /** With its log, where that is its own. */
  bytes(): Promise<number>;
  /** Once no runtime has it open: counts its rows. Throws where they are not what was acknowledged. */
  check(acknowledged: Acknowledged): Promise<void>;
  remove(): Promise<void>;
}

/** An empty one, on the server that the run says, or else in its folder; one from an earlier run is deleted. */
export async function makeStore(run: Run): Promise<Store> {
  const store = run.server === '' ? new StoreFile(run) : new StoreDatabase(run);
  await store.remove();
  if (store instanceof StoreDatabase) await store.create();
  return store;
}
