-- The seven tables, for PostgreSQL, and who owns which part of them.
--
-- How they are laid out: `execution` is a number that stands for the execution everywhere; its text id lives
-- once, in workflow_executions. The number begins with that of the partition: only who owns a partition writes
-- the rows of its executions, but anybody puts rows into workflow_event_processing. A payload is kept as its
-- bytes, with an encoding (0: JSON in UTF-8); the views show it as text. Columns that change often are in no
-- index, and pages have room for another version of a row, so that most updates stay in their page.

-- The parts that executions are spread over, as many as the store was made with; each belongs to one worker
-- at a time, which says so with its epoch in every commit.
CREATE TABLE workflow_partitions(
  partition integer PRIMARY KEY,
  owner text,                            -- of which worker; NULL: nobody's, or given back
  epoch bigint NOT NULL DEFAULT 0,       -- one more with each claim
  expires_at timestamptz NOT NULL DEFAULT '-infinity'  -- by the clock of the server
) WITH (fillfactor = 50);

-- Those who have the store open. A row says which of its worker's commits was the last, so that one whose answer
-- was lost can be looked up.
CREATE TABLE workflow_workers(
  worker text PRIMARY KEY,
  last_commit bigint NOT NULL DEFAULT 0,
  serving boolean NOT NULL DEFAULT false,  -- it takes its share of the partitions
  started_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  seen_at timestamptz NOT NULL DEFAULT clock_timestamp()
) WITH (fillfactor = 50);

CREATE TABLE workflow_executions(
  execution bigint PRIMARY KEY,
  partition integer NOT NULL,
  tenant text NOT NULL,
  execution_id text NOT NULL,
  workflow_name text NOT NULL,
  workflow_version text NOT NULL,
  status text NOT NULL,                  -- running, paused, stuck, completed, failed, cancelled, terminated
  current_state text NOT NULL,
  in_flight boolean NOT NULL,            -- something other than an event or a timer will move it
  last_sequence bigint NOT NULL,         -- as of the last write of this row; workflow_events is the truth
  condition text,                        -- why it does not move: waiting, no_worker, no_action, scheduled
  condition_detail text,
  result bytea,
  result_encoding smallint,
  error text,                            -- JSON
  user_id text,
  correlation_id text,
  input_digest text NOT NULL,
  created_at timestamptz NOT NULL,
  updated_at timestamptz NOT NULL,
  UNIQUE (tenant, execution_id)
) WITH (fillfactor = 80);

-- Lists of a tenant, newest first. In a collation that who looks for an id does not ask for: while the table is small,
-- this index looks as good for that as the right one, and a plan that was made then would read all of a tenant.
CREATE INDEX workflow_executions_tenant ON workflow_executions(tenant COLLATE "C", execution);
-- What the owner of a partition takes up.
CREATE INDEX workflow_executions_resume ON workflow_executions(partition, execution)
  WHERE in_flight OR status = 'stuck';
-- What an operator looks for.
CREATE INDEX workflow_executions_attention ON workflow_executions(tenant, status, execution)
  WHERE status IN ('failed', 'stuck', 'paused');

-- The histories: for each execution, sequence 1, 2, 3 … without a gap.
CREATE TABLE workflow_events(
  execution bigint NOT NULL,
  sequence bigint NOT NULL,
  tenant text NOT NULL,
  event_type text NOT NULL,              -- ExecutionStarted, EventReceived, ActionScheduled …
  event_name text,
  position integer NOT NULL,             -- of the wait, timer or action; 0: none
  cause bigint NOT NULL,                 -- sequence of the event that led to it
  ends_activation boolean NOT NULL,
  codec smallint NOT NULL,               -- layout of attributes
  payload bytea,
  encoding smallint,
  attributes text,                       -- JSON
  site text,                             -- where in the source of the workflow: 'approval.ts:41:9'
  created_at timestamptz NOT NULL,
  PRIMARY KEY (execution, sequence)
);
-- What makes records of before void.
CREATE INDEX workflow_events_retries ON workflow_events(execution, sequence)
  WHERE event_type = 'ExecutionRetried';

