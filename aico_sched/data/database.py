"""The default `DataSource`: an encrypted libSQL database, worked on by a process of its own."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aico_sched.data.source import Change, DataSource, NoSuchTable, NothingThere, Row, SourceError, Table
from aico_sched.worker.worker import Worker, WorkerDied, WorkerFailed


class DatabaseSource:
    """A `DataSource` over the tables of a database, through a `Worker` that holds the connection."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker

    async def page(self, table: Table, after: int, limit: int, *, measured: bool = False) -> list[Row]:
        """See `DataSource`."""
        columns = list(table.columns)
        rows = await self._call("page", table=table.name, columns=columns, after=after, limit=limit, measured=measured)
        names = ["id", *columns, *(["size"] if measured else [])]
        return [dict(zip(names, row, strict=True)) for row in rows]

    async def write(self, changes: Sequence[Change]) -> None:
        """See `DataSource`."""
        plain = [
            {
                "table": change.table.name,
                "columns": dict(change.table.columns),
                "rows": list(change.rows),
                "key": change.key,
            }
            for change in changes
        ]
        await self._call("write", changes=plain)

    async def delete(self, table: Table, ids: Sequence[int]) -> int:
        """See `DataSource`."""
        return int(await self._call("delete", table=table.name, ids=list(ids))) if ids else 0

    async def _call(self, method: str, **arguments: Any) -> Any:
        try:
            return await self._worker.call(method, **arguments)
        except WorkerFailed as error:
            if error.kind == "NoSuchTable":
                raise NoSuchTable(arguments["table"], str(error)) from error
            raise SourceError(str(error)) from error
        except WorkerDied as error:
            raise SourceError(str(error)) from error


@asynccontextmanager
async def open_database(path: Path, key: Callable[[], str | None]) -> AsyncIterator[DataSource]:
    """The database at `path` for the length of a block. `key` is asked for its key, which is handed to the worker
    through a pipe. Raises `SourceError` if it cannot be opened, `NothingThere`
    if it does not exist."""
    try:
        async with Worker.open("aico_sched.data.sql:SqlTables", path=str(path), key=key()) as worker:
            yield DatabaseSource(worker)
    except WorkerFailed as error:
        kind = NothingThere if error.kind == "FileNotFoundError" else SourceError
        raise kind(f"there is no database at {path}" if kind is NothingThere else f"{path}: {error}") from error
