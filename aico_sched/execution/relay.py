"""A task's ports for code on another event loop: every call is made on the service's loop and waited for here."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, TypeVar

from aico_sched.clock import Clock, Timeout, Timer
from aico_sched.quiet import QuietHours
from aico_sched.tasks.ports import Ports, TaskPorts
from aico_sched.tasks.powers import Function, Powers

Value = TypeVar("Value")


def relayed(ports: Ports, loop: asyncio.AbstractEventLoop) -> TaskPorts:
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

    async def probe_bus(timeout: float) -> float | None:
        assert ports.probe_bus is not None
        found: float | None = await there(_awaited(ports.probe_bus, timeout))
        return found

    async def maintain(kind: str, options: dict[str, Any]) -> dict[str, Any]:
        assert ports.maintain is not None
        found: dict[str, Any] = await there(_awaited(ports.maintain, kind, options))
        return found

    def alert(key: str, severity: str, message: str, details: dict[str, Any], resolved: bool) -> None:
        assert ports.alert is not None
        loop.call_soon_threadsafe(ports.alert, key, severity, message, details, resolved)

    def tell_quiet_hours(quiet: QuietHours | None) -> None:
        assert ports.tell_quiet_hours is not None
        loop.call_soon_threadsafe(ports.tell_quiet_hours, quiet)

    return TaskPorts(
        RelayedClock(ports.clock, loop),
        report_progress,
        publish,
        request,
        hold,
        probe_database=None if ports.probe_database is None else probe_database,
        probe_bus=None if ports.probe_bus is None else probe_bus,
        open_data=ports.open_data,
        tell_quiet_hours=None if ports.tell_quiet_hours is None else tell_quiet_hours,
        alert=None if ports.alert is None else alert,
        powers=None if ports.powers is None else RelayedPowers(ports.powers, loop),
        maintain=None if ports.maintain is None else maintain,
        log_line=ports.log_line,
        default_timeout=ports.default_timeout,
    )


async def _awaited(function: Callable[..., Any], *arguments: Any) -> Any:
    return await function(*arguments)


class RelayedPowers:
    """A run's powers, used on the service's loop."""

    def __init__(self, powers: Powers, loop: asyncio.AbstractEventLoop) -> None:
        self._powers, self._loop = powers, loop

    @property
    def capabilities(self) -> frozenset[str]:
        return self._powers.capabilities

    def refused(self, what: str) -> None:
        self._loop.call_soon_threadsafe(self._powers.refused, what)

    async def query(self, sql: str, parameters: Sequence[Any], timeout: float) -> list[dict[str, Any]]:
        return await self._there(self._powers.query(sql, parameters, timeout))

    async def execute(self, sql: str, parameters: Sequence[Any]) -> int:
        return await self._there(self._powers.execute(sql, parameters))

    async def run_cpu(self, function: Function, arguments: Sequence[Any], timeout: float | None) -> Any:
        return await self._there(self._powers.run_cpu(function, arguments, timeout))

    async def _there(self, work: Coroutine[Any, Any, Value]) -> Value:
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self._loop))


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
