-- What attempts have logged (JSON: the newest lines, and how many were dropped).
ALTER TABLE task_attempts ADD COLUMN logs TEXT;
