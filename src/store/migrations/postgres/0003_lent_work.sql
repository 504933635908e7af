-- Workers that do work for each other: who owns an execution asks one that has registered what it needs.

-- What a worker has registered, as JSON: {"layout":1,"workflows":[{"name","version"}],"actions":[{"name","options"}]}.
ALTER TABLE workflow_workers ADD COLUMN offer text;
ALTER TABLE workflow_workers ADD COLUMN offer_version bigint NOT NULL DEFAULT 0;  -- one more with each change

-- What workers send each other, until it is fetched. Not logged: after a crash of the server it is empty, which they
-- notice by the numbers, and ask again.
CREATE UNLOGGED TABLE workflow_parcels(
  recipient text NOT NULL,
  sender text NOT NULL,
  number bigint NOT NULL,                -- 1, 2, 3 … for each pair of the two
  body bytea NOT NULL,
  created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (recipient, sender, number)
);
