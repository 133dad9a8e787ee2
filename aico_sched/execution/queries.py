"""Queries of tasks, answered by reader processes that can be ended at any moment."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from aico_sched.tasks.powers import DatabaseFailed, DatabaseRefused, TooMuchData
from aico_sched.worker.worker import Worker, WorkerDied, WorkerFailed

READERS = 2
"""Queries that are answered at one time."""

IDLE_FOR = 30.0
"""Seconds a reader waits for the next query before it is ended."""

_RAISED: dict[str, type[Exception]] = {"Refused": DatabaseRefused, "TooMuch": TooMuchData}


class Queries:
    """The readers of one database. `key` is asked for its key whenever a reader starts."""

    def __init__(self, path: Path, key: Callable[[], str | None]) -> None:
        self._path, self._key = path, key
        self._places = asyncio.Semaphore(READERS)
        self._free: list[tuple[Worker, AsyncExitStack]] = []
        self._timer: asyncio.TimerHandle | None = None
        self._ending: set[asyncio.Task[None]] = set()
        self._figures = {"queries": 0, "failed": 0, "ended": 0}

    async def query(
        self, sql: str, parameters: Sequence[Any], timeout: float, *, may_touch_ours: bool
    ) -> list[dict[str, Any]]:
        """The rows by column name. Raises TimeoutError after `timeout` seconds, the start of a reader and the wait for
        a free one included; its process is ended then."""
        self._figures["queries"] += 1
        try:
            async with asyncio.timeout(timeout), self._places:
                answer = await self._ask(sql, parameters, may_touch_ours)
        except BaseException:
            self._figures["failed"] += 1
            raise
        columns = answer["columns"]
        return [dict(zip(columns, row, strict=True)) for row in answer["rows"]]

    async def _ask(self, sql: str, parameters: Sequence[Any], may_touch_ours: bool) -> dict[str, Any]:
        reader, stack = self._free.pop() if self._free else await self._start()
        usable = False
        try:
            answer: dict[str, Any] = await reader.call(
                "query", sql=sql, parameters=list(parameters), may_touch_ours=may_touch_ours
            )
            usable = True
        except WorkerFailed as error:
            usable = True
            raise _RAISED.get(error.kind, DatabaseFailed)(str(error)) from error
        except WorkerDied as error:
            raise DatabaseFailed(str(error)) from error
        finally:
            if usable:
                self._free.append((reader, stack))
                self._later()
            else:
                self._figures["ended"] += 1
                self._end(stack)
        return answer

    async def _start(self) -> tuple[Worker, AsyncExitStack]:
        stack = AsyncExitStack()
        made = Worker.open("aico_sched.store.reader:Reader", 0, path=str(self._path), key=self._key())
        try:
            return await stack.enter_async_context(made), stack
        except (WorkerFailed, WorkerDied) as error:
            raise DatabaseFailed(f"the database cannot be read: {error}") from error

    def _later(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(IDLE_FOR, self._dismiss)

    def _dismiss(self) -> None:
        while self._free:
            self._end(self._free.pop()[1])

    def _end(self, stack: AsyncExitStack) -> None:
        task = asyncio.create_task(stack.aclose())
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)

    def report(self) -> dict[str, Any]:
        """Counts since the service began."""
        return dict(self._figures)

    async def close(self) -> None:
        """End the readers."""
        if self._timer is not None:
            self._timer.cancel()
        self._dismiss()
        if self._ending:
            await asyncio.wait(self._ending)
