-- Locks of users: a row for each key that was ever locked. It stays, so that its fence goes on rising.
CREATE TABLE workflow_locks(
  tenant TEXT NOT NULL,
  key TEXT NOT NULL,
  fence INTEGER NOT NULL,                -- one more with each acquisition
  token TEXT,                            -- of the acquisition that has it; NULL: it was released
  holder TEXT NOT NULL,                  -- host/process that has it, or had it last
  acquired_at INTEGER NOT NULL,
  expires_at INTEGER NOT NULL,           -- later with each renewal
  PRIMARY KEY (tenant, key)
) STRICT, WITHOUT ROWID;

-- When an operator dropped it: its payload is gone, and it is listed no more.
ALTER TABLE workflow_event_processing ADD COLUMN dropped_at INTEGER;
-- What operators list.
CREATE INDEX workflow_event_processing_dead ON workflow_event_processing(tenant, id)
  WHERE status = 'failed' AND dropped_at IS NULL;