CREATE TABLE workflow_action_results(
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  execution bigint NOT NULL,             -- 0: ran outside of any execution
  position integer NOT NULL,             -- 0 then
  generation integer NOT NULL,           -- one more with each retry of its execution
  seed bigint NOT NULL,                  -- of the execution
  tenant text NOT NULL,
  execution_id text,                     -- as the caller named it; only where execution is 0
  action_name text NOT NULL,
  status text NOT NULL,                  -- succeeded, failed, given_up (its COMMIT may have been sent)
  attempts integer NOT NULL,
  cause bigint NOT NULL,
  result bytea,
  encoding smallint,
  error text,                            -- JSON
  user_key text,                         -- only if the caller gave one
  parameters_digest text,
  -- false: the action's own transaction wrote it, and the history is to follow.
  recorded boolean NOT NULL DEFAULT true,
  created_at timestamptz NOT NULL,
  -- What the handler was given.
  idempotency_key text GENERATED ALWAYS AS
    (coalesce(user_key, execution::text || ':' || position::text || ':' || lpad(to_hex(seed), 16, '0') ||
      CASE generation WHEN 0 THEN '' ELSE ':' || generation::text END)) STORED
);

-- Derived keys are unique because of the first, given ones because of the second.
CREATE UNIQUE INDEX workflow_action_results_position
  ON workflow_action_results(execution, position, generation) WHERE execution > 0;
CREATE UNIQUE INDEX workflow_action_results_key
  ON workflow_action_results(tenant, user_key) WHERE user_key IS NOT NULL;
CREATE INDEX workflow_action_results_ahead
  ON workflow_action_results(execution, position, generation) WHERE NOT recorded;

CREATE TABLE workflow_timers(
  execution bigint NOT NULL,
  position integer NOT NULL,
  partition integer NOT NULL,
  tenant text NOT NULL,
  kind text NOT NULL,                    -- sleep, wait, retry, start, deadline
  fire_at timestamptz NOT NULL,
  PRIMARY KEY (execution, position)
);
CREATE INDEX workflow_timers_due ON workflow_timers(partition, fire_at, execution, position);

-- Graphs of actions: a row for each action and each of its compensations. What became of an action is in
-- workflow_action_results, under its position; the view graph_actions joins the two.
CREATE TABLE workflow_action_dependencies(
  execution bigint NOT NULL,
  graph integer NOT NULL,                -- position of the graph
  position integer NOT NULL,             -- of the action
  tenant text NOT NULL,
  action_id text NOT NULL,               -- of a compensation: of the action that it undoes
  action_name text NOT NULL,
  compensation boolean NOT NULL,
  depends_on text NOT NULL,              -- JSON array: ids of actions, groups, sync points
  action_group text,
  sync_point text,
  error_strategy text NOT NULL,          -- stop, continue, retry, compensate
  skipped boolean NOT NULL,              -- the graph is over, and it did not run
  PRIMARY KEY (execution, graph, position)
);

CREATE TABLE workflow_sync_points(
  execution bigint NOT NULL,
  graph integer NOT NULL,
  name text NOT NULL,
  tenant text NOT NULL,
  status text NOT NULL,                  -- waiting, reached
  actions text NOT NULL,                 -- JSON array: ids of those that it joins
  reached_at timestamptz,
  PRIMARY KEY (execution, graph, name)
);

-- The inbox: what was accepted, and whether it is in a history yet. Rows without a number (execution 0) are mail:
-- whoever put it there knows the id only, and it gets its number when it is taken.
CREATE TABLE workflow_event_processing(
  id bigint PRIMARY KEY,
  execution bigint NOT NULL,
  partition integer NOT NULL,
  tenant text NOT NULL,
  execution_id text,                     -- of mail only
  kind text NOT NULL,                    -- event, start, cancel, terminate, retry, child_ended, completion
  event_id text NOT NULL,
  event_name text NOT NULL,
  status text NOT NULL,                  -- pending, published, processing, completed, failed, retrying
  worker text,
  attempts integer NOT NULL,
  payload bytea,                         -- NULL once it is in the history
  encoding smallint,
  attributes text,                       -- JSON, by kind
  user_id text,
  idempotency_key text,
  answer text,                           -- JSON: what the first caller was told
  reply_to text,                         -- the worker whose caller waits for the answer
  last_error text,
  created_at timestamptz NOT NULL
) WITH (fillfactor = 70);
-- Numbers of rows, given out in blocks, so that who accepts an event need not ask for each.
CREATE SEQUENCE workflow_event_processing_ids INCREMENT 10000 MAXVALUE 4503599627370495;
-- Of rows that are put there for executions of other workers, one by one: in the order in which they were.
CREATE SEQUENCE workflow_mail_ids START 4503599627370496;

