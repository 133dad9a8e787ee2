"""Databases as earlier versions made them, filled with rows."""

from pathlib import Path
from unittest.mock import patch

from aico_sched.store.connection import Database
from aico_sched.store.named_sql import migrations

KEY = "k" * 32
NEWEST = migrations()[-1][0]
ROWS = 5

Content = dict[str, tuple[list[str], list[tuple[object, ...]]]]
"""The columns and rows of each table."""


def built(path: Path, version: int) -> Content:
    """Make a database by the first `version` steps, with rows in every table; returns what it holds."""
    with patch("aico_sched.store.connection.migrations", lambda: migrations()[:version]):
        database = Database.open(path, KEY)
    database.begin()
    for table in tables(database):
        _fill(database, table)
    database.commit()
    found = content(database)
    database.close()
    return found


def tables(database: Database) -> list[str]:
    """The tables with rows of their own, those first that others refer to."""
    names = [name for name in set(database.roots().values()) if not name.startswith("sqlite_")]
    return sorted(
        (name for name in names if name != "scheduler_schema"), key=lambda name: (name != "scheduled_tasks", name)
    )


def content(database: Database) -> Content:
    """All rows of all tables."""
    found = {}
    for table in tables(database):
        columns = [row[1] for row in database._raw(f"PRAGMA table_info({table})")]
        rows = database._raw(f"SELECT {', '.join(columns)} FROM {table} ORDER BY 1, 2")
        found[table] = (columns, rows)
    return found


def schema(database: Database) -> list[tuple[object, ...]]:
    """Everything the schema consists of."""
    return database._raw("SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY 1, 2")


def _fill(database: Database, table: str) -> None:
    columns = database._raw(f"PRAGMA table_info({table})")
    for i in range(1 if table == "scheduler_lease" else ROWS):
        values = [_value(table, name, kind, i) for _, name, kind, *_ in columns]
        marks = ", ".join("?" * len(values))
        database._raw(f"INSERT OR IGNORE INTO {table} VALUES ({marks})", tuple(values))


def _value(table: str, column: str, kind: str, i: int) -> object:
    """Something of the column's type, the same at each call; ids fit those of other tables."""
    if column in ("id", "seq", "event_id") and kind == "INTEGER":
        return i + 1
    if column in ("task_id", "execution_id"):
        return f"{column}-{i}"
    if kind in ("INTEGER", "BOOLEAN"):
        return (i + len(column)) % 2 if kind == "BOOLEAN" else i * 1_000 + len(column)
    if kind == "REAL":
        return i + len(column) / 8
    text = f"{table}.{column} {i} ä\U0001f600"
    return text.encode() if kind == "BLOB" else text
