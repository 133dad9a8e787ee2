"""A clock that moves when told."""

import asyncio
import heapq
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from itertools import count

from aico_sched.clock import Timeout

START_US = 1_700_000_000_000_000


class FakeTimer:
    def __init__(self, callback: Callable[[], None]) -> None:
        self.callback: Callable[[], None] | None = callback

    def cancel(self) -> None:
        self.callback = None


class FakeClock:
    """Stands still until `advance`. With `hurried`, a sleep moves it at once instead of waiting."""

    def __init__(self, *, hurried: bool = False) -> None:
        self.time = 1_000.0
        self.wall_us = START_US
        self.hurried = hurried
        self.slept: list[float] = []
        self._timers: list[tuple[float, int, FakeTimer]] = []
        self._count = count()

    def now_us(self) -> int:
        return self.wall_us

    def monotonic(self) -> float:
        return self.time

    def call_at(self, when: float, callback: Callable[[], None]) -> FakeTimer:
        timer = FakeTimer(callback)
        heapq.heappush(self._timers, (when, next(self._count), timer))
        return timer

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        if self.hurried:
            self._move_to(self.time + seconds)
            await asyncio.sleep(0)
            return
        over = asyncio.Event()
        self.call_at(self.time + seconds, over.set)
        await over.wait()

    def timeout(self, seconds: float) -> AbstractAsyncContextManager[Timeout]:
        return self._timeout(seconds)

    @asynccontextmanager
    async def _timeout(self, seconds: float) -> AsyncIterator[Timeout]:
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(None) as limit:
            timer = self.call_at(self.time + seconds, lambda: limit.reschedule(loop.time()))
            try:
                yield limit
            finally:
                timer.cancel()

    async def advance(self, seconds: float) -> None:
        """Let so much time pass, every timer on the way going off at its own moment."""
        end = self.time + seconds
        await turns()
        while self._timers and self._timers[0][0] <= end:
            self._move_to(max(self.time, self._timers[0][0]))
            _, _, timer = heapq.heappop(self._timers)
            if timer.callback is not None:
                timer.callback()
                await turns()
        self._move_to(end)

    def _move_to(self, time: float) -> None:
        self.wall_us += round((time - self.time) * 1_000_000)
        self.time = time


async def turns(number: int = 20) -> None:
    """Give everything that can run a number of goes."""
    for _ in range(number):
        await asyncio.sleep(0)