CREATE INDEX workflow_event_processing_open ON workflow_event_processing(execution)
  WHERE execution > 0 AND status IN ('pending', 'published', 'processing', 'retrying');
CREATE INDEX workflow_event_processing_mail ON workflow_event_processing(partition, id)
  WHERE execution = 0 AND status IN ('pending', 'published', 'processing', 'retrying');
CREATE INDEX workflow_event_processing_mail_of ON workflow_event_processing(tenant, execution_id)
  WHERE execution = 0 AND status IN ('pending', 'published', 'processing', 'retrying');
CREATE UNIQUE INDEX workflow_event_processing_key
  ON workflow_event_processing(execution, idempotency_key)
  WHERE execution > 0 AND idempotency_key IS NOT NULL;
CREATE UNIQUE INDEX workflow_event_processing_mail_key
  ON workflow_event_processing(tenant, execution_id, idempotency_key)
  WHERE execution = 0 AND idempotency_key IS NOT NULL;

-- State, data and status of an execution at some points of a long history, so that any point of it can be
-- told without reading it from its first record. They follow from the history: rows may be deleted at any time.
CREATE TABLE workflow_state_snapshots(
  execution bigint NOT NULL,
  sequence bigint NOT NULL,              -- of the last record in it
  tenant text NOT NULL,
  codec smallint NOT NULL,               -- what folded them; others are passed over
  status text NOT NULL,                  -- running, paused
  current_state text NOT NULL,
  data text NOT NULL,                    -- JSON object
  created_at timestamptz NOT NULL,       -- of that record
  PRIMARY KEY (execution, sequence)
);

-- Which store it is, by whatever address somebody gets there: one row.
CREATE TABLE workflow_store(
  one boolean PRIMARY KEY DEFAULT true CHECK (one),
  id uuid NOT NULL DEFAULT gen_random_uuid()
);
INSERT INTO workflow_store DEFAULT VALUES;

CREATE FUNCTION workflow_payload(payload bytea, encoding smallint) RETURNS text
  LANGUAGE sql IMMUTABLE PARALLEL SAFE AS
  $$ SELECT CASE WHEN encoding = 0 THEN convert_from(payload, 'UTF8') ELSE encode(payload, 'base64') END $$;

-- For people: SELECT * FROM workflow_history WHERE execution_id = 'wf-123' ORDER BY sequence;
CREATE VIEW workflow_history AS
  SELECT x.tenant, x.execution_id, x.workflow_name, e.sequence, e.created_at AS at, e.event_type,
         e.event_name, nullif(e.position, 0) AS position, e.cause, e.ends_activation,
         workflow_payload(e.payload, e.encoding) AS payload, e.attributes, e.site
  FROM workflow_events e JOIN workflow_executions x USING (execution);

-- For people: SELECT * FROM workflow_graph_actions WHERE execution_id = 'order-7' ORDER BY position;
CREATE VIEW workflow_graph_actions AS
  SELECT x.tenant, x.execution_id, d.graph, d.position, d.action_id, d.action_name, d.compensation,
         d.depends_on, d.action_group, d.sync_point, d.error_strategy,
         coalesce(r.status, CASE WHEN d.skipped THEN 'skipped' ELSE 'open' END) AS status,
         r.attempts, workflow_payload(r.result, r.encoding) AS result, r.error
  FROM workflow_action_dependencies d
  JOIN workflow_executions x USING (execution)
  LEFT JOIN LATERAL (
    SELECT * FROM workflow_action_results r
    WHERE r.execution = d.execution AND r.position = d.position AND r.execution > 0
    ORDER BY r.generation DESC LIMIT 1) r ON true;
