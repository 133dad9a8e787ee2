"""The child's part: the code a job names, found where the parent found it."""

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from aico_sched.execution.child.wire import CallFunction, Job
from aico_sched.tasks import user_code
from aico_sched.tasks.base import BaseTask
from aico_sched.tasks.errors import TaskClassUnavailable
from aico_sched.tasks.loading import LoadProblem, checked_class, guarded, import_module


def task_class_of(job: Job) -> Callable[[], type[BaseTask]]:
    """A function that imports the job's class. A file in the user-task folder is read and checked right away.

    The function raises `TaskClassUnavailable`, as this one does for a file that must not be run.
    """
    try:
        if job.path is None or job.folder is None:
            return lambda: _class(job, lambda: import_module(job.module))
        code = _read(job.folder, job.path)
        return lambda: _class(job, lambda: guarded(lambda: user_code.import_code(code)))
    except (user_code.RefusedCode, OSError) as error:
        raise TaskClassUnavailable(job.task_class, f"{job.path}: {error}") from error


def function_of(job: CallFunction) -> Callable[..., Any]:
    """The function the job names. Raises what importing its module raises, AttributeError if it has none."""
    if job.path is not None and job.folder is not None:
        found: Any = user_code.import_code(_read(job.folder, job.path))
    else:
        found = importlib.import_module(job.module)
    for part in job.attribute.split("."):
        found = getattr(found, part)
    return found  # type: ignore[no-any-return]


def _read(folder: str, path: str) -> user_code.UserCode:
    user_code.check_folder(Path(folder))
    return user_code.read_code(Path(path))


def _class(job: Job, load: Callable[[], Any]) -> type[BaseTask]:
    try:
        return checked_class(load(), job.attribute, job.task_class)
    except LoadProblem as error:
        raise TaskClassUnavailable(job.task_class, str(error)) from error
