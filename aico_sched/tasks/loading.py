"""Imports a task class and checks that it is one. Whatever its module does on import, one exception type comes out."""

import importlib
import inspect
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import Any, get_args

from pydantic import BaseModel, PydanticUserError, ValidationError

from aico_sched.tasks import user_code
from aico_sched.tasks.base import BaseTask
from aico_sched.tasks.blocking import BlockingTask
from aico_sched.topics.commands import Environment, TaskOptions


class LoadProblem(Exception):
    """A class that cannot be used; the message says why."""


def import_module(name: str) -> ModuleType:
    """The module `name`; raises `LoadProblem` whatever it raises."""
    return guarded(lambda: importlib.import_module(name))


def import_user_module(folder: Path, file: Path) -> ModuleType:
    """The module of a code file, made from the file as it is now; raises `LoadProblem`."""
    try:
        user_code.check_folder(folder)
        code = user_code.read_code(file)
    except (user_code.RefusedCode, OSError) as error:
        raise LoadProblem(f"{file}: {error}") from error
    return guarded(lambda: user_code.import_code(code))


def guarded(load: Callable[[], ModuleType]) -> ModuleType:
    """What `load` returns; raises `LoadProblem` whatever it raises."""
    try:
        return load()
    except BaseException as error:
        # SystemExit, KeyboardInterrupt and the panics of native modules too: code that is only being looked at
        # must not end the service.
        raise LoadProblem(f"importing it failed with {type(error).__name__}: {error}") from error


def checked_class(module: ModuleType, attribute: str, name: str) -> type[BaseTask]:
    """The task class `attribute` of `module`, which must call itself `name`; raises `LoadProblem`."""
    value: Any = module
    for part in attribute.split("."):
        value = getattr(value, part, None)
    if not (isinstance(value, type) and issubclass(value, BaseTask)):
        raise LoadProblem(f"{module.__name__}.{attribute} is not a class that derives from BaseTask")
    problem = _problem(value, name)
    if problem is not None:
        raise LoadProblem(problem)
    return value


@lru_cache(maxsize=256)
def class_options(task_class: type[BaseTask]) -> Mapping[str, Any]:
    """The class's default options as `TaskOptions` fields, JSON-able; raises ValidationError if they are none."""
    return MappingProxyType(checked_options(task_class.default_options))


def checked_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """`options` as `TaskOptions` fields, JSON-able; raises ValidationError if they are none."""
    return TaskOptions.model_validate(dict(options)).model_dump(mode="json", exclude_unset=True)


def place_of(task_class: type[BaseTask]) -> str:
    """Where runs of the class go that ask for no place; `auto` is the loop."""
    blocks = task_class.environment == "auto" and issubclass(task_class, BlockingTask)
    return "thread" if blocks else task_class.environment


def config_schema(task_class: type[BaseTask]) -> dict[str, Any] | None:
    """The JSON Schema of the class's configuration; None for a model that has none."""
    try:
        return task_class.Config.model_json_schema()
    except PydanticUserError:
        return None


def _problem(task_class: type[BaseTask], name: str) -> str | None:
    """What makes the class unusable; None if nothing does."""
    if getattr(task_class, "name", None) != name:
        return f"the class names itself {getattr(task_class, 'name', None)!r}, not {name!r}"
    if not inspect.iscoroutinefunction(task_class.execute):
        return "execute must be a coroutine function (async def); code that blocks goes into `run` of a BlockingTask"
    if inspect.isabstract(task_class):
        return f"it is abstract: {', '.join(sorted(task_class.__abstractmethods__))} missing"
    if not (isinstance(task_class.Config, type) and issubclass(task_class.Config, BaseModel)):
        return "Config must be a pydantic model class"
    return _environment_problem(task_class) or _settings_problem(task_class) or _construction_problem(task_class)


def _environment_problem(task_class: type[BaseTask]) -> str | None:
    environment: object = task_class.environment
    if environment not in get_args(Environment):
        return f"environment must be one of {', '.join(get_args(Environment))}"
    if issubclass(task_class, BlockingTask):
        if inspect.iscoroutinefunction(task_class.run):
            return "run of a BlockingTask must be a plain function (def)"
        if task_class.execute is not BlockingTask.execute:
            return "a BlockingTask has run and no execute of its own"
        if environment == "loop":
            return "a BlockingTask cannot run on the loop"
    return None


def _settings_problem(task_class: type[BaseTask]) -> str | None:
    schedule: object = task_class.default_schedule
    if not (schedule is None or isinstance(schedule, str)):
        return "default_schedule must be a string or None"
    for name in ("permanent_errors", "transient_errors"):
        errors: object = getattr(task_class, name)
        if not isinstance(errors, tuple) or not all(
            isinstance(e, type) and issubclass(e, BaseException) for e in errors
        ):
            return f"{name} must be a tuple of exception types"
    try:
        class_options(task_class)
    except (ValidationError, TypeError, ValueError) as error:
        return f"default_options are not task options: {error}"
    return None


def _construction_problem(task_class: type[BaseTask]) -> str | None:
    try:
        inspect.signature(task_class).bind()
    except (TypeError, ValueError):
        return "its constructor must take no arguments"
    return None
