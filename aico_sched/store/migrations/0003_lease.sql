-- Who schedules from this database. Its number grows with each one that takes over, and fences out those before.
CREATE TABLE scheduler_lease (
    id       INTEGER PRIMARY KEY CHECK (id = 1),
    fence    INTEGER NOT NULL,
    holder   TEXT NOT NULL,                    -- the boot of the service
    taken_at TEXT NOT NULL
);
