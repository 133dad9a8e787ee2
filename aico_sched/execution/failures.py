"""What a task's error says about it: its name, its text within bounds, whether trying again is any use."""

from aico_sched.execution.retry import is_permanent
from aico_sched.tasks.base import BaseTask, PermanentError
from aico_sched.tasks.errors import InvalidTaskConfig
from aico_sched.tasks.powers import NotPermitted
from aico_sched.topics import limits

PERMANENT = (ValueError, TypeError, PermanentError, InvalidTaskConfig, NotPermitted)
"""Errors after which the same attempt would fail the same way (the seeds' rule)."""


def permanent_of(error: BaseException, task_class: type[BaseTask] | None) -> bool:
    """Whether the next attempt would fail the same way, as the task's class declares it where it is known."""
    declared, transient = ((), ()) if task_class is None else (task_class.permanent_errors, task_class.transient_errors)
    return is_permanent(type(error), declared, transient, PERMANENT)


def type_name(error: BaseException) -> str:
    """The qualified name of the error's class, as it is recorded."""
    return f"{type(error).__module__}.{type(error).__qualname__}".removeprefix("builtins.")


def tail(text: str) -> str:
    """The end of a long text: of a traceback, that is where the error stands. What UTF-8 cannot say is escaped."""
    text = text.encode(errors="backslashreplace").decode()
    return text if len(text) <= limits.MAX_ERROR_CHARS else "…" + text[1 - limits.MAX_ERROR_CHARS :]
