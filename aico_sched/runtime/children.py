"""The child tasks of an actor. They belong to its cell, so they outlive a crash of the handlers."""

import asyncio
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

import structlog

from aico_sched.logs import described
from aico_sched.runtime.actor import Child

log = structlog.get_logger(__name__)


RELEASED = 1.0
"""Seconds a child whose end was dealt with already may take to end."""


class Children:
    """What is known of each child, by key, and the tasks that run. What a turn changes is seen by the rest of the
    turn at once; `undo` takes it back, `keep` makes it last."""

    def __init__(self, actor: str, ended: Callable[[], None]) -> None:
        self._actor, self._ended = actor, ended
        self.known: dict[str, Child] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        # Those whose key was released while they went on, and given to another.
        self._superseded: set[asyncio.Task[None]] = set()
        self._before: list[tuple[str, Child | None]] = []

    def put(self, key: str, info: Any) -> None:
        """Remember a child, its task running or still to be started."""
        self._before.append((key, self.known.get(key)))
        self.known[key] = Child(info, partial(self._cancel, key))

    def forget(self, key: str) -> None:
        """The child's end has been dealt with."""
        if key in self.known:
            self._before.append((key, self.known.pop(key)))

    def keep(self) -> None:
        """The turn has ended: its changes last."""
        self._before.clear()

    def undo(self) -> None:
        """The turn has failed: all is known as it was before."""
        for key, child in reversed(self._before):
            if child is None:
                self.known.pop(key, None)
            else:
                self.known[key] = child
        self._before.clear()

    def start(self, key: str, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run the task of a child that was put."""
        task = asyncio.create_task(work(), name=f"{self._actor}/{key}")
        if (older := self._tasks.get(key)) is not None:
            self._superseded.add(older)
        self._tasks[key] = task
        task.add_done_callback(partial(self._has_ended, key))

    def _cancel(self, key: str, reason: str) -> None:
        task = self._tasks.get(key)
        if task is not None:
            # A task that is cancelled before its first step never runs, so it could not report its end.
            asyncio.get_running_loop().call_soon(task.cancel, reason)

    def _has_ended(self, key: str, task: "asyncio.Task[None]") -> None:
        if self._tasks.get(key) is task:
            del self._tasks[key]
        self._superseded.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            # A child reports its own failures by message; one that escapes is a bug in the reporting.
            log.error("child_failed", actor=self._actor, child=key, **described(error))
        self._ended()

    async def end(self, timeout: float) -> None:
        """Cancel what still runs and wait for it, nobody being left to report to. A task that will not end is left
        behind after `timeout` seconds, one that was released before, and so given up, after `RELEASED`."""
        released = {task for key, task in self._tasks.items() if key not in self.known} | self._superseded
        kept = set(self._tasks.values()) - released
        for task in kept | released:
            task.cancel()
        for tasks, patience in ((kept, timeout), (released, min(timeout, RELEASED))):
            if tasks:
                _, deaf = await asyncio.wait(tasks, timeout=patience)
                for task in deaf:
                    log.error("child_left_behind", actor=self._actor, child=task.get_name(), timeout=patience)
        self.known.clear()
