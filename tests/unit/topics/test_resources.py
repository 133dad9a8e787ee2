"""What a task may ask of a cluster's workers is bounded."""

import pytest
from pydantic import ValidationError

from aico_sched.topics.commands import TaskCreate


@pytest.mark.parametrize(
    "resources",
    [
        {f"r{number}": 1 for number in range(17)},
        {"x" * 65: 1},
        {"": 1},
        {"GPU": 0},
        {"GPU": 1e10},
        {"GPU": float("inf")},
        {"GPU": float("nan")},
    ],
)
def test_resources_that_are_too_many_too_long_or_no_amount(resources: dict[str, float]) -> None:
    with pytest.raises(ValidationError, match="resources"):
        TaskCreate(task_id="user.x", schedule="@daily", resources=resources)


def test_as_many_as_there_may_be() -> None:
    resources = {f"{number:064}": 1e9 for number in range(16)}
    assert TaskCreate(task_id="user.x", schedule="@daily", resources=resources).resources == resources
