/** What one process measures. */
export interface Run {
  workload: string;
  /** Clients, each of which waits for its answer before it asks again. */
  concurrency: number;
  /** In the workload's unit. */
  n: number;
  folder: string;
  /** An address of PostgreSQL, for a store there; empty: it is a file in the folder. */
  server: string;
  /** For the test of the suite: a row of this table is deleted before the rows are counted. */
  lose: string;
}

export interface Case {
  concurrency: number;
  n: number;
}

export interface Workload {
  name: string;
  /** A line of the help. */
  about: string;
  /** That are run when nothing else is asked for. */
  cases: [Case, ...Case[]];
  /** False: that of its cases is part of what it measures. */
  anyConcurrency: boolean;
  run(run: Run): Promise<void>;
}
