-- State, data and status of an execution at some points of a long history, so that any point of it
-- can be told without reading it from its first record. They follow from the history: rows may be
-- deleted at any time, and are made again where they are of use.
CREATE TABLE workflow_state_snapshots(
  id INTEGER PRIMARY KEY,
  execution INTEGER NOT NULL,
  sequence INTEGER NOT NULL,             -- of the last record in it
  tenant TEXT NOT NULL,
  codec INTEGER NOT NULL,                -- what folded them; others are passed over
  status TEXT NOT NULL,                  -- running, paused
  current_state TEXT NOT NULL,
  data TEXT NOT NULL,                    -- JSON object
  created_at INTEGER NOT NULL,           -- of that record
  UNIQUE(execution, sequence)
) STRICT;
