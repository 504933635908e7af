-- For people: SELECT * FROM workflow_workers_now;
CREATE VIEW workflow_workers_now AS
  SELECT w.worker, w.serving, w.started_at, w.seen_at,
    (SELECT count(*) FROM workflow_partitions p
      WHERE p.owner = w.worker AND p.expires_at > clock_timestamp()) AS partitions
  FROM workflow_workers w;
