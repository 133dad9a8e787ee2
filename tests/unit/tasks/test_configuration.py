import math
from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator

from aico_sched.tasks import BaseTask
from aico_sched.tasks.configuration import bind_config, copy_config
from aico_sched.tasks.errors import InvalidTaskConfig


class Sample(BaseTask):
    name = "user.sample"

    class Config(BaseModel):
        model_config = ConfigDict(extra="forbid")

        days: int = Field(default=30, ge=1)
        tree: dict[str, Any] = Field(default_factory=dict)
        token: SecretStr | None = None
        odd: str = ""

        @field_validator("odd")
        @classmethod
        def _crash(cls, value: str) -> str:
            if value == "exit":
                raise SystemExit(3)
            if value:
                raise RuntimeError("validator broke")
            return value

    async def execute(self, context: Any) -> None:
        return None


def test_the_runs_model_shares_nothing_with_what_is_stored() -> None:
    stored = {"tree": {"leaf": [1]}}
    bound = bind_config(Sample, stored)
    assert isinstance(bound, Sample.Config)
    bound.tree["leaf"].append(2)
    assert stored == {"tree": {"leaf": [1]}}


def test_the_copy_is_deep() -> None:
    config: dict[str, Any] = {"a": {"b": [{"c": None}]}, "d": 1.5, "e": True}
    copy = copy_config("user.sample", config)
    assert copy == config
    copy["a"]["b"][0]["c"] = 1
    assert config["a"]["b"][0]["c"] is None


@pytest.mark.parametrize(
    ("config", "field"),
    [
        ({"days": 0}, "days"),
        ({"days": "many"}, "days"),
        ({"day": 1}, "day"),
        ({"tree": 1, "days": 1}, "tree"),
        ({"odd": "x"}, "config"),
        ({"odd": "exit"}, "config"),
    ],
)
def test_what_the_model_refuses_names_the_field(config: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidTaskConfig) as caught:
        bind_config(Sample, config)
    assert (caught.value.name, caught.value.field) == ("user.sample", field)


def test_every_offending_field_is_in_the_message_and_no_value() -> None:
    with pytest.raises(InvalidTaskConfig) as caught:
        bind_config(Sample, {"days": "hunter2", "nope": "hunter3"})
    assert "days: " in caught.value.message and "nope: " in caught.value.message
    assert "hunter" not in str(caught.value)


@pytest.mark.parametrize("value", [math.nan, math.inf, b"x", (1,), {1}, object(), {"deep": [object()]}])
def test_what_json_cannot_hold_is_refused(value: object) -> None:
    with pytest.raises(InvalidTaskConfig) as caught:
        copy_config("user.sample", {"good": 1, "bad": value})
    assert caught.value.field == "bad"
