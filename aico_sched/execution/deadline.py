"""The time one attempt may take: as `asyncio.timeout`, on the service's clock, and it can stand still.

It counts cancellations as that does, in a third of its time: every attempt has one of these.
"""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self

from aico_sched.clock import Clock, Timer


class Deadline:
    """Cancels the block after `seconds`, calls `told` then, and raises TimeoutError from it; the time between `pause`
    and `go_on` does not count."""

    __slots__ = ("_cancelling", "_clock", "_due", "_left", "_over_since", "_task", "_timer", "_told")

    def __init__(self, clock: Clock, seconds: float, told: Callable[[], None] | None = None) -> None:
        self._clock, self._left, self._told = clock, seconds, told
        self._task: asyncio.Task[Any] | None = None
        self._cancelling = 0
        self._timer: Timer | None = None
        self._due = 0.0
        self._over_since: float | None = None

    def __enter__(self) -> Self:
        self._task = task = asyncio.current_task()
        if task is None:
            raise RuntimeError("a deadline is one of a task")
        self._cancelling = task.cancelling()
        self.go_on()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.pause()
        # What is told of it may hold on to what holds this.
        task, self._task, self._told = self._task, None, None
        if self._over_since is None or task is None:
            return
        # The cancellation was its own only if nobody else has asked for one, before or since.
        if task.uncancel() <= self._cancelling and kind is asyncio.CancelledError:
            raise TimeoutError from error

    def pause(self) -> None:
        """Let the time stand still. Harmless when it does."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
            self._left = self._due - self._clock.monotonic()

    def go_on(self) -> None:
        """Let what is left of the time run. Harmless when it does."""
        if self._timer is None and self._over_since is None:
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
        return self._over_since is not None

    def overdue(self) -> float:
        """Seconds since the time ran out; 0 before that. Time that stood still is none of them."""
        return 0.0 if self._over_since is None else self._clock.monotonic() - self._over_since

    def _expire(self) -> None:
        self._timer, self._left, self._over_since = None, 0.0, self._clock.monotonic()
        if self._task is not None:
            self._task.cancel()
        if self._told is not None:
            self._told()
