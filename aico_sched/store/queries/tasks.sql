-- name: insert_task
INSERT INTO scheduled_tasks (
    task_id, task_class, schedule, config, enabled, created_at, updated_at, last_run, next_run, timezone, options,
    anchor, priority, paused, available, finished, protected, note, created_by, created_role, run_count, revision,
    deleted_at, due_at
) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT DO NOTHING
RETURNING task_id;

-- name: forget_deleted
UPDATE scheduled_tasks SET
    task_class = ?2, schedule = ?3, config = ?4, enabled = ?5, created_at = ?6, updated_at = ?7, last_run = ?8,
    next_run = ?9, timezone = ?10, options = ?11, anchor = ?12, priority = ?13, paused = ?14, available = ?15,
    finished = ?16, protected = ?17, note = ?18, created_by = ?19, created_role = ?20, run_count = ?21,
    due_at = ?22, revision = revision + 1, deleted_at = NULL
WHERE task_id = ?1 AND deleted_at IS NOT NULL
RETURNING revision;

-- name: task
SELECT * FROM scheduled_tasks WHERE task_id = ? AND deleted_at IS NULL;

-- name: tasks
SELECT * FROM scheduled_tasks WHERE task_id IN (SELECT value FROM json_each(?)) AND deleted_at IS NULL;

-- name: task_even_deleted
SELECT * FROM scheduled_tasks WHERE task_id = ?;

-- name: update_task
UPDATE scheduled_tasks SET
    task_class = ?, schedule = ?, config = ?, enabled = ?, updated_at = ?, next_run = ?, timezone = ?, options = ?,
    anchor = ?, priority = ?, paused = ?, available = ?, finished = ?, note = ?, deleted_at = ?,
    due_at = ?, revision = revision + 1
WHERE task_id = ? AND revision = ?
RETURNING *;

-- name: list_tasks
SELECT * FROM scheduled_tasks
WHERE deleted_at IS NULL AND task_id > ?1 AND (?2 = '' OR substr(task_id, 1, length(?2)) = ?2)
  AND (?3 = '' OR ?3 = CASE
        WHEN NOT available THEN 'unavailable' WHEN NOT enabled THEN 'disabled'
        WHEN paused THEN 'paused' WHEN finished THEN 'finished' ELSE 'active' END)
  AND (?4 = '' OR EXISTS (SELECT 1 FROM json_each(options, '$.tags') WHERE value = ?4))
  AND (?5 = '' OR options ->> '$.owner' = ?5)
ORDER BY task_id LIMIT ?6;

-- name: list_next_tasks
SELECT * FROM scheduled_tasks
WHERE deleted_at IS NULL AND next_run IS NOT NULL AND (next_run, task_id) > (?1, ?2)
  AND (?3 = '' OR substr(task_id, 1, length(?3)) = ?3)
  AND (?4 = '' OR ?4 = 'active')
  AND (?5 = '' OR EXISTS (SELECT 1 FROM json_each(options, '$.tags') WHERE value = ?5))
  AND (?6 = '' OR options ->> '$.owner' = ?6)
ORDER BY next_run, task_id LIMIT ?7;

-- name: recent_states
SELECT wanted.value, e.status FROM json_each(?1) AS wanted JOIN task_executions AS e ON e.id IN (
    SELECT id FROM task_executions
    WHERE task_id = wanted.value AND started_at IS NOT NULL ORDER BY started_at DESC LIMIT ?2
)
ORDER BY e.started_at DESC, e.id DESC;

-- name: due_tasks
SELECT * FROM scheduled_tasks WHERE due_at <= ? ORDER BY due_at LIMIT ?;

-- name: take_slot
UPDATE scheduled_tasks
SET next_run = ?1, last_run = coalesce(?2, last_run), run_count = run_count + ?3, finished = ?4, due_at = ?8
WHERE task_id = ?5 AND revision = ?6 AND next_run = ?7
RETURNING task_class, config, options, created_by, created_role, priority;

-- name: take_slots
UPDATE scheduled_tasks
SET next_run = move.next_run, due_at = move.due_at, finished = move.finished, last_run = move.now,
    run_count = run_count + 1
FROM (
    SELECT value ->> 0 AS task_id, value ->> 1 AS revision, value ->> 2 AS slot, value ->> 3 AS next_run,
           value ->> 4 AS due_at, value ->> 5 AS finished, value ->> 6 AS now
    FROM json_each(?)
) AS move
WHERE scheduled_tasks.task_id = move.task_id AND scheduled_tasks.revision = move.revision
  AND scheduled_tasks.next_run = move.slot
RETURNING task_id, task_class, config, options, created_by, created_role, priority;

-- name: uncount_run
UPDATE scheduled_tasks
SET run_count = run_count - 1, last_run = (SELECT max(started_at) FROM task_executions WHERE task_id = ?1)
WHERE task_id = ?1
RETURNING *;

-- name: follow_run
UPDATE scheduled_tasks SET anchor = ?, next_run = ?, due_at = ?, finished = ?
WHERE task_id = ? AND next_run IS NULL
RETURNING *;

-- name: tasks_after
SELECT * FROM scheduled_tasks
WHERE task_id > ? AND deleted_at IS NULL AND enabled AND NOT paused AND available ORDER BY task_id LIMIT ?;

-- name: task_classes_in_use
WITH RECURSIVE classes (name) AS (
    SELECT min(task_class) FROM scheduled_tasks WHERE deleted_at IS NULL
    UNION ALL
    SELECT (SELECT min(task_class) FROM scheduled_tasks WHERE deleted_at IS NULL AND task_class > name)
    FROM classes WHERE name IS NOT NULL
)
SELECT name FROM classes WHERE name IS NOT NULL;

-- name: tasks_of_class
SELECT * FROM scheduled_tasks WHERE task_class = ? AND available = ? AND deleted_at IS NULL;

-- name: follower_tasks
SELECT task_id, schedule, timezone FROM scheduled_tasks INDEXED BY idx_scheduled_tasks_followers
WHERE substr(schedule, 1, 6) IN ('after:', 'failur') AND deleted_at IS NULL;

-- name: reboot_tasks
SELECT * FROM scheduled_tasks
WHERE schedule = '@reboot' AND deleted_at IS NULL AND enabled AND NOT paused AND available;

-- name: count_tasks
SELECT value FROM scheduler_counters WHERE name = 'tasks';

-- name: unavailable_tasks
SELECT task_id FROM scheduled_tasks WHERE NOT available AND deleted_at IS NULL LIMIT 100;
