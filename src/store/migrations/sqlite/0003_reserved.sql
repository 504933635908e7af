-- Nothing to do at this step: its number is kept for a table that comes with the next change.
SELECT 1;
