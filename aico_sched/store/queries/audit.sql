-- name: insert_audit
INSERT INTO scheduler_audit (id, at, source, role, action, target, outcome, detail, hash) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?);

-- name: newest_audit
SELECT coalesce(max(id), 0) FROM scheduler_audit;

-- name: audit_hash
SELECT hash FROM scheduler_audit WHERE id = ?;

-- name: audit_time
SELECT at FROM scheduler_audit WHERE id = ?;

-- name: trim_audit
DELETE FROM scheduler_audit WHERE id <= ?;

-- name: list_audit_oldest
SELECT id, at, source, role, action, target, outcome, detail, hash FROM scheduler_audit
WHERE id > ?1 AND id <= ?2 AND at >= ?3
  AND (?4 = '' OR source = ?4) AND (?5 = '' OR action = ?5) AND (?6 = '' OR target = ?6) AND (?7 = '' OR outcome = ?7)
ORDER BY id LIMIT ?8;

-- name: list_audit_newest
SELECT id, at, source, role, action, target, outcome, detail, hash FROM scheduler_audit
WHERE id > ?1 AND id < ?2 AND at >= ?3
  AND (?4 = '' OR source = ?4) AND (?5 = '' OR action = ?5) AND (?6 = '' OR target = ?6) AND (?7 = '' OR outcome = ?7)
ORDER BY id DESC LIMIT ?8;
