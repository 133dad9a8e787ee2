"""What there is to know of every task class, for people and programs."""

from collections.abc import Callable
from typing import Any

from pydantic import BaseModel
from pydantic_core import PydanticUndefined, to_jsonable_python

from aico_sched.security import permissions
from aico_sched.tasks.catalogue import Arranged
from aico_sched.tasks.errors import TaskClassUnavailable
from aico_sched.tasks.registry import TaskRegistry


def overview(registry: TaskRegistry, arranged: Callable[[str], Arranged]) -> list[dict[str, Any]]:
    """Every class by name: `{name, description, schedule, enabled, permissions, options, config, problem}`. Loads their
    code; one that cannot be loaded has a `problem`. `schedule` is when it runs by itself, None if it does not."""
    found = []
    for view in registry.describe():
        name = view["name"]
        plan = arranged(name)
        one: dict[str, Any] = {
            "name": name,
            "description": view["description"],
            "schedule": None,
            "enabled": plan.enabled,
            "permissions": sorted(permissions.capabilities(name)),
            "options": {},
            "config": [],
            "problem": view["problem"],
        }
        try:
            task_class = registry.load(name)
        except TaskClassUnavailable as error:
            one["problem"] = error.problem
        else:
            if registry.is_system(name):
                one["schedule"] = plan.schedule or task_class.default_schedule
            one["options"] = {**registry.default_options(name), **plan.options}
            one["config"] = config_keys(task_class.Config)
        found.append(one)
    return found


def config_keys(model: type[BaseModel]) -> list[dict[str, Any]]:
    """The keys of a configuration model: `{name, required, default, description}`."""
    keys = []
    for name, field in model.model_fields.items():
        default = field.get_default(call_default_factory=True, validated_data={})
        keys.append(
            {
                "name": name,
                "required": field.is_required(),
                "default": None if default is PydanticUndefined else to_jsonable_python(default, fallback=str),
                "description": field.description or "",
            }
        )
    return keys
