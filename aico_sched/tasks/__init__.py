"""Writing tasks: `from aico_sched.tasks import BaseTask, TaskContext, TaskResult`."""

from aico_sched.tasks.base import BaseTask, EmptyConfig, PermanentError, TaskResult, TransientError
from aico_sched.tasks.blocking import BlockingContext, BlockingTask
from aico_sched.tasks.context import TaskContext, TaskPorts

__all__ = [
    "BaseTask",
    "BlockingContext",
    "BlockingTask",
    "EmptyConfig",
    "PermanentError",
    "TaskContext",
    "TaskPorts",
    "TaskResult",
    "TransientError",
]
