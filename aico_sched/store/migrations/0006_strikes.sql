-- Tasks that have blocked the event loop, and where those run that were moved off it for that.
CREATE TABLE scheduler_strikes (
    task_id     TEXT PRIMARY KEY,
    strikes     INTEGER NOT NULL,
    last_at     INTEGER NOT NULL,                -- microseconds
    environment TEXT
) WITHOUT ROWID;
CREATE INDEX idx_scheduler_strikes_last_at ON scheduler_strikes (last_at);
