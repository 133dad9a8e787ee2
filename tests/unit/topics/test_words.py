"""Refusals that people meet first say what to write instead."""

from typing import Any

import pytest
from pydantic import ValidationError

from aico_sched.topics import commands


@pytest.mark.parametrize(
    ("model", "payload", "said"),
    [
        (commands.TaskRef, {"task_id": "bad id"}, "letters, digits, _ and - in parts joined by dots"),
        (commands.TaskRef, {"task_id": "a..b"}, "such as user.backup"),
        (commands.TaskRef, {"task_id": "a\n"}, "letters, digits"),
        (commands.ExecutionList, {"since": "yesterday"}, "such as 2026-01-31T08:00:00Z"),
        (commands.ExecutionList, {"since": "1767225600"}, "such as 2026-01-31T08:00:00Z"),
        (commands.ExecutionList, {"since": 1767225600}, "such as 2026-01-31T08:00:00Z"),
        (commands.ExecutionList, {"since": "2026-01-31"}, "such as 2026-01-31T08:00:00Z"),
        (commands.ExecutionList, {"status": "foo"}, "'succeeded'"),
    ],
)
def test_a_refusal_says_what_is_wanted(model: Any, payload: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError) as refused:
        model.model_validate(payload)
    assert said in refused.value.errors()[0]["msg"]


@pytest.mark.parametrize("since", ["2026-01-31T08:00:00Z", "2026-01-31t08:00:00+01:00", "2026-01-31 08:00:00Z"])
def test_what_is_meant_is_taken(since: str) -> None:
    assert commands.ExecutionList.model_validate({"since": since, "status": "dead"}).since is not None
    assert commands.TaskRef.model_json_schema()["properties"]["task_id"]["pattern"].startswith("^[A-Za-z0-9_]")
