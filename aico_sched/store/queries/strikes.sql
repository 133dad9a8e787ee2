-- name: strikes_of
SELECT strikes, last_at FROM scheduler_strikes WHERE task_id = ?;

-- name: set_strikes
INSERT INTO scheduler_strikes VALUES (?, ?, ?, ?)
ON CONFLICT (task_id) DO UPDATE SET strikes = excluded.strikes, last_at = excluded.last_at,
    environment = coalesce(excluded.environment, environment);

-- name: forget_strikes
DELETE FROM scheduler_strikes WHERE task_id = ?;

-- name: moved_tasks
SELECT task_id, environment FROM scheduler_strikes WHERE environment IS NOT NULL;

-- name: trim_strikes
DELETE FROM scheduler_strikes WHERE task_id IN (SELECT task_id FROM scheduler_strikes ORDER BY last_at DESC LIMIT -1 OFFSET ?);
