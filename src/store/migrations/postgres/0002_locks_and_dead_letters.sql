-- Locks of users: a row for each key that was ever locked. It stays, so that its fence goes on rising.
--
-- Who acquires it locks the row FOR UPDATE, and waits so for transactions that have looked at it FOR KEY SHARE: these
-- are committed before anybody else has the lock. A renewal changes no key, and passes them by.
CREATE TABLE workflow_locks(
  tenant text NOT NULL,
  key text NOT NULL,
  fence bigint NOT NULL,                 -- one more with each acquisition
  token text,                            -- of the acquisition that has it; NULL: it was released
  holder text NOT NULL,                  -- host/process/worker that has it, or had it last
  acquired_at timestamptz NOT NULL,
  expires_at timestamptz NOT NULL,       -- by the clock of the server; later with each renewal
  PRIMARY KEY (tenant, key)
) WITH (fillfactor = 50);

-- For people: SELECT * FROM workflow_locks_held WHERE tenant = 'acme';
CREATE VIEW workflow_locks_held AS
  SELECT tenant, key, fence, holder, acquired_at, expires_at FROM workflow_locks
  WHERE token IS NOT NULL AND expires_at > clock_timestamp();

-- How many owners of its partition ended without leaving it, while a row waited to be delivered.
ALTER TABLE workflow_event_processing ADD COLUMN owners_lost integer NOT NULL DEFAULT 0;

-- When an operator dropped it: its payload is gone, and it is listed no more.
ALTER TABLE workflow_event_processing ADD COLUMN dropped_at timestamptz;
-- What operators list.
CREATE INDEX workflow_event_processing_dead ON workflow_event_processing(tenant, id)
  WHERE status = 'failed' AND dropped_at IS NULL;
