"""What a task's steps cost the loop. A step is what a coroutine does from one await to the next; nothing else on the
loop runs meanwhile, so a long step is a blocked loop.

Timing is by the monotonic clock, 50 ns a look. A thread's processor clock takes a system call (0.6 µs), so it is read
only around steps long enough to matter: `cpu_seconds` counts a step shorter than `LONG` as all work, and is up to
`MARK_EVERY` too high for a longer one.
"""

import asyncio
import contextvars
from collections.abc import Callable, Coroutine, Generator
from math import inf
from time import perf_counter, thread_time
from types import coroutine
from typing import Any, Protocol, TypeVar

from aico_sched.execution.limits import CpuLimitExceeded

Value = TypeVar("Value")

LONG = 0.001
"""Seconds from which on a step's processor time is measured."""

MARK_EVERY = 0.01
"""Seconds between two readings of the processor clock at a step's begin."""


class Meter:
    """The steps of one attempt, those of the tasks that it starts included. Seconds. `limit` is of `cpu_seconds`; once
    it is passed every further step begins with `CpuLimitExceeded`. `movable` says that it may run elsewhere as well."""

    __slots__ = ("board", "cpu_seconds", "execution_id", "limit", "longest", "movable", "seconds", "steps", "task_id")

    def __init__(
        self, board: "Board", task_id: str, execution_id: str, limit: float = inf, *, movable: bool = False
    ) -> None:
        self.board, self.task_id, self.execution_id, self.limit = board, task_id, execution_id, limit
        self.movable = movable
        self.steps = 0
        self.seconds = self.cpu_seconds = self.longest = 0.0

    @property
    def over(self) -> bool:
        """Whether it has used more than it may."""
        return self.cpu_seconds > self.limit

    def usage(self) -> dict[str, Any]:
        """As it is kept with the attempt."""
        return {
            "steps": self.steps,
            "loop_seconds": round(self.seconds, 6),
            "cpu_seconds": round(self.cpu_seconds, 6),
            "longest_step_seconds": round(self.longest, 6),
        }


class LongSteps(Protocol):
    """Who is told of long steps."""

    def __call__(self, meter: Meter, began: float, seconds: float, cpu_seconds: float) -> None:
        """A step of `meter` that took `threshold` or longer has ended; on the loop's thread, must not raise."""


class Board:
    """Whose step the loop is in, for another thread to read: `meter`, None between steps, and `since` when."""

    __slots__ = ("_cpu_mark", "_marked", "meter", "since", "tell", "threshold")

    def __init__(self, threshold: float = inf, tell: LongSteps | None = None) -> None:
        self.threshold, self.tell = threshold, tell
        self.meter: Meter | None = None
        self.since = 0.0
        self._marked, self._cpu_mark = -inf, 0.0

    def mark(self, now: float) -> None:
        """Read the processor clock, if that was some time ago."""
        if now - self._marked > MARK_EVERY:
            self._marked, self._cpu_mark = now, thread_time()

    def long_step(self, meter: Meter, began: float, seconds: float) -> float:
        """The processor time of a long step that has just ended."""
        cpu = thread_time()
        used = min(seconds, cpu - self._cpu_mark)
        self._marked, self._cpu_mark = began + seconds, cpu
        if seconds >= self.threshold and self.tell is not None:
            self.tell(meter, began, seconds, used)
        return used


@coroutine
def metered(work: Coroutine[Any, Any, Value], meter: Meter) -> Generator[Any, Any, Value]:
    """Await `work`, each of its steps on `meter`. Raises what it raises."""
    board, send = meter.board, work.send
    value: Any = None
    error: BaseException | None = None
    while True:
        began = perf_counter()
        if began - board._marked > MARK_EVERY:
            board.mark(began)
        board.since = began
        board.meter = meter
        try:
            if error is None:
                awaited = send(value)
            else:
                thrown, error = error, None
                awaited = work.throw(thrown)
        except StopIteration as stop:
            result: Value = stop.value
            return result
        finally:
            board.meter = None
            seconds = perf_counter() - began
            meter.steps += 1
            meter.seconds += seconds
            meter.longest = max(meter.longest, seconds)
            meter.cpu_seconds += seconds if seconds < LONG else board.long_step(meter, began, seconds)
        try:
            value = yield awaited
        except GeneratorExit:
            work.close()
            raise
        except BaseException as given:
            error = given
        else:
            if meter.cpu_seconds > meter.limit:
                error = CpuLimitExceeded(meter.limit)


async def _metered(work: Coroutine[Any, Any, Value], meter: Meter) -> Value:
    """As a coroutine proper: a task takes nothing else from Python 3.12 on."""
    return await metered(work, meter)


METER: contextvars.ContextVar[Meter | None] = contextvars.ContextVar("aico_sched_meter", default=None)
"""The meter of the attempt whose code runs; the tasks that it starts inherit it."""

Factory = Callable[..., "asyncio.Future[Any]"]


def task_factory(before: Factory | None) -> Factory:
    """A task factory that puts the tasks an attempt starts on its meter and leaves all others to `before`, the loop's
    factory so far."""

    def make(loop: asyncio.AbstractEventLoop, work: Any, **options: Any) -> "asyncio.Future[Any]":
        context = options.get("context")
        meter = METER.get() if context is None else context.get(METER)
        if meter is not None and asyncio.iscoroutine(work):
            work = _metered(work, meter)
        return asyncio.Task(work, loop=loop, **options) if before is None else before(loop, work, **options)

    return make
