-- name: insert_execution
INSERT INTO task_executions (
    task_id, execution_id, started_at, status, trigger, scheduled_for, run_at, attempt, priority, reason,
    missed_count, boot_id, completed_at
) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT DO NOTHING;

-- name: insert_runs
INSERT INTO task_executions (task_id, execution_id, started_at, status, trigger, scheduled_for, attempt, priority, boot_id)
SELECT value ->> 0, value ->> 1, ?1, 'running', 'schedule', value ->> 2, 1, value ->> 3, ?2 FROM json_each(?3)
WHERE true
ON CONFLICT DO NOTHING
RETURNING execution_id;

-- name: busy_tasks
SELECT DISTINCT task_id FROM task_executions
WHERE task_id IN (SELECT value FROM json_each(?)) AND status IN ('queued', 'running', 'retrying');

-- name: active_executions
SELECT execution_id, status, run_at FROM task_executions
WHERE task_id = ? AND status IN ('queued', 'running', 'retrying') ORDER BY id;

-- name: scheduled_active
SELECT 1 FROM task_executions
WHERE task_id = ? AND status IN ('queued', 'running', 'retrying') AND trigger = 'schedule' LIMIT 1;

-- name: fixed_delay_runs
SELECT DISTINCT e.task_id FROM task_executions e CROSS JOIN scheduled_tasks t USING (task_id)
WHERE e.status IN ('queued', 'running', 'retrying') AND t.next_run IS NULL AND t.options ->> '$.fixed_delay';

-- name: slots_ahead
SELECT scheduled_for FROM task_executions
WHERE task_id = ? AND trigger = 'schedule' AND scheduled_for > ? ORDER BY scheduled_for LIMIT ?;

-- name: waits_ahead
SELECT execution_id, task_id, run_at, priority FROM task_executions
WHERE status IN ('queued', 'retrying') AND run_at > ?;

-- name: move_wait
UPDATE task_executions SET run_at = ? WHERE execution_id = ?;

-- name: execution
SELECT * FROM task_executions WHERE execution_id = ?;

-- name: waiting_runs
SELECT e.execution_id, e.task_id, e.run_at, e.priority, coalesce(t.options ->> '$.idle_only', 0),
       coalesce(t.options ->> '$.group', ''), coalesce(t.options ->> '$.max_instances', 0),
       t.options ->> '$.max_defer', coalesce(t.options ->> '$.on_max_defer', 'run'),
       t.task_class, t.options ->> '$.environment'
FROM task_executions e JOIN scheduled_tasks t USING (task_id)
WHERE e.status IN ('queued', 'retrying') AND e.run_at <= ? AND t.available ORDER BY e.run_at LIMIT ?;

-- name: start_waiting
UPDATE task_executions
SET status = 'running', started_at = ?, attempt = attempt + 1, boot_id = ?, run_at = NULL, progress = NULL
WHERE execution_id = ? AND status IN ('queued', 'retrying') AND run_at IS NOT NULL
  AND (SELECT available FROM scheduled_tasks t WHERE t.task_id = task_executions.task_id)
RETURNING task_id, attempt, trigger, scheduled_for, cause, traceparent;

-- name: set_cause
UPDATE task_executions SET cause = ? WHERE execution_id = ?;

-- name: set_traceparent
UPDATE task_executions SET traceparent = ? WHERE execution_id = ?;

-- name: cause
SELECT cause FROM task_executions WHERE execution_id = ?;

-- name: finish_execution
UPDATE task_executions
SET status = ?, started_at = ?, completed_at = ?, success = ?, duration_seconds = ?, result = ?, error_message = ?, reason = ?,
    usage = ?, retry_count = attempt - 1
WHERE execution_id = ? AND status = 'running' AND attempt = ?
RETURNING task_id, trigger, scheduled_for;

-- name: tasks_of_executions
SELECT execution_id, task_id FROM task_executions WHERE execution_id IN (SELECT value FROM json_each(?));

-- name: finish_executions
UPDATE task_executions
SET status = 'succeeded', started_at = ended.started_at, completed_at = ended.completed_at, success = 1,
    duration_seconds = ended.seconds, result = ended.result, error_message = NULL, reason = NULL,
    usage = ended.usage, retry_count = task_executions.attempt - 1
FROM (
    SELECT value ->> 0 AS execution_id, value ->> 1 AS attempt, value ->> 2 AS started_at, value ->> 3 AS completed_at,
           value ->> 4 AS seconds, value ->> 5 AS result, value ->> 6 AS usage
    FROM json_each(?)
) AS ended
WHERE task_executions.execution_id = ended.execution_id AND status = 'running'
  AND task_executions.attempt = ended.attempt
RETURNING execution_id, task_id, trigger, scheduled_for;

-- name: retry_execution
UPDATE task_executions
SET status = ?, run_at = ?, error_message = ?, reason = ?, usage = ?, retry_count = attempt
WHERE execution_id = ? AND status = 'running' AND attempt = ?
RETURNING task_id, trigger, scheduled_for, priority;

