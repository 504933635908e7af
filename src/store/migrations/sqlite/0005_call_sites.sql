-- Where in the source of the workflow a command was given: 'approval.ts:41:9'. NULL: not known, or no
-- command.
ALTER TABLE workflow_events ADD COLUMN site TEXT;

DROP VIEW history;
CREATE VIEW history AS
  SELECT x.tenant, x.execution_id, x.workflow_name, e.sequence,
         strftime('%Y-%m-%d %H:%M:%f', e.created_at / 1000.0, 'unixepoch') AS at,
         e.event_type, e.event_name, nullif(e.position, 0) AS position, e.cause,
         e.ends_activation, e.payload, e.attributes, e.site
  FROM workflow_events e JOIN workflow_executions x ON x.execution = e.execution;
