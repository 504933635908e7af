-- A retried execution runs an action that failed once more: another generation, with a result and a
-- key of its own. What was recorded before stays. idempotency_key is what the handler was given.
ALTER TABLE workflow_action_results ADD COLUMN generation INTEGER NOT NULL DEFAULT 0;
ALTER TABLE workflow_action_results ADD COLUMN seed INTEGER NOT NULL DEFAULT 0;  -- of the execution
DROP INDEX workflow_action_results_position;
CREATE UNIQUE INDEX workflow_action_results_position
  ON workflow_action_results(execution, position, generation) WHERE execution > 0;
ALTER TABLE workflow_action_results DROP COLUMN idempotency_key;
ALTER TABLE workflow_action_results ADD COLUMN idempotency_key TEXT GENERATED ALWAYS AS
  (coalesce(user_key, printf('%d:%d:%016llx', execution, position, seed) ||
            CASE generation WHEN 0 THEN '' ELSE ':' || generation END)) VIRTUAL;
