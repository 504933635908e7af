-- An execution is loaded with the mail that waits for it, so that all that waits has its turn in the order
-- in which it was accepted.
CREATE INDEX workflow_event_processing_mail_of
  ON workflow_event_processing(tenant, execution_id)
  WHERE execution = 0 AND
    (status = 'pending' OR status = 'published' OR status = 'processing' OR status = 'retrying');
