-- name: insert_event
INSERT INTO scheduler_events (event_id, topic, seq, message_id, timestamp, body) VALUES (?, ?, ?, ?, ?, ?);

-- name: save_sequence
INSERT INTO scheduler_event_sequences (topic, seq) VALUES (?, ?) ON CONFLICT (topic) DO UPDATE SET seq = excluded.seq;

-- name: sequences
SELECT topic, seq FROM scheduler_event_sequences;

-- name: newest_sequences
SELECT topic, max(seq) FROM scheduler_events GROUP BY topic;

-- name: events_after
SELECT event_id, topic, seq, message_id, timestamp, body FROM scheduler_events WHERE event_id > ? ORDER BY event_id LIMIT ?;

-- name: events_of_topic
SELECT event_id, topic, seq, message_id, timestamp, body FROM scheduler_events
WHERE topic = ? AND seq > ? ORDER BY seq LIMIT ?;

-- name: newest_events_of_topic
SELECT event_id, topic, seq, message_id, timestamp, body FROM scheduler_events
WHERE topic = ? AND seq > ? ORDER BY seq DESC LIMIT ?;

-- name: newest_event
SELECT coalesce(max(event_id), 0) FROM scheduler_events;

-- name: trim_events
DELETE FROM scheduler_events WHERE event_id IN (SELECT event_id FROM scheduler_events WHERE event_id <= ? ORDER BY event_id LIMIT ?);

-- name: seen_message
SELECT reply FROM scheduler_seen_messages WHERE message_id = ?;

-- name: seen_messages
SELECT message_id FROM scheduler_seen_messages WHERE message_id IN (SELECT value FROM json_each(?));

-- name: remember_message
INSERT OR IGNORE INTO scheduler_seen_messages VALUES (?, ?, ?);

-- name: trim_seen
DELETE FROM scheduler_seen_messages WHERE message_id IN
    (SELECT message_id FROM scheduler_seen_messages WHERE received_at < ? ORDER BY received_at LIMIT ?);


-- name: take_lease
INSERT INTO scheduler_lease VALUES (1, 1, ?, strftime('%Y-%m-%dT%H:%M:%fZ'))
ON CONFLICT (id) DO UPDATE SET fence = fence + 1, holder = excluded.holder, taken_at = excluded.taken_at
RETURNING fence;

-- name: lease
SELECT fence FROM scheduler_lease;

-- name: add_to_counter
INSERT INTO scheduler_counters VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = value + excluded.value;

-- name: counters_below
SELECT substr(name, length(?1) + 1), value FROM scheduler_counters WHERE name > ?1 AND name < ?1 || '~';

-- name: newest_event_time
SELECT timestamp FROM scheduler_events ORDER BY event_id DESC LIMIT 1;

-- name: forget_meta
DELETE FROM scheduler_meta WHERE key = ?;

-- name: get_meta
SELECT value FROM scheduler_meta WHERE key = ?;

-- name: set_meta
INSERT INTO scheduler_meta VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value;
