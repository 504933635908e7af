-- A database action writes its result with its own writes, in its own transaction; the history follows from
-- that row. Until it does, recorded is 0. A row that the engine writes is in the history with the same commit.
ALTER TABLE workflow_action_results ADD COLUMN recorded INTEGER NOT NULL DEFAULT 1;
CREATE INDEX workflow_action_results_ahead
  ON workflow_action_results(execution, position, generation) WHERE recorded = 0;
