"""A bare connection of a worker: encrypted, exclusive in effect, and never a plaintext byte in a temporary file."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import libsql_experimental as libsql

from aico_sched.store.errors import StoreCorrupt, StoreError, WrongKey, translate

BUSY_TIMEOUT_MS = 5_000

Row = tuple[Any, ...]


class Raw:
    """Runs statements and raises `StoreError`s."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    def run(self, sql: str, parameters: Row = ()) -> list[Row]:
        """All rows of a statement."""
        rows: list[Row] = self._translated(lambda: self._connection.execute(sql, parameters).fetchall() or [])
        return rows

    def script(self, sql: str) -> None:
        """A statement whose rows nobody wants; some can be run only so."""
        self._translated(lambda: self._connection.executescript(sql))

    def _translated(self, work: Callable[[], Any]) -> Any:
        try:
            return work()
        except ValueError as error:
            raise translate(error) from error
        except BaseException as error:
            # A Rust panic is no `Exception` (DECISIONS.md).
            if type(error).__name__ == "PanicException":
                raise translate(error) from error
            raise

    def value(self, sql: str) -> Any:
        """The first value of the first row, None where there is none."""
        rows = self.run(sql)
        return rows[0][0] if rows else None

    def close(self) -> None:
        """Close it; what it had open is rolled back."""
        self._connection.close()


@contextmanager
def opened(path: Path, key: str) -> Iterator[Raw]:
    """A connection to an existing database. Raises `WrongKey` where the key does not fit."""
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    connection = Raw(libsql.connect(str(path), encryption_key=key, isolation_level=None))
    try:
        # In a temporary *file* VACUUM and sorts leave plaintext; in memory nothing reaches the disk.
        connection.run("PRAGMA temp_store=MEMORY")
        connection.run(f"PRAGMA busy_timeout={BUSY_TIMEOUT_MS}")
        try:
            connection.run("SELECT count(*) FROM sqlite_master")
        except StoreCorrupt as error:
            raise WrongKey(path) from error
        yield connection
    finally:
        connection.close()


def fold_log(connection: Raw) -> None:
    """Move the write-ahead log into the file and empty it. Raises `StoreError` while another connection reads."""
    busy, left, moved = connection.run("PRAGMA wal_checkpoint(TRUNCATE)")[0]
    if busy or left != moved:
        raise StoreError("another program has the database open; close it and try again")


def findings(connection: Raw, limit: int = 20) -> list[str]:
    """What is wrong with the file, in SQLite's words; empty if nothing is."""
    try:
        found = [str(row[0]) for row in connection.run(f"PRAGMA integrity_check({limit})")]
        broken = connection.run("PRAGMA foreign_key_check")
    except StoreCorrupt as error:
        return [str(error)]
    found = [] if found == ["ok"] else found
    return found + [f"{row[0]}: row {row[1]} refers to a missing row of {row[2]}" for row in broken[:limit]]


def counts(connection: Raw) -> dict[str, int]:
    """The rows of every table; two databases with the same counts and no findings hold the same."""
    tables = connection.run(
        "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY 1"
    )
    return {name: connection.value(f'SELECT count(*) FROM "{name}"') for (name,) in tables}  # noqa: S608
