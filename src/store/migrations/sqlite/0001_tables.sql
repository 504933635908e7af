-- The seven tables, for SQLite.
--
-- How they are laid out: `execution` is a small number that stands for the execution everywhere; its
-- text id lives once, in workflow_executions. Tables that grow are appended to by rowid, so that a
-- commit touches few pages. Times are milliseconds since 1970-01-01 UTC. A payload is TEXT when its
-- encoding is 0 (JSON), a BLOB otherwise, and NULL when there is none.

CREATE TABLE workflow_executions(
  execution INTEGER PRIMARY KEY,
  tenant TEXT NOT NULL,
  execution_id TEXT NOT NULL,
  workflow_name TEXT NOT NULL,
  workflow_version TEXT NOT NULL,
  status TEXT NOT NULL,                  -- running, paused, stuck, completed, failed, cancelled, terminated
  current_state TEXT NOT NULL,
  in_flight INTEGER NOT NULL,            -- 1: something other than an event or a timer will move it
  last_sequence INTEGER NOT NULL,        -- as of the last write of this row; workflow_events is the truth
  condition TEXT,                        -- why it does not move: waiting, no_worker, no_action
  condition_detail TEXT,
  result ANY,
  result_encoding INTEGER,
  error TEXT,                            -- JSON
  user_id TEXT,
  correlation_id TEXT,
  input_digest TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL,
  UNIQUE(tenant, execution_id)
) STRICT;

-- Lists of a tenant, newest first.
CREATE INDEX workflow_executions_tenant ON workflow_executions(tenant);
-- What a starting engine takes up.
CREATE INDEX workflow_executions_resume ON workflow_executions(execution)
  WHERE in_flight = 1 OR status = 'stuck';
-- What an operator looks for. OR and not IN: a query for one of them finds this index.
CREATE INDEX workflow_executions_attention ON workflow_executions(tenant, status)
  WHERE status = 'failed' OR status = 'stuck' OR status = 'paused';

-- The histories: for each execution, sequence 1, 2, 3 … without a gap.
CREATE TABLE workflow_events(
  id INTEGER PRIMARY KEY,                -- the order of the whole log
  execution INTEGER NOT NULL,
  sequence INTEGER NOT NULL,
  tenant TEXT NOT NULL,
  event_type TEXT NOT NULL,              -- ExecutionStarted, EventReceived, ActionScheduled …
  event_name TEXT,
  position INTEGER NOT NULL,             -- of the wait, timer or action; 0: none
  cause INTEGER NOT NULL,                -- sequence of the event that led to it
  ends_activation INTEGER NOT NULL,
  codec INTEGER NOT NULL,                -- layout of attributes
  payload ANY,
  encoding INTEGER,
  attributes TEXT,                       -- JSON
  created_at INTEGER NOT NULL,
  UNIQUE(execution, sequence)
) STRICT;

CREATE TABLE workflow_action_results(
  id INTEGER PRIMARY KEY,
  execution INTEGER NOT NULL,            -- 0: ran outside of any execution
  position INTEGER NOT NULL,             -- 0 then
  tenant TEXT NOT NULL,
  execution_id TEXT,                     -- as the caller named it; only where execution is 0
  action_name TEXT NOT NULL,
  status TEXT NOT NULL,                  -- succeeded, failed
  attempts INTEGER NOT NULL,
  cause INTEGER NOT NULL,
  result ANY,
  encoding INTEGER,
  error TEXT,                            -- JSON
  user_key TEXT,                         -- only if the caller gave one
  parameters_digest TEXT,
  created_at INTEGER NOT NULL,
  idempotency_key TEXT GENERATED ALWAYS AS
    (coalesce(user_key, execution || ':' || position)) VIRTUAL
) STRICT;

-- Derived keys are unique because of the first, given ones because of the second.
CREATE UNIQUE INDEX workflow_action_results_position
  ON workflow_action_results(execution, position) WHERE execution > 0;
CREATE UNIQUE INDEX workflow_action_results_key
  ON workflow_action_results(tenant, user_key) WHERE user_key IS NOT NULL;

CREATE TABLE workflow_timers(
  execution INTEGER NOT NULL,
  position INTEGER NOT NULL,
  tenant TEXT NOT NULL,
  kind TEXT NOT NULL,                    -- sleep, wait, retry
  fire_at INTEGER NOT NULL,
  PRIMARY KEY(execution, position)
) STRICT, WITHOUT ROWID;

CREATE INDEX workflow_timers_due ON workflow_timers(fire_at, execution, position);

CREATE TABLE workflow_action_dependencies(
  execution INTEGER NOT NULL,
  graph INTEGER NOT NULL,                -- position of the graph
  action_id TEXT NOT NULL,
  tenant TEXT NOT NULL,
  action_name TEXT NOT NULL,
  depends_on TEXT NOT NULL,              -- JSON array of action ids
  status TEXT NOT NULL,
  PRIMARY KEY(execution, graph, action_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE workflow_sync_points(
  execution INTEGER NOT NULL,
  graph INTEGER NOT NULL,
  name TEXT NOT NULL,
  tenant TEXT NOT NULL,
  status TEXT NOT NULL,
  PRIMARY KEY(execution, graph, name)
) STRICT, WITHOUT ROWID;

-- The inbox: events that were accepted, and whether they are in a history yet.
CREATE TABLE workflow_event_processing(
  id INTEGER PRIMARY KEY,
  execution INTEGER NOT NULL,
  tenant TEXT NOT NULL,
  event_id TEXT NOT NULL,
  event_name TEXT NOT NULL,
  status TEXT NOT NULL,                  -- pending, published, processing, completed, failed, retrying
  worker TEXT,
  attempts INTEGER NOT NULL,
  payload ANY,                           -- NULL once it is in the history
  encoding INTEGER,
  user_id TEXT,
  idempotency_key TEXT,
  answer TEXT,                           -- JSON: what the first caller with that key was told
  last_error TEXT,
  created_at INTEGER NOT NULL
) STRICT;

CREATE INDEX workflow_event_processing_open ON workflow_event_processing(execution)
  WHERE status = 'pending' OR status = 'published' OR status = 'processing' OR status = 'retrying';
CREATE UNIQUE INDEX workflow_event_processing_key
  ON workflow_event_processing(execution, idempotency_key) WHERE idempotency_key IS NOT NULL;

-- For people: SELECT * FROM history WHERE execution_id = 'wf-123' ORDER BY sequence;
CREATE VIEW history AS
  SELECT x.tenant, x.execution_id, x.workflow_name, e.sequence,
         strftime('%Y-%m-%d %H:%M:%f', e.created_at / 1000.0, 'unixepoch') AS at,
         e.event_type, e.event_name, nullif(e.position, 0) AS position, e.cause,
         e.ends_activation, e.payload, e.attributes
  FROM workflow_events e JOIN workflow_executions x ON x.execution = e.execution;

-- For people: SELECT * FROM executions WHERE tenant = 'acme' AND status = 'failed';
CREATE VIEW executions AS
  SELECT tenant, execution_id, workflow_name, workflow_version, status, current_state, condition,
         condition_detail, result, error, last_sequence,
         strftime('%Y-%m-%d %H:%M:%f', created_at / 1000.0, 'unixepoch') AS created,
         strftime('%Y-%m-%d %H:%M:%f', updated_at / 1000.0, 'unixepoch') AS updated
  FROM workflow_executions;
