"""Runs for idle hours that pause at a checkpoint while the user is there."""

import asyncio
from collections.abc import Callable

from aico_sched.clock import Clock
from aico_sched.execution.attempt import Attempt


class Pauses:
    """Who pauses. It outlives restarts of the executor, as the runs do. A paused run has given its place to others and
    goes on when `resume` gives it one again, in the order in which they paused.

    Its timeout stands still for `longest` seconds of one pause; beyond, the pause counts, so that none lasts for ever.
    """

    def __init__(self, clock: Clock, longest: float) -> None:
        self._clock, self._longest = clock, longest
        self._paused: dict[str, asyncio.Event] = {}
        self.user_active = False

    def __len__(self) -> int:
        return len(self._paused)

    def set_user_active(self, active: bool) -> None:
        """From now on runs that come to a checkpoint pause, or do not."""
        self.user_active = active

    async def passed(self, attempt: Attempt, paused: Callable[[], None]) -> None:
        """The checkpoint of a run for idle hours. `paused` is called when it has given its place up."""
        while self.user_active:
            key, resumed = attempt.start.execution_id, asyncio.Event()
            self._paused[key] = resumed
            paused()
            deadline = attempt.deadline
            try:
                if deadline is not None:
                    deadline.pause()
                    timer = self._clock.call_at(self._clock.monotonic() + self._longest, deadline.go_on)
                try:
                    await resumed.wait()
                finally:
                    if deadline is not None:
                        timer.cancel()
                        deadline.go_on()
            finally:
                self._paused.pop(key, None)

    def resume(self, count: int) -> None:
        """Let so many go on."""
        for key in list(self._paused)[:count]:
            self._paused.pop(key).set()
