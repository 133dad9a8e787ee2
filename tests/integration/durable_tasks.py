"""A task class that looks at the database in its first line."""

from collections.abc import Callable
from typing import Any, ClassVar

from aico_sched.tasks import BaseTask, TaskContext


class Looks(BaseTask):
    """Tells what another connection sees of its own run; `look` is the test's, `begun` counts."""

    name = "maintenance.looks"
    begun: ClassVar[int] = 0
    look: ClassVar[Callable[..., list[tuple[Any, ...]]]]

    async def execute(self, context: TaskContext[Any]) -> dict[str, Any]:
        type(self).begun += 1
        rows = type(self).look(
            "SELECT status, attempt FROM task_executions WHERE execution_id = ?", context.execution_id
        )
        due = type(self).look("SELECT next_run FROM scheduled_tasks WHERE task_id = ?", context.task_id)
        return {"rows": [list(row) for row in rows], "next_run": due[0][0], "slot": context.scheduled_for.isoformat()}
