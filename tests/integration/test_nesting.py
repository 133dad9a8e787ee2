"""A configuration that is taken in can be read back in every answer that holds it."""

from typing import Any

import pytest

from aico_sched.client import InvalidMessage
from aico_sched.topics import limits
from tests.integration.conftest import Start


def nested(levels: int) -> dict[str, Any]:
    value: Any = 1
    for level in range(levels):
        value = {"a": value} if level % 2 or level == levels - 1 else [value]
    return {"a": value["a"]}


async def test_the_deepest_configuration_comes_back_and_a_deeper_one_is_refused(start: Start) -> None:
    run = await start()
    deepest = nested(limits.LISTED_LEVELS)
    task = await run.client.create("user.deep", "interval:3600", task_class="demo.echo", config=deepest)
    assert task.config == deepest
    assert (await run.client.list()).tasks[-1].config == deepest
    assert (await run.client.status("user.deep")).task.config == deepest
    assert (await run.client.update("user.deep", config=deepest)).config == deepest
    for change in (
        lambda: run.client.create("user.deeper", "interval:3600", task_class="demo.echo", config={"a": deepest}),
        lambda: run.client.update("user.deep", config={"a": deepest}),
    ):
        with pytest.raises(InvalidMessage) as refused:
            await change()
        assert refused.value.details["field"].startswith("config")
