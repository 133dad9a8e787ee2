-- The trace of the command that asked for an execution (W3C traceparent), where it was traced.
ALTER TABLE task_executions ADD COLUMN traceparent TEXT;
