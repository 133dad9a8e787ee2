"""The environment `thread`: a blocking task in a thread of a bounded pool; a coroutine there on a loop of its own."""

import asyncio
import sys
from contextlib import suppress
from typing import Any, Protocol

from aico_sched.execution.environments import Job
from aico_sched.execution.limits import CpuLimitExceeded
from aico_sched.execution.relay import relayed
from aico_sched.execution.thread_pool import ThreadPool, Work
from aico_sched.tasks.base import BaseTask, TaskResult
from aico_sched.tasks.blocking import BlockingContext, BlockingTask

SWITCH_EVERY = 0.001
"""Seconds for which a thread may keep the interpreter when another wants it; Python's own default is 0.005."""

LEAST_LOOK = 0.05
"""Seconds between two looks at a thread's processor time."""


class _Body(Protocol):
    """What a thread runs, and how it is asked to end."""

    def __call__(self) -> Any: ...

    def cancel(self) -> None: ...


class ThreadRunner:
    """At most `size` threads work at once; `cancel_grace` is how long, in seconds, one that was cancelled may take to
    end. After that it is given up: it goes on for as long as it likes, but its slot is free again."""

    def __init__(self, size: int, cancel_grace: float) -> None:
        self._size, self._grace = size, cancel_grace
        self.slots = asyncio.Semaphore(size)
        self._pool = ThreadPool()
        self._runs = self._given_up = self._working = 0
        self._usual = 0.0

    async def run(self, job: Job) -> TaskResult:
        task_class = job.task_class()
        context = job.context(task_class)
        loop = asyncio.get_running_loop()
        body: _Body
        if issubclass(task_class, BlockingTask):
            body = _Blocking(task_class, BlockingContext(context, loop))
        else:
            job.ports = relayed(job.ports, loop)
            body = _OwnLoop(task_class, job)
        self._runs += 1
        self._quicken(1)
        work = self._pool.start(body)
        try:
            return TaskResult.of(await self._wait(work, body, job))
        finally:
            self._quicken(-1)
            job.usage["cpu_seconds"] = round(work.cpu_seconds, 6)
            context.flush_progress()

    def _quicken(self, change: int) -> None:
        """While threads work, let the loop have the interpreter back within a millisecond instead of five."""
        self._working += change
        if self._working == 1 and change > 0:
            self._usual = sys.getswitchinterval()
            sys.setswitchinterval(min(self._usual, SWITCH_EVERY))
        elif self._working == 0:
            sys.setswitchinterval(self._usual)

    async def _wait(self, work: Work, body: _Body, job: Job) -> Any:
        limit = (job.start.limits or {}).get("cpu_seconds")
        try:
            if limit is None:
                await asyncio.wait([work.done])
            elif await _used_up(work, limit):
                await self._end(work, body, job)
                raise CpuLimitExceeded(limit)
        except asyncio.CancelledError:
            await self._end(work, body, job)
            raise
        return work.done.result()

    async def _end(self, work: Work, body: _Body, job: Job) -> None:
        """Ask the work to end and wait for that, at most the grace time; the caller may be cancelled meanwhile."""
        body.cancel()
        if not await self._ends(work):
            self._given_up += 1
            self._pool.give_up(work)
            job.usage["abandoned"] = True

    async def _ends(self, work: Work) -> bool:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._grace
        while not work.done.done() and (left := deadline - loop.time()) > 0:
            with suppress(asyncio.CancelledError):
                await asyncio.wait([work.done], timeout=left)
        if work.done.done() and not work.done.cancelled():
            # Looked at, so that asyncio does not report it as lost.
            work.done.exception()
        return work.done.done()

    def report(self) -> dict[str, Any]:
        return {
            "runs": self._runs,
            "size": self._size,
            "threads": self._pool.threads,
            "given_up": self._given_up,
            "given_up_running": self._pool.given_up,
        }

    async def close(self) -> None:
        self._pool.close()


class _Blocking:
    """`run` of a blocking task."""

    def __init__(self, task_class: type[BlockingTask], context: BlockingContext[Any]) -> None:
        self._task_class, self._context = task_class, context

    def __call__(self) -> Any:
        return self._task_class().run(self._context)

    def cancel(self) -> None:
        self._context.cancel()


class _OwnLoop:
    """`execute` of any task, on an event loop of the thread's own; its context reaches the service's loop."""

    def __init__(self, task_class: type[BaseTask], job: Job) -> None:
        self._task_class, self._job = task_class, job
        self._cancelled = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[Any] | None = None

    def __call__(self) -> Any:
        with asyncio.Runner() as runner:
            return runner.run(self._execute())

    async def _execute(self) -> Any:
        self._loop, self._task = asyncio.get_running_loop(), asyncio.current_task()
        if self._cancelled:
            raise asyncio.CancelledError
        context = self._job.context(self._task_class)
        try:
            return await self._task_class().execute(context)
        finally:
            context.flush_progress()

    def cancel(self) -> None:
        self._cancelled = True
        if self._loop is not None and self._task is not None:
            # The loop is closed between the task's end and that of the thread.
            with suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._task.cancel)


async def _used_up(work: Work, limit: float) -> bool:
    """Wait until the work is done, or its thread has used `limit` seconds of processor time: then true."""
    while not work.done.done():
        left = limit - work.cpu_seconds
        if left <= 0:
            return True
        # It cannot use them up any faster than time goes by.
        await asyncio.wait([work.done], timeout=max(LEAST_LOOK, left))
    return False
