"""The rows of AICO's `logs` table, oldest first, for the task that keeps the logs small."""

from datetime import UTC, datetime
from typing import Any, Protocol

from aico_sched.data.source import DataSource, Row, Table

PAGE = 1_000
"""Rows of one read and of one deletion: a few milliseconds for the database that others write to as well."""


class Watcher(Protocol):
    """What a long walk through the rows needs of the task's context."""

    async def checkpoint(self) -> None: ...
    async def progress(self, fraction: float | None, message: str = "", **data: Any) -> None: ...


class LogRows:
    """Walks the rows by `id`, which is the order in which they were written. Their `timestamp` is RFC 3339, UTC where
    it names no zone; a row without one is left alone. Sizes are characters and bytes of all columns."""

    def __init__(self, data: DataSource, table: str, watcher: Watcher, *, dry_run: bool) -> None:
        self._data, self._table = data, Table(table, {"timestamp": "TEXT"})
        self._watcher, self._dry_run = watcher, dry_run
        self.seen = self.removed = self.removed_size = self.size = 0
        self._after, self._forgotten = 0, 0.0
        self._page: list[Row] = []

    async def forget_before(self, moment: float) -> None:
        """Delete every row older than `moment` (seconds since the epoch) and measure the rest. Raises `NoSuchTable`."""
        self._forgotten, after = moment, 0
        while rows := await self._data.page(self._table, after, PAGE, measured=True):
            after = rows[-1]["id"]
            self.seen += len(rows)
            old = [row for row in rows if self._is_old(row)]
            self.size += sum(row["size"] for row in rows)
            await self._delete(old)
            await self._watcher.progress(None, f"{self.seen} log rows, {self.removed} old ones")
            await self._watcher.checkpoint()

    def _is_old(self, row: Row) -> bool:
        written = _seconds(row["timestamp"])
        return written is not None and written < self._forgotten

    async def oldest(self) -> float | None:
        """When the oldest row that is left was written; None if there is none with a time."""
        while True:
            rows = [row for row in self._page if _seconds(row["timestamp"]) is not None]
            if rows:
                self._page = rows
                return _seconds(rows[0]["timestamp"])
            fresh = await self._data.page(self._table, self._after, PAGE, measured=True)
            if not fresh:
                return None
            self._after = fresh[-1]["id"]
            # In a dry run the old ones are still there.
            self._page = [row for row in fresh if not (self._dry_run and self._is_old(row))]

    async def drop(self, excess: int, before: float) -> bool:
        """Delete the oldest rows, at most a page and none younger than `before`, until `excess` is gone. Says whether
        there was one to delete."""
        doomed: list[Row] = []
        while self._page and excess > 0 and (_seconds(self._page[0]["timestamp"]) or before) < before:
            row = self._page.pop(0)
            doomed.append(row)
            excess -= row["size"]
        await self._delete(doomed)
        await self._watcher.progress(None, f"{self.removed} log rows removed")
        await self._watcher.checkpoint()
        return bool(doomed)

    async def _delete(self, rows: list[Row]) -> None:
        if rows and not self._dry_run:
            await self._data.delete(self._table, [row["id"] for row in rows])
        size = sum(row["size"] for row in rows)
        self.removed += len(rows)
        self.removed_size += size
        self.size -= size


def _seconds(stamp: Any) -> float | None:
    try:
        moment = datetime.fromisoformat(stamp)
        return (moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)).timestamp()
    except (TypeError, ValueError, OverflowError):
        return None