-- name: cancel_waiting
UPDATE task_executions SET status = 'cancelled', completed_at = ?, reason = ?, run_at = NULL
WHERE execution_id = ? AND status IN ('queued', 'retrying')
RETURNING task_id, trigger, scheduled_for, attempt;

-- name: skip_waiting
UPDATE task_executions SET status = 'skipped', completed_at = ?, reason = ?, run_at = NULL
WHERE execution_id = ? AND status = 'queued' AND run_at IS NOT NULL;

-- name: bury_waiting
UPDATE task_executions SET status = 'dead', completed_at = ?, reason = ?, run_at = NULL
WHERE execution_id = ? AND status IN ('queued', 'retrying') AND run_at IS NOT NULL;

-- name: blocked_tasks
SELECT DISTINCT task_id FROM task_executions
WHERE status IN ('queued', 'retrying') AND status = 'queued' AND run_at IS NULL;

-- name: waiting_of_task
SELECT execution_id FROM task_executions
WHERE task_id = ? AND status IN ('queued', 'running', 'retrying') AND status <> 'running';

-- name: waiting_starts
SELECT execution_id, run_at, priority FROM task_executions
WHERE task_id = ? AND status IN ('queued', 'running', 'retrying') AND status <> 'running' AND run_at IS NOT NULL;

-- name: running_of_task
SELECT execution_id FROM task_executions
WHERE task_id = ? AND status IN ('queued', 'running', 'retrying') AND status = 'running';

-- name: next_blocked
SELECT execution_id FROM task_executions
WHERE task_id = ? AND status IN ('queued', 'running', 'retrying') AND status = 'queued' AND run_at IS NULL
ORDER BY scheduled_for, id LIMIT 1;

-- name: unblock
UPDATE task_executions SET run_at = ? WHERE execution_id = ? AND status = 'queued' AND run_at IS NULL
RETURNING execution_id, task_id, priority;

-- name: revive
UPDATE task_executions
SET status = 'queued', run_at = ?, completed_at = NULL, success = NULL, duration_seconds = NULL, reason = ?
WHERE execution_id = ? AND status = ?
RETURNING task_id, priority;

-- name: insert_attempt
INSERT OR IGNORE INTO task_attempts VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?);

-- name: attempts
SELECT * FROM task_attempts WHERE execution_id = ? ORDER BY attempt;

-- name: count_interruptions
SELECT count(*) FROM task_attempts WHERE execution_id = ? AND outcome = 'interrupted';

-- name: set_progress
UPDATE task_executions SET progress = ? WHERE execution_id = ? AND status = 'running' AND attempt = ?
RETURNING task_id, trigger, scheduled_for;

-- name: unfinished
SELECT execution_id, attempt, started_at FROM task_executions
WHERE status IN ('queued', 'running', 'retrying') AND status = 'running' AND boot_id IS NOT ?;

-- name: list_executions
SELECT * FROM task_executions
WHERE id < ?1 AND (?2 = '' OR task_id = ?2) AND (?3 = '' OR execution_id = ?3) AND (?4 = '' OR status = ?4)
  AND (?5 = '' OR coalesce(started_at, scheduled_for) >= ?5) AND (?6 = '' OR coalesce(started_at, scheduled_for) <= ?6)
ORDER BY id DESC LIMIT ?7;

-- name: list_active_executions
SELECT * FROM task_executions INDEXED BY idx_task_executions_active
WHERE status IN ('queued', 'running', 'retrying') AND id < ?1 AND (?2 = '' OR task_id = ?2)
  AND (?3 = '' OR execution_id = ?3) AND status = ?4
  AND (?5 = '' OR coalesce(started_at, scheduled_for) >= ?5) AND (?6 = '' OR coalesce(started_at, scheduled_for) <= ?6)
ORDER BY id DESC LIMIT ?7;

-- name: list_executions_of_task
SELECT * FROM task_executions
WHERE task_id = ?1 AND id < ?2 ORDER BY id DESC LIMIT ?3;

-- name: insert_dead
INSERT OR REPLACE INTO scheduler_dead_letters VALUES (?, ?, ?, ?, ?);

-- name: dead
SELECT * FROM scheduler_dead_letters WHERE execution_id = ?;

-- name: delete_dead
DELETE FROM scheduler_dead_letters WHERE execution_id = ?;

-- name: list_dead
SELECT d.*, t.task_class, e.trigger, e.scheduled_for
FROM scheduler_dead_letters d JOIN scheduled_tasks t USING (task_id) JOIN task_executions e USING (execution_id)
WHERE (?1 = '' OR d.task_id = ?1) AND (?2 = '' OR (d.died_at, d.execution_id) < (?2, ?3))
  AND (?5 = '' OR d.execution_id = ?5)
ORDER BY d.died_at DESC, d.execution_id DESC LIMIT ?4;

-- name: count_dead
SELECT count(*) FROM scheduler_dead_letters;

-- name: count_statuses
SELECT status, count(*) FROM task_executions WHERE status IN ('queued', 'running', 'retrying') GROUP BY status;
