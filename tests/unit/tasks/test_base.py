import dataclasses

import pytest
from pydantic import ValidationError

from aico_sched.tasks import BaseTask, EmptyConfig, TaskResult


def test_results_say_what_became_of_a_run() -> None:
    assert TaskResult.ok("done", rows=3) == TaskResult(True, "done", {"rows": 3}, False)
    assert TaskResult.failed("no") == TaskResult(False, "no", {}, False)
    assert TaskResult.skip("nothing", left=0) == TaskResult(True, "nothing", {"left": 0}, True)


def test_a_result_can_carry_a_key_named_message() -> None:
    assert TaskResult.ok("m", message="n").data == {"message": "n"}


def test_a_result_is_frozen_and_owns_its_data() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        TaskResult().success = False  # type: ignore[misc]
    assert TaskResult().data is not TaskResult().data


@pytest.mark.parametrize(
    ("returned", "result"),
    [(None, TaskResult()), ({"a": 1}, TaskResult(data={"a": 1})), (TaskResult.failed("x"), TaskResult.failed("x"))],
)
def test_what_execute_returns_becomes_a_result(returned: object, result: TaskResult) -> None:
    assert TaskResult.of(returned) == result


@pytest.mark.parametrize("returned", [1, "text", [1], True])
def test_anything_else_is_refused(returned: object) -> None:
    with pytest.raises(TypeError, match=type(returned).__name__):
        TaskResult.of(returned)


def test_the_empty_config_takes_nothing() -> None:
    with pytest.raises(ValidationError):
        EmptyConfig.model_validate({"x": 1})


def test_a_task_without_execute_cannot_be_made() -> None:
    class Lazy(BaseTask):
        name = "user.lazy"

    with pytest.raises(TypeError):
        Lazy()  # type: ignore[abstract]


def test_class_defaults_cannot_be_changed_for_everybody() -> None:
    with pytest.raises(TypeError):
        BaseTask.default_options["timeout"] = 1  # type: ignore[index]
