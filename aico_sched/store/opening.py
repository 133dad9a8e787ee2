"""A connection to the encrypted database, configured, and what libSQL raises as our own errors."""

import os
from pathlib import Path
from typing import Any

import libsql_experimental as libsql

from aico_sched.store.errors import (
    CannotOpen,
    CannotWrite,
    Damaged,
    NoRoomToOpen,
    StoreCorrupt,
    StoreError,
    StoreFull,
    StoreReadOnly,
    WrongKey,
    translate,
)
from aico_sched.store.maintenance import swap
from aico_sched.store.room import FULL, READ_ONLY, cannot_open, shortage

Row = tuple[Any, ...]

CHECKPOINT = 1_000
"""Pages of the write-ahead log that a commit moves into the database at once. SQLite's own number, written down because
pauses go by it: 12 ms now and then; 4,000 pages take 40 ms."""

_SHORT: dict[str, type[CannotOpen]] = {FULL: NoRoomToOpen, READ_ONLY: CannotWrite}


def connected(path: Path, key: str, synchronous: str) -> Any:
    """A connection of libSQL to the database at `path`, which is made where there is none. Raises `CannotOpen` or one
    of its kinds."""
    connection = _connect(path, key)
    try:
        _configure(path, connection, synchronous)
    except BaseException:
        connection.close()
        raise
    return connection


def execute(connection: Any, sql: str, parameters: Row = ()) -> list[Row]:
    """All rows of a statement. Raises `StoreError`."""
    try:
        return connection.execute(sql, parameters).fetchall() or []
    except ValueError as error:
        raise translate(error) from error
    except BaseException as error:
        reraise_panic(error)
        raise


def _configure(path: Path, connection: Any, synchronous: str) -> None:
    pragmas = (
        "auto_vacuum=INCREMENTAL",
        "journal_mode=WAL",
        f"synchronous={synchronous.upper()}",
        "foreign_keys=ON",
        "busy_timeout=0",
        # A temporary file would be plaintext.
        "temp_store=MEMORY",
        f"wal_autocheckpoint={CHECKPOINT}",
    )
    try:
        for pragma in pragmas:
            execute(connection, f"PRAGMA {pragma}")
        execute(connection, "SELECT count(*) FROM sqlite_master")
    except StoreCorrupt as error:
        raise (WrongKey(path) if "not a database" in str(error) else Damaged(path)) from error
    except StoreError as error:
        raise _SHORT.get(_short(path, error), CannotOpen)(path, str(error)) from error


def _short(path: Path, error: StoreError) -> str:
    """What there was none of when a database could not be opened: room, or leave to write."""
    if isinstance(error, StoreReadOnly):
        return READ_ONLY
    return shortage(path) or (FULL if isinstance(error, StoreFull) else "")


def _free_sides(path: Path) -> None:
    """What SQLite keeps beside a database has its permissions from it: made while the database could not be written,
    it would keep it so for good."""
    for side in swap.sides(path):
        if side.exists() and not os.access(side, os.W_OK):
            side.chmod(0o600)


def reraise_panic(error: BaseException) -> None:
    """A Rust panic is no `Exception`, so nothing above would catch it (facts.md); make it a `StoreError`."""
    if type(error).__name__ == "PanicException":
        raise translate(error) from error


def _connect(path: Path, key: str) -> Any:
    try:
        # libSQL would make the file readable to everybody.
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        _free_sides(path)
        return libsql.connect(str(path), encryption_key=key, isolation_level=None)
    except OSError as error:
        raise cannot_open(path, error) from error
    except ValueError as error:
        raise CannotOpen(path, str(error)) from error
