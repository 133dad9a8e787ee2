"""The keys under `tasks:` in the defaults are those of the classes, with the classes' own defaults."""

from typing import Any

import pytest

from aico_sched.settings.layers import defaults
from aico_sched.settings.sections import TaskSettings
from aico_sched.tasks.registry import TaskRegistry

REGISTRY = TaskRegistry(use_entry_points=False)
REGISTRY.discover()
CLASSES = [
    (f"{category}.{name}", values)
    for category, tasks in defaults()["tasks"].items()
    for name, values in tasks.items()
    if f"{category}.{name}" in REGISTRY.names()
]


@pytest.mark.parametrize(("name", "values"), CLASSES)
def test_what_the_file_says_is_what_the_class_does_without_it(name: str, values: dict[str, Any]) -> None:
    task_class = REGISTRY.load(name)
    arranged = TaskSettings.model_validate(values)
    config = task_class.Config.model_validate(arranged.config)
    assert config == task_class.Config()
    assert arranged.schedule == task_class.default_schedule
    options = REGISTRY.default_options(task_class.name)
    assert {key: options.get(key) for key in arranged.options} == arranged.options
