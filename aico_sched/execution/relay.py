"""A task's ports for code on another event loop: every call is made on the service's loop and waited for here."""

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from typing import Any, TypeVar

from aico_sched.clock import Clock, Timeout, Timer
from aico_sched.tasks.context import TaskPorts

Value = TypeVar("Value")


def relayed(ports: TaskPorts, loop: asyncio.AbstractEventLoop) -> TaskPorts:
    """`ports`, which belong to `loop`, for the loop of another thread."""

    async def there(work: Coroutine[Any, Any, Value]) -> Value:
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, loop))

    def report_progress(report: dict[str, Any]) -> None:
        loop.call_soon_threadsafe(ports.report_progress, report)

    async def publish(topic: str, payload: dict[str, Any], attributes: dict[str, str]) -> None:
        await there(_awaited(ports.publish, topic, payload, attributes))

    async def request(topic: str, payload: dict[str, Any], timeout: float) -> dict[str, Any]:
        return await there(_awaited(ports.request, topic, payload, timeout))

    async def hold() -> None:
        await there(_awaited(ports.hold))

    async def probe_database() -> dict[str, Any]:
        assert ports.probe_database is not None
        return await there(_awaited(ports.probe_database))

    return replace(
        ports,
        clock=RelayedClock(ports.clock, loop),
        report_progress=report_progress,
        publish=publish,
        request=request,
        hold=hold,
        probe_database=None if ports.probe_database is None else probe_database,
    )


async def _awaited(function: Callable[..., Any], *arguments: Any) -> Any:
    return await function(*arguments)


class RelayedClock:
    """The service's clock on another loop. Sleeps are the service clock's own; timers and timeouts go by the machine's
    time, which differs from it in simulations only."""

    def __init__(self, clock: Clock, loop: asyncio.AbstractEventLoop) -> None:
        self._clock, self._loop = clock, loop

    def now_us(self) -> int:
        return self._clock.now_us()

    def monotonic(self) -> float:
        return self._clock.monotonic()

    def call_at(self, when: float, callback: Callable[[], None]) -> Timer:
        return asyncio.get_running_loop().call_later(max(0.0, when - self._clock.monotonic()), callback)

    async def sleep(self, seconds: float) -> None:
        await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(self._clock.sleep(seconds), self._loop))

    def timeout(self, seconds: float) -> AbstractAsyncContextManager[Timeout]:
        return asyncio.timeout(seconds)
