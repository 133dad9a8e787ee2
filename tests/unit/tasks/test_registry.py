import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from aico_sched.tasks import BaseTask
from aico_sched.tasks.errors import (
    InvalidTaskConfig,
    TaskClassUnavailable,
    UnknownTaskClass,
)
from aico_sched.tasks.registry import SystemTask, TaskRegistry
from aico_sched.topics.commands import TaskOptions
from aico_sched.topics.views import TaskClassView

Put = Callable[[Path, str], Path]
Source = Callable[..., str]


def registry(*modules: str, **how: Any) -> TaskRegistry:
    made = TaskRegistry(modules, use_entry_points=False, **how)
    made.discover()
    return made


def test_it_is_empty_until_it_searched() -> None:
    made = TaskRegistry()
    assert made.names() == []
    assert "bus.publish" in made.discover().added


def test_the_built_in_classes_are_all_sound() -> None:
    made = registry("aico_sched.tasks")
    assert {"bus.publish", "bus.request", "demo.echo", "maintenance.log_cleanup"} <= set(made.names())
    for name in made.names():
        assert made.load(name).name == name
    assert all(TaskClassView.model_validate(view).config_schema is not None for view in made.describe())


def test_a_class_is_imported_when_first_needed(library: Path, put: Put, source: Source) -> None:
    put(library / "late.py", source("acme.late"))
    made = registry("late")
    assert "late" not in sys.modules
    [view] = made.describe()
    assert (view["available"], view["description"], view["config_schema"]) == (True, "Does acme.late.", None)
    assert issubclass(made.load("acme.late"), BaseTask)
    assert made.describe()[0]["config_schema"] is not None


def test_an_unknown_class_comes_with_a_suggestion() -> None:
    with pytest.raises(UnknownTaskClass, match=r"did you mean 'demo\.echo'") as caught:
        registry("aico_sched.tasks.demo").load("demo.ecko")
    assert caught.value.suggestion == "demo.echo"
    assert caught.value.known == ("demo.echo", "demo.fail", "demo.sleep")


def test_nothing_alike_means_no_suggestion() -> None:
    with pytest.raises(UnknownTaskClass) as caught:
        registry("aico_sched.tasks.demo").load("zzz")
    assert caught.value.suggestion is None
    assert "did you mean" not in str(caught.value)


@pytest.mark.parametrize(
    "bomb",
    [
        "1 / 0",
        "raise SystemExit(3)",
        "raise KeyboardInterrupt",
        "import nothing_like_it",
        "raise GeneratorExit",
        "import asyncio; raise asyncio.CancelledError",
    ],
)
def test_whatever_happens_on_import_one_error_comes_out(library: Path, put: Put, source: Source, bomb: str) -> None:
    put(library / "bomb.py", source("acme.bomb", before=bomb))
    made = registry("bomb")
    with pytest.raises(TaskClassUnavailable, match="importing it failed"):
        made.load("acme.bomb")
    [view] = made.describe()
    assert not view["available"]
    assert view["problem"].startswith("importing it failed")


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ("def execute(self, context): ...\n    run = BaseTask", "abstract|coroutine"),
        ("Config = dict", "pydantic"),
        ("Config = None", "pydantic"),
        ("default_schedule = 5", "default_schedule"),
        ("permanent_errors = ValueError", "permanent_errors"),
        ("permanent_errors = ('x',)", "permanent_errors"),
        ("transient_errors = (int,)", "transient_errors"),
        ("default_options = {'timeout': -1}", "default_options"),
        ("default_options = {'wat': 1}", "default_options"),
        ("default_options = 7", "default_options"),
        ("def __init__(self, needed): ...", "no arguments"),
    ],
)
def test_a_class_that_is_no_proper_task_is_unavailable(
    library: Path, put: Put, source: Source, body: str, problem: str
) -> None:
    text = source("acme.odd", body=body)
    if body.startswith("def execute"):
        text = text.replace("async def execute", "async def unused")
    put(library / "odd.py", text)
    with pytest.raises(TaskClassUnavailable, match=problem):
        registry("odd").load("acme.odd")


def test_a_class_without_execute_is_unavailable(library: Path, put: Put, source: Source) -> None:
    put(library / "odd.py", source("acme.odd").replace("async def execute", "async def other"))
    with pytest.raises(TaskClassUnavailable, match="abstract: execute missing"):
        registry("odd").load("acme.odd")


