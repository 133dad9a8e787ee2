"""A task's stored configuration, checked against its class's model."""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, JsonValue, TypeAdapter, ValidationError

from aico_sched.tasks.base import BaseTask
from aico_sched.tasks.errors import InvalidTaskConfig

_MAX_SHOWN = 5

# Validation builds new containers: the result is a deep copy that shares nothing with its source.
_JSON = TypeAdapter(dict[str, JsonValue], config=ConfigDict(allow_inf_nan=False, strict=True))


def copy_config(name: str, config: Mapping[str, Any]) -> dict[str, Any]:
    """A deep copy of `config`; raises `InvalidTaskConfig` if it holds what JSON cannot."""
    try:
        return _JSON.validate_python(dict(config))
    except ValidationError as error:
        # The path ends in the branch of the union that was tried; only its first part means anything to a person.
        field = str(error.errors(include_url=False, include_input=False)[0]["loc"][0])
        raise InvalidTaskConfig(name, field, f"{field}: not a value JSON can hold") from error


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
