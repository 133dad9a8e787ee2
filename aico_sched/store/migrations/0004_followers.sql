-- Why an execution with the trigger `event` runs (JSON), and the tasks that are fired by the end of others' runs.
ALTER TABLE task_executions ADD COLUMN cause TEXT;
CREATE INDEX idx_scheduled_tasks_followers ON scheduled_tasks (task_id)
    WHERE substr(schedule, 1, 6) IN ('after:', 'failur');
