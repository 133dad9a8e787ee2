"""A task's stored configuration, checked against its class's model."""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ValidationError

from aico_sched.tasks.base import BaseTask
from aico_sched.tasks.errors import InvalidTaskConfig
from aico_sched.tasks.plain import NotPlain, plain_copy

_MAX_SHOWN = 5


def copy_config(name: str, config: Mapping[str, Any]) -> dict[str, Any]:
    """A deep copy of `config`; raises `InvalidTaskConfig` if it holds what JSON cannot."""
    try:
        return plain_copy(config)
    except NotPlain as error:
        raise InvalidTaskConfig(name, error.field, str(error)) from error


def bind_config(task_class: type[BaseTask], stored: Mapping[str, Any]) -> BaseModel:
    """The validated model of one run, made from a copy of `stored`. Raises `InvalidTaskConfig`, whatever the
    model's own validators raise."""
    copy = copy_config(task_class.name, stored)
    try:
        return task_class.Config.model_validate(copy)
    except ValidationError as error:
        raise _explained(task_class.name, error) from error
    except (Exception, SystemExit) as error:
        raise InvalidTaskConfig(task_class.name, "config", f"{type(error).__name__}: {error}") from error


def _explained(name: str, error: ValidationError) -> InvalidTaskConfig:
    found = error.errors(include_url=False, include_input=False, include_context=False)
    fields = [".".join(map(str, item["loc"])) or "config" for item in found]
    lines = [f"{field}: {item['msg']}" for field, item in zip(fields, found, strict=True)]
    if len(lines) > _MAX_SHOWN:
        lines[_MAX_SHOWN:] = [f"and {len(lines) - _MAX_SHOWN} more"]
    return InvalidTaskConfig(name, fields[0], "; ".join(lines))
