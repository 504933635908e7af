-- Deletes ended executions of before a day, in bites: run it until it gives 0.
--
--   psql … -v before="'2026-01-01'" -v bite=10000 -f retention.sql
--
-- With an execution goes what its keys promise: its id can be started again, and an action under a caller's key runs
-- again. Failed ones stay, since they can be retried. What is to be kept is copied first, in
-- the same transaction: see docs/scale.md.
BEGIN;
CREATE TEMPORARY TABLE gone ON COMMIT DROP AS
  SELECT execution FROM workflow_executions
  WHERE status IN ('completed', 'cancelled', 'terminated') AND NOT in_flight AND updated_at < :before
  ORDER BY execution LIMIT :bite FOR UPDATE SKIP LOCKED;
DELETE FROM workflow_events USING gone WHERE workflow_events.execution = gone.execution;
DELETE FROM workflow_action_results USING gone WHERE workflow_action_results.execution = gone.execution;
DELETE FROM workflow_event_processing USING gone WHERE workflow_event_processing.execution = gone.execution;
DELETE FROM workflow_timers USING gone WHERE workflow_timers.execution = gone.execution;
DELETE FROM workflow_action_dependencies USING gone WHERE workflow_action_dependencies.execution = gone.execution;
DELETE FROM workflow_sync_points USING gone WHERE workflow_sync_points.execution = gone.execution;
DELETE FROM workflow_state_snapshots USING gone WHERE workflow_state_snapshots.execution = gone.execution;
DELETE FROM workflow_executions USING gone WHERE workflow_executions.execution = gone.execution;
SELECT count(*) FROM gone;
COMMIT;
