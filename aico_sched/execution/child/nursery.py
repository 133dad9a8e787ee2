"""Where children come from: started when they are needed, and one ahead, since an interpreter with its modules takes
a third of a second to start."""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress

import structlog

from aico_sched.execution.child.process import ChildProcess
from aico_sched.logs import described

log = structlog.get_logger(__name__)

SPARE_FOR = 60.0
"""Seconds a child that was started ahead waits for a job before it is ended."""

_START_AFTER = 0.2
_END_GRACE = 1.0


class Nursery:
    """Hands out children of one kind, each for one job. The next is started a moment after one was taken, so that
    runs that follow one another find one ready; an idle service has none."""

    def __init__(self, environment: Callable[[], Mapping[str, str]]) -> None:
        self._environment = environment
        self._spare: ChildProcess | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False
        self._ending: set[asyncio.Task[None]] = set()

    def take(self) -> ChildProcess:
        """A child that waits for its job; the caller ends and closes it. Raises OSError if none can be started."""
        child, self._spare = self._spare, None
        if child is not None and child.ended.done():
            child.close()
            child = None
        if child is None:
            child = ChildProcess.start(self._environment())
        self._at(_START_AFTER, self._prepare)
        return child

    def _prepare(self) -> None:
        if self._spare is None:
            try:
                self._spare = ChildProcess.start(self._environment())
            except OSError as error:
                # Whoever needs a child next is told.
                log.warning("child_not_started_ahead", **described(error))
                return
        self._at(SPARE_FOR, self._dismiss)

    def _dismiss(self) -> None:
        if self._spare is not None:
            child, self._spare = self._spare, None
            task = asyncio.create_task(_end(child))
            self._ending.add(task)
            task.add_done_callback(self._ending.discard)

    def _at(self, seconds: float, call: Callable[[], None]) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if not self._closed:
            self._timer = asyncio.get_running_loop().call_later(seconds, call)

    async def close(self) -> None:
        """End the child that waits."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        self._dismiss()
        if self._ending:
            await asyncio.wait(self._ending)


async def _end(child: ChildProcess) -> None:
    """A child without a job ends by itself once its pipe is closed."""
    child.close()
    with suppress(ProcessLookupError):
        await child.end(_END_GRACE, _END_GRACE)