@pytest.mark.parametrize(
    ("after", "problem"),
    [
        ("ATask.name = 'acme.renamed'", "names itself 'acme.renamed'"),
        ("ATask = 3", "not a class that derives"),
        ("del ATask", "not a class that derives"),
        ("class ATask: name = 'acme.odd'", "not a class that derives"),
    ],
)
def test_the_class_must_be_what_its_source_said(
    library: Path, put: Put, source: Source, after: str, problem: str
) -> None:
    put(library / "odd.py", source("acme.odd") + after)
    with pytest.raises(TaskClassUnavailable, match=problem):
        registry("odd").load("acme.odd")


def test_a_category_can_be_switched_off() -> None:
    made = registry(
        "aico_sched.tasks",
        categories={
            "demo": False,
            "maintenance": False,
            "security": False,
            "agency": False,
            "notify": False,
            "bus": True,
        },
    )
    assert made.names() == ["bus.publish", "bus.request"]
    assert made.defaults() == []
    assert not made.is_system("maintenance.log_cleanup")
    with pytest.raises(TaskClassUnavailable, match="category 'demo' is switched off"):
        made.load("demo.echo")
    view = next(view for view in made.describe() if view["name"] == "demo.echo")
    assert not view["available"]
    assert "aico_sched.tasks.demo" in view["module"]


def test_the_cache_is_bounded_and_counts(library: Path, put: Put, source: Source) -> None:
    put(library / "many.py", "".join(source(f"acme.t{number}", f"T{number}Task") for number in range(3)))
    made = registry("many", cache_size=2)
    for name in ("acme.t0", "acme.t1", "acme.t0", "acme.t2", "acme.t0", "acme.t1"):
        made.load(name)
    assert made.cache_stats() == {"hits": 2, "misses": 4, "size": 2, "maxsize": 2}


def test_installed_code_that_changed_needs_a_restart(library: Path, put: Put, source: Source) -> None:
    file = put(library / "steady.py", source("acme.steady"))
    made = registry("steady")
    loaded = made.load("acme.steady")
    put(file, source("acme.steady", body="value = 2"))
    for _ in range(2):
        changes = made.discover()
        assert changes.changed == []
        assert "restart" in changes.problems["steady"]
    assert made.load("acme.steady") is loaded


def test_configuration_is_validated_and_copied_as_it_was_given() -> None:
    made = registry("aico_sched.tasks")
    config = {"topic": "a.b", "payload": {"n": [1]}}
    checked = made.validate_config("bus.publish", config)
    assert checked == config
    assert checked["payload"] is not config["payload"]
    with pytest.raises(InvalidTaskConfig) as caught:
        made.validate_config("bus.publish", {"topic": "scheduler.task.delete"})
    assert caught.value.field == "topic"
    with pytest.raises(UnknownTaskClass):
        made.validate_config("bus.nothing", {})


def test_system_tasks_exist_by_themselves(library: Path, put: Put, source: Source) -> None:
    plan = 'default_schedule = "@daily"\n    default_options = {"timeout": 5, "idle_only": True}'
    put(library / "extra.py", source("acme.own", "A", plan) + source("security.extra", "B", plan))
    made = registry("aico_sched.tasks", "extra")
    tasks = {task.task_id: task for task in made.defaults()}
    schedules = {name: task.schedule for name, task in tasks.items()}
    assert schedules["maintenance.health_check"] == "*/5 * * * *"
    assert schedules["security.extra"] == "@daily" and "acme.own" not in schedules
    expected = SystemTask(
        "security.extra", "security.extra", "@daily", "Does security.extra.", {"timeout": 5.0, "idle_only": True}
    )
    assert tasks["security.extra"] == expected
    assert TaskOptions.model_validate(expected.options)
    assert [made.is_system(name) for name in ("security.extra", "acme.own", "demo.echo", "nothing")] == [
        True,
        False,
        False,
        False,
    ]
    assert made.default_options("acme.own") == {"timeout": 5.0, "idle_only": True}


def test_a_schedule_only_importing_tells_counts_too(library: Path, put: Put, source: Source) -> None:
    put(library / "extra.py", source("security.a", "A", "default_schedule = '@' + 'daily'"))
    assert [task.schedule for task in registry("extra").defaults()] == ["@daily"]


def test_a_broken_system_task_is_left_out_and_said(library: Path, put: Put, source: Source) -> None:
    put(library / "extra.py", source("security.a", "A", "default_schedule = '@daily'", before="1 / 0"))
    made = registry("extra")
    assert made.defaults() == []
    assert "ZeroDivisionError" in made.describe()[0]["problem"]
