"""Time as the service sees it, behind one seam: the real clock here, a virtual one in `aico_sched.testing`."""

import asyncio
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, suppress
from typing import Protocol, Self

from aico_sched.alarm import Alarm


class Flexible(float):
    """A monotonic time at which something would be good to do but need not be done before `latest`. The machine's
    clock takes it as it is; a virtual one may come later, so that idle hours cost nothing."""

    latest: float

    def __new__(cls, when: float, latest: float) -> Self:
        flexible = super().__new__(cls, when)
        flexible.latest = latest
        return flexible


class Exact(float):
    """A monotonic time at which a fraction of a millisecond counts. To the machine's clock that is worth a timer of its
    own."""


class Timer(Protocol):
    """A call that is still to come."""

    def cancel(self) -> None:
        """Drop the call; harmless when it has happened already."""


class Clock(Protocol):
    """Wall time for schedules, monotonic time for durations, and a way to be called later."""

    def now_us(self) -> int:
        """Wall-clock time, microseconds since the Unix epoch, UTC. May step either way."""

    def monotonic(self) -> float:
        """Seconds that never go back; only differences mean something."""

    def call_at(self, when: float, callback: Callable[[], None]) -> Timer:
        """Call `callback` on the loop once `monotonic()` has reached `when`, which may be `Flexible` or `Exact`."""

    async def sleep(self, seconds: float) -> None:
        """Wait for `seconds` of monotonic time."""

    def timeout(self, seconds: float) -> "AbstractAsyncContextManager[Timeout]":
        """As `asyncio.timeout`, on this clock."""


class Timeout(Protocol):
    """What `Clock.timeout` yields."""

    def expired(self) -> bool:
        """Whether the time ran out, also when the code inside swallowed the cancellation."""


class ClockSteps:
    """Tells by how much the wall clock (`wall_us`) was set: how far it has left the monotonic one."""

    def __init__(self, wall_us: int, monotonic: float) -> None:
        self._wall_us, self._monotonic = wall_us, monotonic

    def since_last(self, wall_us: int, monotonic: float) -> float:
        """Seconds since the last look, negative when it was set back; a few milliseconds mean nothing."""
        stepped = (wall_us - self._wall_us) / 1_000_000 - (monotonic - self._monotonic)
        self._wall_us, self._monotonic = wall_us, monotonic
        return stepped


class SystemClock:
    """The machine's own clocks."""

    def now_us(self) -> int:
        return time.time_ns() // 1_000

    def monotonic(self) -> float:
        return time.monotonic()

    def call_at(self, when: float, callback: Callable[[], None]) -> Timer:
        if isinstance(when, Exact):
            with suppress(OSError):
                return Alarm(when, callback)
        return asyncio.get_running_loop().call_later(max(0.0, when - time.monotonic()), callback)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    def timeout(self, seconds: float) -> AbstractAsyncContextManager[Timeout]:
        return asyncio.timeout(seconds)
