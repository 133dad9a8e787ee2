"""A task that asks another module."""

from typing import Any

from aico_sched.tasks import BaseTask, TaskContext


class Asks(BaseTask):
    """Returns what it is answered."""

    name = "maintenance.asks"

    async def execute(self, context: TaskContext[Any]) -> dict[str, Any]:
        return await context.request("double.ask", {"n": 21}, 20)
