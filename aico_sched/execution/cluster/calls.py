"""The worker's part of what a run asks of the service: each call is a message, its answer a queue of its own.

Free of Dask: `remote` says how a message is sent and an answer waited for.
"""

import asyncio
import functools
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import msgpack

from aico_sched.execution.child.pipe import told_error
from aico_sched.tasks.powers import Function

HOLD_INTERVAL = 1.0
"""Seconds between two questions whether the run is to pause. A checkpoint in between costs nothing."""

Tell = Callable[[dict[str, Any]], Any]
Exchange = Callable[[str, Callable[[], Any], threading.Event], bytes]


class ServiceCalls:
    """For one attempt. `tell` sends a message. `exchange`, in a thread, makes the queue of that name, calls what asks,
    and returns what comes to the queue; it raises when the event is set, for then nobody waits any more."""

    def __init__(self, key: str, tell: Tell, exchange: Exchange) -> None:
        self._key, self._tell, self._exchange = key, tell, exchange
        self._over = threading.Event()
        self._count = 0
        self._next_hold = 0.0

    async def call(self, port: str, *arguments: Any) -> Any:
        """What the service answers. Raises what it raised where that is a known error, else `CallRefused`."""
        self._count += 1
        name = f"{self._key}-answer-{self._count}"
        ask = functools.partial(self._tell, {"call": [name, port, msgpack.packb(arguments)]})
        answer = msgpack.unpackb(await asyncio.to_thread(self._exchange, name, ask, self._over))
        if answer.get("error") is not None:
            raise told_error(*answer["error"])
        return answer["value"]

    async def hold(self) -> None:
        """Wait while the run is to pause."""
        if time.monotonic() >= self._next_hold:
            await self.call("hold")
            self._next_hold = time.monotonic() + HOLD_INTERVAL

    def refused(self, what: str) -> None:
        """Tell the service what the run may not do and has tried."""
        self._tell({"refused": what})

    def close(self) -> None:
        """The attempt is over."""
        self._over.set()


class ClusterPowers:
    """The `Powers` of a run on a worker."""

    def __init__(self, calls: ServiceCalls, capabilities: Sequence[str]) -> None:
        self._calls = calls
        self.capabilities = frozenset(capabilities)

    def refused(self, what: str) -> None:
        """Told to the service; nobody waits for its answer."""
        self._calls.refused(what)

    async def query(self, sql: str, parameters: Sequence[Any], timeout: float) -> list[dict[str, Any]]:
        """By a reader of the service's."""
        rows: list[dict[str, Any]] = await self._calls.call("query", sql, list(parameters), timeout)
        return rows

    async def execute(self, sql: str, parameters: Sequence[Any]) -> int:
        """By the service's store."""
        return int(await self._calls.call("execute", sql, list(parameters)))

    async def run_cpu(self, function: Function, arguments: Sequence[Any], timeout: float | None) -> Any:
        """In a thread of the worker's."""
        async with asyncio.timeout(timeout):
            return await asyncio.to_thread(function, *arguments)
