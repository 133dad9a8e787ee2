"""The database in a worker process: every call into libSQL holds the GIL, so the service makes none of these itself."""

import os
import time
from collections.abc import Callable
from typing import Any, TypeVar

import libsql_experimental as libsql

from aico_sched.data.source import NoSuchTable

BUSY_FOR = 30.0
"""Seconds for which a database that another connection writes to is waited for."""

_BUSY_PAUSE = 0.02
_MISSING = ("no such table", "no such column")

Result = TypeVar("Result")


class SqlTables:
    """One connection of its own to an encrypted libSQL database that others use too, so transactions are kept short.

    Raises OSError if there is no database at `path`, ValueError if it cannot be opened with `key`.
    """

    def __init__(self, path: str, key: str | None) -> None:
        # libSQL would make an empty one.
        with open(path, "rb"):  # noqa: PTH123
            pass
        options = {} if key is None else {"encryption_key": key}
        self._connection = libsql.connect(path, isolation_level=None, **options)
        self._path, self._inode = path, os.stat(path).st_ino  # noqa: PTH116
        self._run("PRAGMA busy_timeout=0")
        # The owner of the database decides how durable its own commits are; ours can be done again.
        self._run("PRAGMA synchronous=NORMAL")
        self._waiting(lambda: self._run("SELECT count(*) FROM sqlite_master"))

    def page(self, table: str, columns: list[str], after: int, limit: int, measured: bool) -> list[list[Any]]:
        """See `DataSource.page`; each row is `[id, *columns]`, then the size."""
        wanted = ["id", *columns]
        selected = [_quoted(name) for name in wanted]
        if measured:
            selected.append(" + ".join(f"coalesce(length({_quoted(name)}), 0)" for name in self._columns(table)))
        sql = f"SELECT {', '.join(selected)} FROM {_quoted(table)} WHERE id > ? ORDER BY id LIMIT ?"  # noqa: S608
        try:
            rows = self._waiting(lambda: self._run(sql, (after, limit)))
        except ValueError as error:
            if any(words in str(error) for words in _MISSING):
                raise NoSuchTable(table, str(error)) from error
            raise
        return [list(row) for row in rows]

    def write(self, changes: list[dict[str, Any]]) -> None:
        """See `DataSource.write`; a change is `{table, columns: {name: type}, rows, key}`."""
        self._check_same_file()
        self._waiting(lambda: self._transaction(changes))

    def _write(self, table: str, columns: dict[str, str], rows: list[dict[str, Any]], key: str | None) -> None:
        declared = [f"{_quoted(name)} {kind}{' UNIQUE' if name == key else ''}" for name, kind in columns.items()]
        self._run(f"CREATE TABLE IF NOT EXISTS {_quoted(table)} ({', '.join(['id INTEGER PRIMARY KEY', *declared])})")
        for row in rows:
            if key is None or not self._update(table, row, key):
                values = f"({', '.join(map(_quoted, row))}) VALUES ({', '.join('?' * len(row))})"
                self._run(f"INSERT INTO {_quoted(table)} {values}", tuple(row.values()))

    def _update(self, table: str, row: dict[str, Any], key: str) -> int:
        """Not an upsert: AICO's own table need not have a unique index on the column."""
        settings = ", ".join(f"{_quoted(name)} = ?" for name in row)
        sql = f"UPDATE {_quoted(table)} SET {settings} WHERE {_quoted(key)} = ?"  # noqa: S608
        return int(self._connection.execute(sql, (*row.values(), row[key])).rowcount)

    def delete(self, table: str, ids: list[int]) -> int:
        """See `DataSource.delete`."""
        self._check_same_file()
        sql = f"DELETE FROM {_quoted(table)} WHERE id IN ({', '.join('?' * len(ids))})"  # noqa: S608
        return int(self._waiting(lambda: self._connection.execute(sql, tuple(ids)).rowcount))

    def _columns(self, table: str) -> list[str]:
        found = self._waiting(lambda: self._run("SELECT name FROM pragma_table_info(?)", (table,)))
        if not found:
            raise NoSuchTable(table)
        return [row[0] for row in found]

    def _check_same_file(self) -> None:
        """A rekey replaces the file; what is written to the old one then would be lost."""
        if os.stat(self._path).st_ino != self._inode:  # noqa: PTH116
            raise OSError(f"{self._path} was replaced by another file; it must be opened again")

    def _transaction(self, changes: list[dict[str, Any]]) -> None:
        self._run("BEGIN IMMEDIATE")
        try:
            for change in changes:
                self._write(**change)
            self._run("COMMIT")
        except BaseException:
            if self._connection.in_transaction:
                self._run("ROLLBACK")
            raise

    def _waiting(self, work: Callable[[], Result]) -> Result:
        deadline = time.monotonic() + BUSY_FOR
        while True:
            try:
                return work()
            except ValueError as error:
                if "locked" not in str(error) or time.monotonic() > deadline:
                    raise
            time.sleep(_BUSY_PAUSE)

    def _run(self, sql: str, parameters: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        return self._connection.execute(sql, parameters).fetchall() or []


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
