"""What a manifest changes, and what it leaves alone."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aico_sched.client.manifest import Manifest, ManifestError, plan, read_manifest
from aico_sched.topics.commands import TaskCreate
from aico_sched.topics.views import TaskView

TAGGED = {"tags": ["applied.home"]}


def manifest(*tasks: dict[str, Any]) -> Manifest:
    return read_manifest({"name": "home", "tasks": list(tasks)})


def there(task_id: str, schedule: str = "@daily", **fields: Any) -> TaskView:
    known: dict[str, Any] = {
        "task_class": "demo.echo",
        "timezone": "UTC",
        "config": {},
        "options": TAGGED,
        "state": "active",
        "note": None,
        "enabled": True,
        "protected": False,
        "created_by": "admin",
        "created_at": "2026-01-01T00:00:00Z",
        "updated_at": "2026-01-01T00:00:00Z",
        "last_run": None,
        "next_run": None,
        "run_count": 0,
        "revision": 1,
    }
    return TaskView.model_validate({"task_id": task_id, "schedule": schedule, **known, **fields})


def test_a_task_that_is_not_there_is_created_with_the_manifests_tag() -> None:
    (step,) = plan(manifest({"task_id": "user.a", "schedule": "@daily", "tags": ["red"]}), [], prune=False)
    assert step.action == "create"
    assert step.payload == {"task_id": "user.a", "schedule": "@daily", "tags": ["applied.home", "red"]}


def test_what_does_not_stand_in_the_manifest_is_left_alone() -> None:
    task = there("user.a", config={"x": 1}, options={**TAGGED, "timeout": 9.0}, enabled=False)
    (step,) = plan(manifest({"task_id": "user.a", "schedule": " @daily "}), [task], prune=True)
    assert (step.action, step.changes) == ("keep", {})


def test_each_field_that_differs_is_shown_and_sent() -> None:
    wanted = {"task_id": "user.a", "schedule": "@hourly", "timeout": 5.0, "config": {"x": 2}, "enabled": False}
    (step,) = plan(manifest(wanted), [there("user.a", config={"x": 1})], prune=False)
    assert step.action == "update"
    assert step.changes == {
        "schedule": ("@daily", "@hourly"),
        "timeout": (None, 5.0),
        "config": ({"x": 1}, {"x": 2}),
        "enabled": (True, False),
    }
    assert step.payload["timeout"] == 5.0


def test_null_puts_an_option_back_and_counts_as_its_default() -> None:
    wanted = {"task_id": "user.a", "schedule": "@daily", "timeout": None}
    (step,) = plan(manifest(wanted), [there("user.a", options={**TAGGED, "timeout": 9.0})], prune=False)
    assert step.changes == {"timeout": (9.0, None)}
    assert step.payload == {"task_id": "user.a", "timeout": None}
    (step,) = plan(manifest(wanted), [there("user.a")], prune=False)
    assert step.action == "keep"


def test_a_task_that_was_there_before_is_taken_into_the_manifest() -> None:
    task = there("user.a", options={"tags": ["red"]})
    (step,) = plan(manifest({"task_id": "user.a", "schedule": "@daily"}), [task], prune=False)
    assert step.changes == {"tags": (["red"], ["applied.home", "red"])}


def test_only_prune_deletes_and_only_what_the_manifest_brought() -> None:
    tasks = [
        there("user.a"),
        there("user.b"),
        there("user.other", options={}),
        there("maintenance.x", protected=True),
    ]
    wanted = manifest({"task_id": "user.a", "schedule": "@daily"})
    assert [step.action for step in plan(wanted, tasks, prune=False)] == ["keep"]
    steps = plan(wanted, tasks, prune=True)
    assert [(step.action, step.task_id) for step in steps] == [("keep", "user.a"), ("delete", "user.b")]


def test_a_system_task_is_arranged_but_not_taken_over() -> None:
    task = there("maintenance.x", protected=True, options={})
    (step,) = plan(manifest({"task_id": "maintenance.x", "schedule": "@hourly"}), [task], prune=True)
    assert set(step.changes) == {"schedule"}


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (None, "the file:"),
        ({"tasks": []}, "name:"),
        ({"name": "home", "tasks": [{"task_id": "user.a"}]}, "tasks[0].schedule:"),
        ({"name": "home", "tasks": [{"task_id": "user.a", "schedule": "@daily", "shedule": 1}]}, "tasks[0].shedule:"),
        ({"name": "home", "tasks": [{"task_id": "user.a", "schedule": "@daily"}] * 2}, "user.a stands in it twice"),
    ],
)
def test_what_cannot_be_right_is_said_with_its_place(content: object, problem: str) -> None:
    with pytest.raises(ManifestError) as raised:
        read_manifest(content)
    assert raised.value.problems[0].startswith(problem)


VALUES = st.fixed_dictionaries(
    {"schedule": st.sampled_from(["@daily", "*/5 * * * *"])},
    optional={
        "config": st.dictionaries(st.sampled_from("ab"), st.integers()),
        "timeout": st.none() | st.floats(1, 100),
        "tags": st.lists(st.sampled_from(["red", "blue"]), max_size=4),
        "misfire": st.sampled_from(["latest", "all"]),
        "enabled": st.booleans(),
    },
)


@given(VALUES, VALUES)
def test_after_the_step_nothing_is_left_to_do(first: dict[str, Any], second: dict[str, Any]) -> None:
    task = there("user.a")
    for wanted in (first, second):
        whole = manifest({"task_id": "user.a", **wanted})
        (step,) = plan(whole, [task], prune=True)
        task = after(task, step.payload)
        (again,) = plan(whole, [task], prune=True)
        assert again.action == "keep"


def after(task: TaskView, payload: dict[str, Any]) -> TaskView:
    """The task as the service would have it."""
    own = {name: payload[name] for name in ("schedule", "config", "enabled") if name in payload}
    options = {
        name: value for name, value in payload.items() if name not in own and name != "task_id" and value is not None
    }
    kept = {name: value for name, value in task.options.items() if name not in payload}
    TaskCreate.model_validate({"task_id": task.task_id, "schedule": "@daily", **options})
    return task.model_copy(update={**own, "options": {**kept, **options}})


def test_a_secret_is_sent_again_because_nobody_can_tell_whether_it_is_the_same() -> None:
    wanted = {"task_id": "user.a", "schedule": "@daily", "config": {"token": "t", "x": 1}}
    (step,) = plan(manifest(wanted), [there("user.a", config={"token": "********", "x": 1})], prune=False)
    assert step.payload["config"] == {"token": "t", "x": 1}
