"""Writing tasks: `from aico_sched.tasks import BaseTask, TaskContext, TaskResult`."""

from aico_sched.tasks.base import BaseTask, EmptyConfig, PermanentError, TaskResult, TransientError
from aico_sched.tasks.blocking import BlockingContext, BlockingTask
from aico_sched.tasks.context import TaskContext
from aico_sched.tasks.ports import TaskPorts
from aico_sched.tasks.powers import DatabaseFailed, DatabaseRefused, NotPermitted, TooMuchData

__all__ = [
    "BaseTask",
    "BlockingContext",
    "BlockingTask",
    "DatabaseFailed",
    "DatabaseRefused",
    "EmptyConfig",
    "NotPermitted",
    "PermanentError",
    "TaskContext",
    "TaskPorts",
    "TaskResult",
    "TooMuchData",
    "TransientError",
]
