-- The seeds' two tables with the columns they lack, and what durability needs besides.
-- Instants are RFC 3339 UTC text of fixed width, so that they sort as text.

CREATE TABLE scheduled_tasks (
    task_id      TEXT PRIMARY KEY,
    task_class   TEXT NOT NULL,
    schedule     TEXT NOT NULL,
    config       TEXT NOT NULL DEFAULT '{}',   -- JSON
    enabled      BOOLEAN NOT NULL DEFAULT 1,
    created_at   TEXT NOT NULL,
    updated_at   TEXT NOT NULL,
    last_run     TEXT,
    next_run     TEXT,                         -- NULL: nothing to wait for (paused, finished, deleted …)
    timezone     TEXT NOT NULL,
    options      TEXT NOT NULL DEFAULT '{}',   -- JSON, what was set of TaskOptions
    anchor       TEXT NOT NULL,                -- interval schedules count from here
    priority     INTEGER NOT NULL,
    paused       BOOLEAN NOT NULL DEFAULT 0,
    available    BOOLEAN NOT NULL DEFAULT 1,   -- 0: its task class is gone
    finished     BOOLEAN NOT NULL DEFAULT 0,   -- its schedule has no further slot
    protected    BOOLEAN NOT NULL DEFAULT 0,
    note         TEXT,
    created_by   TEXT NOT NULL,
    created_role TEXT NOT NULL,
    run_count    INTEGER NOT NULL DEFAULT 0,
    revision     INTEGER NOT NULL DEFAULT 1,
    deleted_at   TEXT,
    due_at       TEXT                          -- when the run of next_run is to start: next_run and the task's jitter
);
CREATE INDEX idx_scheduled_tasks_next_run ON scheduled_tasks (next_run, enabled);
-- What the scheduler loads in windows, and what a start looks for without reading a million rows.
CREATE INDEX idx_scheduled_tasks_due ON scheduled_tasks (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX idx_scheduled_tasks_class ON scheduled_tasks (task_class, available) WHERE deleted_at IS NULL;
CREATE INDEX idx_scheduled_tasks_reboot ON scheduled_tasks (task_id) WHERE schedule = '@reboot';
CREATE INDEX idx_scheduled_tasks_unavailable ON scheduled_tasks (task_id) WHERE NOT available;

CREATE TABLE task_executions (
    id               INTEGER PRIMARY KEY AUTOINCREMENT,
    task_id          TEXT NOT NULL REFERENCES scheduled_tasks (task_id),
    execution_id     TEXT NOT NULL,
    started_at       TEXT,                     -- of the newest attempt; NULL: never started
    completed_at     TEXT,
    success          BOOLEAN,
    duration_seconds REAL,
    result           TEXT,                     -- JSON
    error_message    TEXT,
    retry_count      INTEGER NOT NULL DEFAULT 0,
    status           TEXT NOT NULL,
    trigger          TEXT NOT NULL,
    scheduled_for    TEXT NOT NULL,
    run_at           TEXT,                     -- when a waiting one may start; NULL: blocked by a running one
    attempt          INTEGER NOT NULL DEFAULT 0,
    priority         INTEGER NOT NULL DEFAULT 0,
    reason           TEXT,
    progress         TEXT,                     -- JSON
    missed_count     INTEGER,                  -- slots a `missed` row stands for
    boot_id          TEXT
);
CREATE INDEX idx_task_executions_task_id ON task_executions (task_id, started_at);
CREATE INDEX idx_task_executions_started_at ON task_executions (started_at);
CREATE UNIQUE INDEX idx_task_executions_execution_id ON task_executions (execution_id);
CREATE UNIQUE INDEX idx_task_executions_slot ON task_executions (task_id, scheduled_for) WHERE trigger = 'schedule';
CREATE INDEX idx_task_executions_waiting ON task_executions (run_at) WHERE status IN ('queued', 'retrying');
CREATE INDEX idx_task_executions_active ON task_executions (task_id)
    WHERE status IN ('queued', 'running', 'retrying');

CREATE TABLE task_attempts (
    execution_id  TEXT NOT NULL,
    attempt       INTEGER NOT NULL,
    outcome       TEXT NOT NULL,
    started_at    TEXT NOT NULL,
    completed_at  TEXT NOT NULL,
    error_type    TEXT,
    error_message TEXT,
    traceback     TEXT,
    PRIMARY KEY (execution_id, attempt)
) WITHOUT ROWID;

CREATE TABLE scheduler_dead_letters (
    execution_id TEXT PRIMARY KEY,
    task_id      TEXT NOT NULL,
    died_at      TEXT NOT NULL,
    reason       TEXT NOT NULL,
    config       TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX idx_scheduler_dead_letters_died_at ON scheduler_dead_letters (died_at);

CREATE TABLE scheduler_events (
    event_id   INTEGER PRIMARY KEY,
    topic      TEXT NOT NULL,
    seq        INTEGER NOT NULL,
    message_id TEXT NOT NULL,
    timestamp  TEXT NOT NULL,
    body       BLOB NOT NULL                   -- msgpack
);
CREATE UNIQUE INDEX idx_scheduler_events_topic_seq ON scheduler_events (topic, seq);

CREATE TABLE scheduler_event_sequences (
    topic TEXT PRIMARY KEY,
    seq   INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE scheduler_seen_messages (
    message_id  TEXT PRIMARY KEY,
    received_at INTEGER NOT NULL,              -- microseconds
    reply       BLOB NOT NULL                  -- msgpack, the first answer
) WITHOUT ROWID;
CREATE INDEX idx_scheduler_seen_messages_received_at ON scheduler_seen_messages (received_at);

CREATE TABLE scheduler_audit (
    id      INTEGER PRIMARY KEY,
    at      TEXT NOT NULL,
    source  TEXT NOT NULL,
    role    TEXT NOT NULL,
    action  TEXT NOT NULL,
    target  TEXT NOT NULL,
    outcome TEXT NOT NULL,
    detail  TEXT NOT NULL
);

-- Counting a million rows takes longer than the event loop may stand still.
CREATE TABLE counters (
    name  TEXT PRIMARY KEY,
    value INTEGER NOT NULL
) WITHOUT ROWID;
INSERT INTO counters VALUES ('tasks', 0);
CREATE TRIGGER count_new_task AFTER INSERT ON scheduled_tasks WHEN new.deleted_at IS NULL BEGIN UPDATE counters SET value = value + 1 WHERE name = 'tasks'; END;
CREATE TRIGGER count_changed_task AFTER UPDATE OF deleted_at ON scheduled_tasks WHEN (old.deleted_at IS NULL) <> (new.deleted_at IS NULL) BEGIN UPDATE counters SET value = value + (new.deleted_at IS NULL) - (old.deleted_at IS NULL) WHERE name = 'tasks'; END;

CREATE TABLE scheduler_meta (
    key   TEXT PRIMARY KEY,
    value TEXT NOT NULL
) WITHOUT ROWID;
