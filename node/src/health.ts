/** How a process that has a runtime stands, for whoever probes it. */

/** What {@link WorkflowRuntime.health} gives. */
export interface Health {
  /** `degraded`: all is done, and something costs time. `down`: nothing is done here just now, see `troubles`. */
  status: 'ok' | 'degraded' | 'down';
  /** For people, the worst first. No password is in them. */
  troubles: string[];
  /** It takes up executions: `startWorker` was called, or its store is a file. */
  works: boolean;
  /** Of the store; 1 in a file. */
  partitions: number;
  /** Of them, whose executions are run here. */
  partitionsOwned: number;
  /** Since a store in PostgreSQL answered last, in milliseconds. Longer than the `lease`: it is down. */
  storeSilentForMs: number;
  /** Calls that wait for their answers. */
  callsWaiting: number;
  /** That wait to be durable. */
  commitsWaiting: number;
  /** Attempts handed out and not ended. */
  actionsInFlight: number;
  /** Attempts that wait for a place or for a limit. */
  actionsWaiting: number;
}

/** @internal Of a runtime that has no store open. */
export const nothingKnown: Health = {
  status: 'down',
  troubles: [],
  works: false,
  partitions: 0,
  partitionsOwned: 0,
  storeSilentForMs: 0,
  callsWaiting: 0,
  commitsWaiting: 0,
  actionsInFlight: 0,
  actionsWaiting: 0,
};
