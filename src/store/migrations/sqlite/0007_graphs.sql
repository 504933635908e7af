-- Graphs of actions, a row for each action and each of its compensations, and their sync points. What became
-- of an action is in workflow_action_results, under its position; the view joins the two. No store of before
-- has rows in these tables.
DROP TABLE workflow_action_dependencies;
CREATE TABLE workflow_action_dependencies(
  execution INTEGER NOT NULL,
  graph INTEGER NOT NULL,                -- position of the graph
  position INTEGER NOT NULL,             -- of the action
  tenant TEXT NOT NULL,
  action_id TEXT NOT NULL,               -- of a compensation: of the action that it undoes
  action_name TEXT NOT NULL,
  compensation INTEGER NOT NULL,         -- 1: it undoes that action
  depends_on TEXT NOT NULL,              -- JSON array: ids of actions, groups, sync points
  action_group TEXT,
  sync_point TEXT,
  error_strategy TEXT NOT NULL,          -- stop, continue, retry, compensate
  skipped INTEGER NOT NULL,              -- 1: the graph is over, and it did not run
  PRIMARY KEY(execution, graph, position)
) STRICT, WITHOUT ROWID;

DROP TABLE workflow_sync_points;
CREATE TABLE workflow_sync_points(
  execution INTEGER NOT NULL,
  graph INTEGER NOT NULL,
  name TEXT NOT NULL,
  tenant TEXT NOT NULL,
  status TEXT NOT NULL,                  -- waiting, reached
  actions TEXT NOT NULL,                 -- JSON array: ids of those that it joins
  reached_at INTEGER,
  PRIMARY KEY(execution, graph, name)
) STRICT, WITHOUT ROWID;

-- For people: SELECT * FROM graph_actions WHERE execution_id = 'order-7' ORDER BY position;
CREATE VIEW graph_actions AS
  SELECT x.tenant, x.execution_id, d.graph, d.position, d.action_id, d.action_name, d.compensation,
         d.depends_on, d.action_group, d.sync_point, d.error_strategy,
         coalesce(r.status, CASE WHEN d.skipped THEN 'skipped' ELSE 'open' END) AS status,
         r.attempts, r.result, r.error
  FROM workflow_action_dependencies d
  JOIN workflow_executions x USING (execution)
  LEFT JOIN workflow_action_results r
    ON r.execution = d.execution AND r.position = d.position AND r.generation =
       (SELECT max(generation) FROM workflow_action_results
        WHERE execution = d.execution AND position = d.position);
