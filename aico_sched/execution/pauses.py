"""Runs for idle hours that pause at a checkpoint while the user is there."""

import asyncio
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

from aico_sched.execution.attempt import Attempt


class _Pause:
    """One run's pause: `waiting` of its tasks stand at a checkpoint."""

    def __init__(self) -> None:
        self.over = asyncio.Event()
        self.waiting = 0


class Pauses:
    """Who pauses. It outlives restarts of the executor, as the runs do. A paused run has given its place to others and
    goes on when `resume` gives it one again, in the order in which they paused.

    Its timeout stands still for `longest` seconds of one pause; beyond, the pause counts, so that none lasts for ever.
    """

    def __init__(self, longest: float) -> None:
        self._longest = longest
        self._paused: dict[str, _Pause] = {}
        self.user_active = False

    def __len__(self) -> int:
        return len(self._paused)

    def set_user_active(self, active: bool) -> None:
        """From now on runs that come to a checkpoint pause, or do not."""
        self.user_active = active

    async def passed(self, attempt: Attempt, paused: Callable[[], None]) -> None:
        """The checkpoint of a run for idle hours. `paused` is called when it has given its place up. A run may stand at
        several checkpoints, in tasks that it has started: it pauses once, and they go on together."""
        key = attempt.start.execution_id
        while self.user_active:
            pause = self._paused.get(key)
            if pause is None:
                pause = self._paused[key] = _Pause()
                paused()
            pause.waiting += 1
            try:
                with self.uncharged(attempt):
                    await pause.over.wait()
            finally:
                pause.waiting -= 1
                if not pause.waiting and self._paused.get(key) is pause:
                    del self._paused[key]

    def uncharged(self, attempt: Attempt) -> AbstractContextManager[None]:
        """What the run waits for in the block does not count against its timeout, up to the longest pause."""
        return nullcontext() if attempt.deadline is None else attempt.deadline.standing_still(self._longest)

    def resume(self, count: int) -> None:
        """Let so many go on."""
        for key in list(self._paused)[:count]:
            self._paused.pop(key).over.set()
