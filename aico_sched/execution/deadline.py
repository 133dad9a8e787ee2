"""The time one attempt may take: as `asyncio.timeout`, on the service's clock, and it can stand still."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Self

from aico_sched.clock import Clock, Timer


class Deadline:
    """Cancels the block after `seconds`, calls `told` then, and raises TimeoutError from it; the time between `pause`
    and `go_on` does not count."""

    def __init__(self, clock: Clock, seconds: float, told: Callable[[], None] | None = None) -> None:
        self._clock, self._left, self._told = clock, seconds, told
        self._limit = asyncio.timeout(None)
        self._timer: Timer | None = None
        self._due = 0.0
        self._over_since: float | None = None

    async def __aenter__(self) -> Self:
        await self._limit.__aenter__()
        self.go_on()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.pause()
        # What is told of it may hold on to what holds this.
        self._told = None
        await self._limit.__aexit__(kind, error, trace)

    def pause(self) -> None:
        """Let the time stand still. Harmless when it does."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
            self._left = self._due - self._clock.monotonic()

    def go_on(self) -> None:
        """Let what is left of the time run. Harmless when it does."""
        if self._timer is None and not self._limit.expired():
            self._due = self._clock.monotonic() + max(0.0, self._left)
            self._timer = self._clock.call_at(self._due, self._expire)

    @contextmanager
    def standing_still(self, longest: float) -> Iterator[None]:
        """Let the time stand still inside the block, for `longest` seconds at most: then it goes on."""
        self.pause()
        timer = self._clock.call_at(self._clock.monotonic() + longest, self.go_on)
        try:
            yield
        finally:
            timer.cancel()
            self.go_on()

    def expired(self) -> bool:
        """Whether the time ran out, also when the code inside swallowed the cancellation."""
        return self._limit.expired()

    def overdue(self) -> float:
        """Seconds since the time ran out; 0 before that. Time that stood still is none of them."""
        return 0.0 if self._over_since is None else self._clock.monotonic() - self._over_since

    def _expire(self) -> None:
        self._timer, self._left, self._over_since = None, 0.0, self._clock.monotonic()
        self._limit.reschedule(asyncio.get_running_loop().time())
        if self._told is not None:
            self._told()
