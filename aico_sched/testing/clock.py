"""A clock that stands still until it is told to move, so that days of a schedule pass in milliseconds.

Everything that waits by this clock is a timer on it. `advance` goes from timer to timer, and at each lets the whole
program come to rest before it goes on, so the order of things is the same on every machine and nothing ever sleeps.
"""

import asyncio
import heapq
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any, TypeVar

from aico_sched import outside
from aico_sched.clock import Flexible, Timeout

SECOND = 1_000_000
START = datetime(2026, 1, 1, tzinfo=UTC)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_REST = 60.0
_STALL = 0.05
_GLANCE = 0.001
"""Real seconds between two looks at work in other processes."""

_SLACK = 64

Result = TypeVar("Result")


class VirtualTimer:
    """A call that is still to come; None once it has happened or was cancelled."""

    __slots__ = ("_clock", "callback", "when")

    def __init__(self, clock: "VirtualClock", when: float, callback: Callable[[], None]) -> None:
        self._clock, self.when = clock, when
        self.callback: Callable[[], None] | None = callback

    def cancel(self) -> None:
        if self.callback is not None:
            self.callback = None
            self._clock._live -= 1


class VirtualClock:
    """A `Clock` for tests. Give it to `SchedulerService(clock=…)`, or use `Simulation`, which does that.

    >>> clock = VirtualClock(datetime(2026, 3, 28, tzinfo=UTC))
    >>> await clock.advance(86_400)

    `play` is how many seconds late what is not urgent may come (heartbeats, housekeeping, the look at the clock), so
    that idle hours cost nothing; with 0 everything comes on the dot. What `watch` names holds time up until it says
    that it has come to rest, and so do processes that the service waits for (a task's queries, its own maintenance).
    Real threads and sockets are not waited for: await what they do, then advance.
    All methods belong on one running loop, asyncio's own.
    """

    def __init__(self, start: datetime = START, *, play: float = 3_600.0) -> None:
        self._wall_us = (start - _EPOCH) // timedelta(microseconds=1)
        self._elapsed_us = 0
        self._monotonic = 0.0
        self._play = play
        self._timers: list[tuple[int, int, VirtualTimer]] = []
        self._live = 0
        self._numbers = count()
        self._busy: list[Callable[[], bool]] = []

    # The clock as others see it.

    def now_us(self) -> int:
        """Wall-clock time, microseconds since the Unix epoch, UTC."""
        return self._wall_us + self._elapsed_us

    @property
    def now(self) -> datetime:
        """Wall-clock time, UTC."""
        return _EPOCH + timedelta(microseconds=self.now_us())

    def monotonic(self) -> float:
        """Seconds of virtual time since the clock was made, wall-clock steps left out."""
        return self._monotonic

    def call_at(self, when: float, callback: Callable[[], None]) -> VirtualTimer:
        """Call `callback` once `monotonic()` has reached `when`; if that is `Flexible`, at most `play` later."""
        stop = max(when, min(when.latest, when + self._play)) if isinstance(when, Flexible) else when
        timer = VirtualTimer(self, float(when), callback)
        self._live += 1
        heapq.heappush(self._timers, (round(stop * SECOND), next(self._numbers), timer))
        if len(self._timers) > 2 * self._live + _SLACK:
            self._timers = [entry for entry in self._timers if entry[2].callback is not None]
            heapq.heapify(self._timers)
        return timer

    async def sleep(self, seconds: float) -> None:
        """Wait until so much virtual time has passed."""
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        timer = self.call_at(self.monotonic() + seconds, lambda: _finish(over))
        try:
            await over
        finally:
            timer.cancel()

    def timeout(self, seconds: float) -> AbstractAsyncContextManager[Timeout]:
        """As `asyncio.timeout`, in virtual time."""
        return self._timeout(seconds)

    @asynccontextmanager
    async def _timeout(self, seconds: float) -> AsyncIterator[Timeout]:
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(None) as limit:
            timer = self.call_at(self.monotonic() + seconds, lambda: limit.reschedule(loop.time()))
            try:
                yield limit
            finally:
                timer.cancel()

    # Moving it.

    async def advance(self, seconds: float) -> None:
        """Let `seconds` pass. Every timer on the way goes off at its own time, and all that follows from it is done
        before the next. Raises TimeoutError when something never comes to rest."""
        await self._advance_to(self._elapsed_us + round(seconds * SECOND))

    async def advance_to(self, moment: datetime) -> None:
        """Let time pass until the wall clock shows `moment`, which must not lie in the past."""
        moment_us = (moment - _EPOCH) // timedelta(microseconds=1)
        if moment_us < self.now_us():
            raise ValueError(f"{moment} has passed, it is {self.now}; set_wall turns the clock back")
        await self._advance_to(moment_us - self._wall_us)

    async def until(self, awaitable: Awaitable[Result], limit: float = 86_400.0) -> Result:
        """Let time pass until `awaitable` is done, and return its result. Raises TimeoutError when that takes longer
        than `limit` seconds of virtual time, or nothing is left that could bring it about."""
        task = asyncio.ensure_future(awaitable)
        end = self._elapsed_us + round(limit * SECOND)
        try:
            await self.settle()
            while not task.done():
                if not await self._step(end):
                    raise TimeoutError(f"it was not done within {limit:g} s of virtual time")
        except BaseException:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            raise
        return await task

    def set_wall(self, moment: datetime) -> None:
        """Set the wall clock, either way, as an administrator or NTP would: no time passes by it. Who looks at the
        clock now and then does so from now on without `play`, until it has."""
        self._wall_us = (moment - _EPOCH) // timedelta(microseconds=1) - self._elapsed_us
        self._timers = [(round(timer.when * SECOND), number, timer) for _, number, timer in self._timers]
        heapq.heapify(self._timers)

    async def _advance_to(self, end_us: int) -> None:
        await self.settle()
        while await self._step(end_us):
            pass
        self._move_to(end_us)

    def _move_to(self, elapsed_us: int) -> None:
        self._elapsed_us = max(self._elapsed_us, elapsed_us)
        self._monotonic = max(self._monotonic, self._elapsed_us / SECOND)

    async def _step(self, end_us: int) -> bool:
        """Go to the next timer, if there is one up to `end_us`, and let what it starts come to rest."""
        while self._timers and self._timers[0][2].callback is None:
            heapq.heappop(self._timers)
        if not self._timers or self._timers[0][0] > end_us:
            return False
        self._move_to(self._timers[0][0])
        while self._timers and self._timers[0][0] <= self._elapsed_us:
            _, _, timer = heapq.heappop(self._timers)
            callback = timer.callback
            timer.cancel()
            # A whole number of microseconds may be a hair short of what was asked for.
            self._monotonic = max(self._monotonic, timer.when)
            if callback is not None:
                callback()
        await self.settle()
        return True

    # Coming to rest.

    def watch(self, busy: Callable[[], bool]) -> None:
        """Hold time up while `busy()` says so, for instance while messages are under way."""
        self._busy.append(busy)

    def unwatch(self, busy: Callable[[], bool]) -> None:
        """Undo `watch`."""
        self._busy.remove(busy)

    async def settle(self) -> None:
        """Until nothing can go on without time passing: the loop has nothing to run, and what is watched is idle, or
        is stalled and must be waiting for time itself. Raises TimeoutError after a minute of real time."""
        ready = _ready_queue()
        deadline = time.monotonic() + _REST
        stalled_since, rests = 0.0, 0
        # Twice, because the loop asks its sockets only between the two.
        while rests < 2:
            await asyncio.sleep(0)
            if ready:
                stalled_since, rests = 0.0, 0
            elif outside.under_way():
                stalled_since, rests = 0.0, 0
                await asyncio.sleep(_GLANCE)
            elif any(busy() for busy in self._busy):
                stalled_since = stalled_since or time.monotonic()
                rests = 2 if time.monotonic() - stalled_since > _STALL else 0
            else:
                rests += 1
            if time.monotonic() > deadline:
                raise TimeoutError(f"the program did not come to rest within {_REST:g} s of real time")


def _finish(future: "asyncio.Future[None]") -> None:
    if not future.done():
        future.set_result(None)


def _ready_queue() -> Any:
    """The calls that the running loop is about to make. There is no public way to ask whether a loop is idle."""
    loop = asyncio.get_running_loop()
    queue = getattr(loop, "_ready", None)
    if queue is None:
        raise RuntimeError(f"VirtualClock needs asyncio's own event loop, not {type(loop).__name__}")
    return queue
