-- name: history_window
SELECT coalesce(max(id), 0), coalesce(max(ended), '') FROM
    (SELECT id, coalesce(completed_at, started_at, scheduled_for) AS ended FROM task_executions WHERE id > ? ORDER BY id LIMIT ?);

-- name: count_history
SELECT count(*), coalesce(max(id), 0) FROM (SELECT id FROM task_executions WHERE id > ? ORDER BY id LIMIT ?);

-- name: forget_history
DELETE FROM task_executions WHERE id IN (
    SELECT e.id FROM task_executions e
    WHERE e.id > ?1 AND e.id <= ?2 AND e.status NOT IN ('queued', 'running', 'retrying')
      AND coalesce(e.completed_at, e.started_at, e.scheduled_for) < ?3
      AND NOT EXISTS (SELECT 1 FROM scheduler_dead_letters d WHERE d.execution_id = e.execution_id)
      AND (
        (SELECT count(*) FROM (
            SELECT 1 FROM task_executions n
            WHERE n.task_id = e.task_id AND n.started_at > coalesce(e.started_at, e.completed_at, e.scheduled_for) LIMIT ?4
        )) >= ?4
        OR (SELECT count(*) FROM (
            SELECT 1 FROM task_executions n
            WHERE n.task_id = e.task_id AND n.trigger = 'schedule' AND n.scheduled_for > e.scheduled_for LIMIT ?4
        )) >= ?4
        OR EXISTS (SELECT 1 FROM scheduled_tasks t WHERE t.task_id = e.task_id AND t.deleted_at IS NOT NULL)
      )
    ORDER BY e.id LIMIT ?5
)
RETURNING execution_id;

-- name: forget_attempts
DELETE FROM task_attempts WHERE execution_id IN (SELECT value FROM json_each(?));

-- name: deleted_window
SELECT coalesce(max(deleted_at), '') FROM (
    SELECT deleted_at FROM scheduled_tasks
    WHERE deleted_at IS NOT NULL AND deleted_at > ? AND deleted_at < ? ORDER BY deleted_at LIMIT ?
);

-- name: forget_tasks
DELETE FROM scheduled_tasks
WHERE deleted_at IS NOT NULL AND deleted_at > ? AND deleted_at <= ?
  AND NOT EXISTS (SELECT 1 FROM task_executions e WHERE e.task_id = scheduled_tasks.task_id);
