"""AICO's data for a run in another process: the child's side asks, the service's side has the source open."""

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from aico_sched.data.source import Change, DataSource, Row, Table
from aico_sched.execution.child.pipe import Pipe
from aico_sched.tasks.context import TaskContext


class ChildSource:
    """The `DataSource` of the run in this process."""

    def __init__(self, pipe: Pipe) -> None:
        self._pipe = pipe

    async def page(self, table: Table, after: int, limit: int, *, measured: bool = False) -> list[Row]:
        """See `DataSource`."""
        rows: list[Row] = await self._pipe.call("data.page", *_plain(table), after, limit, measured)
        return rows

    async def write(self, changes: Sequence[Change]) -> None:
        """See `DataSource`."""
        plain = [[*_plain(change.table), [dict(row) for row in change.rows], change.key] for change in changes]
        await self._pipe.call("data.write", plain)

    async def delete(self, table: Table, ids: Sequence[int]) -> int:
        """See `DataSource`."""
        return int(await self._pipe.call("data.delete", *_plain(table), list(ids)))


@asynccontextmanager
async def open_source(pipe: Pipe) -> AsyncIterator[DataSource]:
    """The source for the length of a block; the service keeps its own open until the run has ended."""
    await pipe.call("data.open")
    yield ChildSource(pipe)


def _plain(table: Table) -> tuple[str, dict[str, str]]:
    return table.name, dict(table.columns)


class ServedData:
    """The service's side, for one run. `context` says whether the run may see the data at all."""

    def __init__(self, context: TaskContext[Any]) -> None:
        self._context = context
        self._stack = AsyncExitStack()
        self._source: DataSource | None = None

    async def call(self, method: str, arguments: Sequence[Any]) -> Any:
        """Carry out one of `ChildSource`'s calls. Raises what the source raises, PermissionError."""
        if self._source is None:
            self._source = await self._stack.enter_async_context(self._context.data())
        if method == "open":
            return None
        if method == "page":
            name, columns, after, limit, measured = arguments
            return await self._source.page(Table(name, columns), after, limit, measured=measured)
        if method == "delete":
            name, columns, ids = arguments
            return await self._source.delete(Table(name, columns), ids)
        if method == "write":
            changes = [Change(Table(name, columns), rows, key) for name, columns, rows, key in arguments[0]]
            return await self._source.write(changes)
        raise PermissionError(f"there is no call data.{method}")

    async def close(self) -> None:
        """Let go of the source."""
        await self._stack.aclose()
