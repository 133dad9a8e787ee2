"""A task class whose process dies under it."""

import os
import signal
from typing import Any

from aico_sched.tasks import BaseTask, TaskContext


class Dies(BaseTask):
    """Its process is killed in the first attempt."""

    name = "maintenance.dies"
    environment = "process"

    async def execute(self, context: TaskContext[Any]) -> dict[str, Any]:
        if context.attempt == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        return {"attempt": context.attempt}


class Raises(BaseTask):
    """Says itself that the first attempt has failed."""

    name = "maintenance.raises"
    environment = "process"

    async def execute(self, context: TaskContext[Any]) -> dict[str, Any]:
        if context.attempt == 1:
            raise OSError("not now")
        return {"attempt": context.attempt}
