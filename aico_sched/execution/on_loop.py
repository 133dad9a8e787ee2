"""The environment `loop`: a task's coroutine among everything else on the service's event loop."""

from typing import Any

from aico_sched.execution.environments import Job, NoSuchEnvironment
from aico_sched.tasks.base import TaskResult
from aico_sched.tasks.blocking import BlockingTask


class LoopRunner:
    """Awaits the task where it stands."""

    slots = None

    def __init__(self) -> None:
        self._runs = 0

    async def run(self, job: Job) -> TaskResult:
        task_class = job.task_class()
        if issubclass(task_class, BlockingTask):
            raise NoSuchEnvironment(f"{task_class.name} blocks: it cannot run on the loop; choose auto or thread")
        context = job.context(task_class)
        self._runs += 1
        try:
            return TaskResult.of(await task_class().execute(context))
        finally:
            # A run's last progress is out before its end is.
            context.flush_progress()

    def report(self) -> dict[str, Any]:
        return {"runs": self._runs}

    async def close(self) -> None:
        """Nothing is held."""
