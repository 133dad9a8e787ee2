-- Rows of deleted tasks go when their history has gone.
CREATE INDEX idx_scheduled_tasks_deleted ON scheduled_tasks (deleted_at) WHERE deleted_at IS NOT NULL;
