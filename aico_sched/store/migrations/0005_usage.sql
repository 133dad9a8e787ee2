-- What attempts used (JSON: environment, steps, processor time …); an execution has that of its newest attempt.
ALTER TABLE task_executions ADD COLUMN usage TEXT;
ALTER TABLE task_attempts ADD COLUMN usage TEXT;
