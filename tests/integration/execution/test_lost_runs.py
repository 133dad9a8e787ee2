"""A run whose process dies in the middle: nobody knows how far it came, so what it was promised decides."""

from typing import Any

import pytest

from tests.integration.execution.conftest import FAR


@pytest.mark.parametrize(
    ("task_class", "delivery", "ends"),
    [
        ("maintenance.dies", "at_least_once", ("succeeded", 2)),
        ("maintenance.dies", "at_most_once", ("dead", 1)),
        # An error it raises is a known end: the retry policy decides.
        ("maintenance.raises", "at_most_once", ("succeeded", 2)),
    ],
)
async def test_what_is_lost_is_tried_again_if_it_was_promised_at_least_once(
    begin: Any, task_class: str, delivery: str, ends: tuple[str, int]
) -> None:
    run = await begin(scheduler__task_modules=["tests.integration.execution.lost_tasks"])
    await run.client.create(task_class, FAR, delivery=delivery, retry={"max_attempts": 3, "delay": 0})
    done = await run.ran(task_class)
    assert (done.status, done.attempt) == ends, done.error_message
    (row,) = (await run.client.executions(task_id=task_class, attempts=True)).executions
    assert row.attempts is not None and len(row.attempts) == ends[1]
    assert bool(row.attempts[0].usage.get("lost")) is (task_class == "maintenance.dies")
    (dead,) = (await run.client.dead_list()).dead if ends[0] == "dead" else (None,)
    assert dead is None or dead.task_id == task_class
