"""The child's part: what a run may do, asked of the service, which checks it again."""

import asyncio
from collections.abc import Sequence
from typing import Any

from aico_sched.execution.child.pipe import Pipe
from aico_sched.execution.child.wire import Refused
from aico_sched.tasks.powers import Function


class ChildPowers:
    """The `Powers` of the run in this process."""

    def __init__(self, pipe: Pipe, capabilities: Sequence[str]) -> None:
        self._pipe = pipe
        self.capabilities = frozenset(capabilities)

    def refused(self, what: str) -> None:
        """Told to the service; nobody waits for its answer."""
        self._pipe.send(Refused(what=what))

    async def query(self, sql: str, parameters: Sequence[Any], timeout: float) -> list[dict[str, Any]]:
        """By a reader of the service's."""
        rows: list[dict[str, Any]] = await self._pipe.call("query", sql, list(parameters), timeout)
        return rows

    async def execute(self, sql: str, parameters: Sequence[Any]) -> int:
        """By the service's store."""
        return int(await self._pipe.call("execute", sql, list(parameters)))

    async def run_cpu(self, function: Function, arguments: Sequence[Any], timeout: float | None) -> Any:
        """In a thread: this process holds nobody else up, and ends with the run."""
        async with asyncio.timeout(timeout):
            return await asyncio.to_thread(function, *arguments)
