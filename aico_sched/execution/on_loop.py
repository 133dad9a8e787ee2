"""The environment `loop`: a task's coroutine among everything else on the service's event loop, each step timed."""

import asyncio
from math import inf
from typing import Any

from aico_sched.execution.environments import Job, NoSuchEnvironment
from aico_sched.execution.limits import CpuLimitExceeded
from aico_sched.execution.metering import METER, Factory, Meter, metered, task_factory
from aico_sched.execution.watch import LoopWatch
from aico_sched.tasks.base import TaskResult
from aico_sched.tasks.blocking import BlockingTask


class LoopRunner:
    """Awaits the task where it stands, under the eyes of `watch`."""

    slots = None

    def __init__(self, watch: LoopWatch) -> None:
        self._watch, self._board = watch, watch.board
        self._loop: asyncio.AbstractEventLoop | None = None
        self._factory: Factory | None = None
        self._factory_before: Any = None
        self._runs = 0

    async def run(self, job: Job) -> TaskResult:
        task_class, start = job.task_class(), job.start
        if issubclass(task_class, BlockingTask):
            raise NoSuchEnvironment(f"{task_class.name} blocks: it cannot run on the loop; choose auto or thread")
        if self._loop is None:
            self._meter_children(asyncio.get_running_loop())
        context = job.context(task_class)
        limit = start.limits.get("cpu_seconds") if start.limits else None
        movable = start.environment == "auto" and task_class.environment == "auto"
        meter = Meter(self._board, start.task_id, start.execution_id, limit or inf, movable=movable)
        METER.set(meter)
        self._runs += 1
        self._watch.enter()
        try:
            result = TaskResult.of(await metered(task_class().execute(context), meter))
        finally:
            self._watch.leave()
            METER.set(None)
            job.usage.update(meter.usage())
            # A run's last progress is out before its end is.
            context.flush_progress()
        if meter.over:
            raise CpuLimitExceeded(meter.limit)
        return result

    def _meter_children(self, loop: asyncio.AbstractEventLoop) -> None:
        """What a task starts with `create_task`, `gather` and the like counts as its own."""
        self._loop, self._factory_before = loop, loop.get_task_factory()
        self._factory = task_factory(self._factory_before)
        loop.set_task_factory(self._factory)

    def report(self) -> dict[str, Any]:
        return {"runs": self._runs}

    async def close(self) -> None:
        """Leave the loop as it was found, unless somebody has put another factory on top."""
        if self._loop is not None and self._loop.get_task_factory() is self._factory:
            self._loop.set_task_factory(self._factory_before)
        self._loop = None
