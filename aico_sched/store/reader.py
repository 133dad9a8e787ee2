"""A reader of the database in a process of its own: libSQL holds the GIL for a whole query and cannot be interrupted,
so whoever reads with a deadline does it where the process can be ended."""

import os
from typing import Any

import libsql_experimental as libsql

from aico_sched.execution.sandbox.apply import die_with_parent
from aico_sched.store.statements import Refused, check_read, check_tables, tables_touched

MAX_ROWS = 10_000
MAX_BYTES = 8 * 1024 * 1024
_CHUNK = 500
_SMALL_VALUE = 16


class TooMuch(Exception):
    """The answer is larger than allowed."""


class Reader:
    """Answers queries, each on a connection of its own: nothing is held in between, so that the database can be
    replaced or put away. For `worker.Worker`."""

    def __init__(self, path: str, key: str | None) -> None:
        self._path = path
        self._options = {} if key is None else {"encryption_key": key}
        # A query holds the GIL, so the thread that would see the service's end gets no turn.
        die_with_parent(os.getppid())

    def query(self, sql: str, parameters: list[Any], may_touch_ours: bool) -> dict[str, Any]:
        """`{columns, rows}`. Raises `Refused`, `TooMuch`, OSError if there is no database, ValueError for what SQLite
        refuses."""
        check_read(sql, parameters)
        # libSQL would make an empty one.
        with open(self._path, "rb"):  # noqa: PTH123
            pass
        connection = libsql.connect(self._path, isolation_level=None, **self._options)
        try:
            connection.execute("PRAGMA query_only=ON")
            connection.execute("PRAGMA busy_timeout=2000")
            plan = connection.execute(f"EXPLAIN {sql}", tuple(parameters)).fetchall()
            roots = dict(connection.execute("SELECT rootpage, tbl_name FROM sqlite_master").fetchall())
            check_tables(tables_touched(plan, roots), may_touch_ours=may_touch_ours)
            return _fetched(connection.execute(sql, tuple(parameters)))
        finally:
            connection.close()


def _fetched(cursor: Any) -> dict[str, Any]:
    rows: list[list[Any]] = []
    size = 0
    while chunk := cursor.fetchmany(_CHUNK):
        for row in chunk:
            rows.append(list(row))
            size += sum(len(value) if isinstance(value, str | bytes) else _SMALL_VALUE for value in row)
        if len(rows) > MAX_ROWS or size > MAX_BYTES:
            raise TooMuch(f"more than {MAX_ROWS} rows or {MAX_BYTES} bytes; use LIMIT")
    return {"columns": [column[0] for column in cursor.description or ()], "rows": rows}


__all__ = ["MAX_BYTES", "MAX_ROWS", "Reader", "Refused", "TooMuch"]
