-- Mail: a row of the inbox that is addressed by execution_id, since whoever sent it knows no number. It
-- is put there with what caused it in one commit (an event to another execution, the start of a child,
-- what a child tells its parent), or by another process. It gets its number when it is taken.
ALTER TABLE workflow_event_processing ADD COLUMN kind TEXT NOT NULL DEFAULT 'event';
                                         -- event, start, cancel, terminate, retry, child_ended
ALTER TABLE workflow_event_processing ADD COLUMN execution_id TEXT;  -- of mail only
ALTER TABLE workflow_event_processing ADD COLUMN attributes TEXT;    -- JSON, by kind

CREATE INDEX workflow_event_processing_mail ON workflow_event_processing(id)
  WHERE execution = 0 AND
    (status = 'pending' OR status = 'published' OR status = 'processing' OR status = 'retrying');
DROP INDEX workflow_event_processing_key;
CREATE UNIQUE INDEX workflow_event_processing_key
  ON workflow_event_processing(execution, idempotency_key)
  WHERE execution > 0 AND idempotency_key IS NOT NULL;
CREATE UNIQUE INDEX workflow_event_processing_mail_key
  ON workflow_event_processing(tenant, execution_id, idempotency_key)
  WHERE execution = 0 AND idempotency_key IS NOT NULL;
