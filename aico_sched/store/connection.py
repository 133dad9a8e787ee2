"""The one connection to the encrypted database, and what keeps a second service away from it."""

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

from aico_sched.store import made, many_rows
from aico_sched.store.errors import (
    CannotOpen,
    LeaseLost,
    SchemaTooNew,
    StoreBusy,
    StoreError,
    translate,
)
from aico_sched.store.lock import DatabaseLock
from aico_sched.store.maintenance import swap
from aico_sched.store.maintenance.job import Target
from aico_sched.store.named_sql import migrations, queries
from aico_sched.store.opening import connected, execute, reraise_panic
from aico_sched.store.room import cannot_open

KEY_LENGTH = 32
"""libSQL's cipher reads the first 32 characters of a key and ignores the rest (facts.md)."""

FindKey = Callable[[], str]
"""Says the key now: a rekey changes it."""

_STATEMENT = re.compile(r";\s*(?:--[^\n]*)?\s*$", re.MULTILINE)

Row = tuple[Any, ...]


class Database:
    """An open database. Not for two threads, nor for two processes: a lock on the file's neighbour sees to that.

    Statements are named (`queries/*.sql`). Every error is a `StoreError`. A borrowed connection is somebody else's:
    it is neither configured nor closed here, and its other tables are left alone.
    """

    def __init__(
        self,
        path: Path,
        connection: Any,
        lock: DatabaseLock | None,
        reconnect: Callable[[], Any] | None = None,
    ) -> None:
        self.path, self._connection, self._lock = path, connection, lock
        self._reconnect = reconnect
        self._sql = queries()
        self._fence: int | None = None
        self.in_transaction = False
        self._migrate()

    @classmethod
    def open(
        cls,
        path: Path,
        key: str | FindKey,
        synchronous: Literal["full", "normal"] = "full",
        held: DatabaseLock | None = None,
    ) -> "Database":
        """The database at `path`, made if it is not there, held against every other process: by a lock of its own, or
        by the one that the caller has `held`. A change of its file or key that was interrupted is finished first; only
        then is `key` asked. Raises `CannotOpen` or one of its kinds."""
        lock = DatabaseLock.take(path) if held is None else held.share()

        def connect() -> Any:
            found = key() if callable(key) else key
            if len(found) != KEY_LENGTH:
                raise CannotOpen(path, f"its key must be {KEY_LENGTH} characters long, not {len(found)}")
            return connected(path, found, synchronous)

        try:
            swap.resolve(path)
            made.check(path)
            connection = connect()
            try:
                opened = cls(path, connection, lock, connect)
                made.note(path)
            except BaseException:
                connection.close()
                raise
            return opened
        except OSError as error:
            lock.release()
            raise cannot_open(path, error) from error
        except BaseException:
            lock.release()
            raise

    @classmethod
    def borrow(cls, connection: Any) -> "Database":
        """The scheduler's tables in a database that the embedding program has open, on its own libSQL connection.
        Turns of ours never leave a transaction open; while the program has one open, they wait. Raises `AlreadyInUse`
        where another scheduler works in the same file."""
        file = execute(connection, "PRAGMA database_list")[0][2]
        path = Path(file) if file else Path()
        lock = DatabaseLock.take(path) if file else None
        try:
            return cls(path, connection, lock)
        except BaseException:
            if lock is not None:
                lock.release()
            raise

    def _migrate(self) -> None:
        """Bring the schema to the newest version, each step a transaction of its own. The version has a table of its
        own, since `user_version` belongs to whose database it is."""
        steps = migrations()
        self._raw("CREATE TABLE IF NOT EXISTS scheduler_schema (version INTEGER NOT NULL)")
        version = self._raw("SELECT coalesce(max(version), 0) FROM scheduler_schema")[0][0]
        if version > steps[-1][0]:
            raise SchemaTooNew(self.path, version, steps[-1][0])
        for number, script in steps:
            if number > version:
                self._step(number, script)

    def _step(self, number: int, script: str) -> None:
        self.begin()
        try:
            for statement in _STATEMENT.split(script):
                if statement.strip():
                    self._raw(statement)
            self._raw("INSERT INTO scheduler_schema VALUES (?)", (number,))
            self.commit()
        except StoreError:
            self.rollback()
            raise

    def run(self, name: str, parameters: Sequence[Any] = ()) -> list[Row]:
        """Run the query called `name` and return all its rows."""
        return self._raw(self._sql[name], tuple(parameters))

    def run_many(self, name: str, rows: Sequence[Sequence[Any]]) -> None:
        """Run the query called `name` once for each of `rows`."""
        try:
            self._connection.executemany(self._sql[name], [tuple(row) for row in rows])
        except ValueError as error:
            raise translate(error) from error
        except BaseException as error:
            reraise_panic(error)
            raise

    def insert(self, name: str, rows: Sequence[Row]) -> list[Row]:
        """Run the query called `name`, which inserts one row, for all `rows`, many in a statement (`many_rows`).
        Returns the rows of its RETURNING."""
        statements = many_rows.statements(self._sql[name], rows)
        return [row for sql, parameters in statements for row in self._raw(sql, parameters)]

    def change(self, name: str, parameters: Sequence[Any] = ()) -> int:
        """Run the query called `name` and return how many rows it changed."""
        try:
            return int(self._connection.execute(self._sql[name], tuple(parameters)).rowcount)
        except ValueError as error:
            raise translate(error) from error
        except BaseException as error:
            reraise_panic(error)
            raise

    def one(self, name: str, parameters: Sequence[Any] = ()) -> Row | None:
        """The first row of the query called `name`, or None."""
        try:
            row: Row | None = self._connection.execute(self._sql[name], tuple(parameters)).fetchone()
        except ValueError as error:
            raise translate(error) from error
        except BaseException as error:
            reraise_panic(error)
            raise
        return row

    def _raw(self, sql: str, parameters: Row = ()) -> list[Row]:
        return execute(self._connection, sql, parameters)

    def take_lease(self, holder: str) -> None:
        """Be the one who schedules from here on, `holder` by name: everyone who did before is shut out of the database
        at its next transaction, by the fencing number, also if no lock has kept them out."""
        self._fence = None
        self.begin()
        fence = self.run("take_lease", (holder,))[0][0]
        self.commit()
        self._fence = fence

    def run_text(self, sql: str, parameters: Sequence[Any]) -> int:
        """Run a statement that is not one of ours and return how many rows it changed."""
        try:
            return int(self._connection.execute(sql, tuple(parameters)).rowcount)
        except ValueError as error:
            raise translate(error) from error
        except BaseException as error:
            reraise_panic(error)
            raise

    def plan(self, sql: str, parameters: Sequence[Any]) -> list[Row]:
        """The program SQLite would run for a statement, as EXPLAIN shows it."""
        return self._raw(f"EXPLAIN {sql}", tuple(parameters))

    def roots(self) -> dict[int, str]:
        """The table of each root page, its indexes' too."""
        return dict(self._raw("SELECT rootpage, tbl_name FROM sqlite_master"))

    def begin(self) -> None:
        """Start a write transaction, unless one is open. Raises `StoreBusy` while somebody else's is, `LeaseLost` when
        another process has taken over."""
        if self.in_transaction:
            return
        if self._connection.in_transaction:
            raise StoreBusy("the connection's owner has a transaction open")
        self._raw("BEGIN IMMEDIATE")
        self.in_transaction = True
        if self._fence is not None:
            self._check_lease(self._fence)

    def _check_lease(self, fence: int) -> None:
        row = self.one("lease")
        if row is None or row[0] != fence:
            self.rollback()
            raise LeaseLost(self.path, fence, 0 if row is None else row[0])

    def commit(self) -> None:
        """Make the transaction durable. Raises and leaves it rolled back if that fails."""
        if not self.in_transaction:
            return
        try:
            self._raw("COMMIT")
        except StoreError:
            self.rollback()
            raise
        self.in_transaction = False

    def rollback(self) -> None:
        """Drop the transaction, if one is open."""
        if self.in_transaction:
            self.in_transaction = False
            if self._connection.in_transaction:
                self._raw("ROLLBACK")

    def savepoint(self) -> None:
        """Mark the place to which `undo` returns."""
        self.begin()
        self._raw("SAVEPOINT message")

    def keep(self) -> None:
        """Forget the savepoint and keep what came after it."""
        self._raw("RELEASE message")

    def undo(self) -> None:
        """Return to the savepoint."""
        self._raw("ROLLBACK TO message")
        self._raw("RELEASE message")

    def free_bytes(self) -> int:
        """Bytes of the database that hold nothing."""
        return int(self._raw("PRAGMA freelist_count")[0][0]) * int(self._raw("PRAGMA page_size")[0][0])

    def incremental_vacuum(self, pages: int) -> None:
        """Give up to `pages` free pages back to the disk, as part of the transaction."""
        try:
            # As rows `execute` would refuse them.
            self._connection.executescript(f"PRAGMA incremental_vacuum({pages:d})")
        except ValueError as error:
            raise translate(error) from error

    def checkpoint_after(self, pages: int) -> None:
        """Have commits move the write-ahead log into the database whenever it has `pages`; a connection that is opened
        anew does so after SQLite's own number."""
        self._raw(f"PRAGMA wal_autocheckpoint={pages:d}")

    def refresh_statistics(self, limit: int) -> None:
        """What the planner knows of the indexes, from at most `limit` rows of each; part of the transaction."""
        self._raw(f"PRAGMA analysis_limit={limit:d}")
        self._raw("PRAGMA optimize=0x10002")

    def size(self) -> int:
        """Bytes of the database, without its write-ahead log."""
        return int(self._raw("PRAGMA page_count")[0][0]) * int(self._raw("PRAGMA page_size")[0][0])

    def integrity_check(self) -> list[str]:
        """What is wrong with the file, in SQLite's words; empty if nothing is. Reads all of it, holding the GIL."""
        findings = [str(row[0]) for row in self._raw("PRAGMA integrity_check")]
        return [] if findings == ["ok"] else findings

    @property
    def borrowed(self) -> bool:
        """Whether the connection is the embedding program's."""
        return self._reconnect is None

    @property
    def suspended(self) -> bool:
        """Whether the connection is closed for now."""
        return self._connection is None

    def suspend(self) -> None:
        """Close the connection for a while, the lock staying held. What was written is in the file then."""
        if self._reconnect is not None and self._connection is not None:
            connection, self._connection = self._connection, None
            connection.close()

    def resume(self) -> None:
        """Open the connection again. Raises `CannotOpen` or one of its kinds."""
        if self._connection is None and self._reconnect is not None:
            try:
                swap.resolve(self.path)
                made.check(self.path)
            except OSError as error:
                raise cannot_open(self.path, error) from error
            self._connection = self._reconnect()

    def target(self, key: str) -> Target:
        """What a worker needs to be let in."""
        return Target(self.path, key, None if self._lock is None else self._lock.fileno())

    def close(self) -> None:
        """Close the connection and let others in. Safe to call twice."""
        connection, self._connection = self._connection, None
        lock, self._lock = self._lock, None
        if connection is not None and not self.borrowed:
            connection.close()
        if lock is not None:
            lock.release()
