"""A run for idle hours that stands at several checkpoints at once."""

import asyncio
from typing import Any

import pytest

from aico_sched.execution.attempt import Attempt
from aico_sched.execution.pauses import Pauses
from aico_sched.topics.internal import AttemptStart


def attempt(execution_id: str) -> Attempt:
    values: dict[str, Any] = dict.fromkeys(AttemptStart._fields)
    return Attempt(AttemptStart(**(values | {"execution_id": execution_id})))


async def standing(pauses: Pauses, run: Attempt, count: int) -> tuple[list["asyncio.Task[None]"], list[str]]:
    """Tasks of one run that have come to a checkpoint, and who was told that it pauses."""
    told: list[str] = []
    tasks = [asyncio.create_task(pauses.passed(run, lambda: told.append("paused"))) for _ in range(count)]
    await asyncio.sleep(0)
    return tasks, told


async def test_it_pauses_once_and_all_of_it_goes_on() -> None:
    pauses = Pauses(60.0)
    pauses.set_user_active(True)
    tasks, told = await standing(pauses, attempt("e1"), 3)
    assert (len(pauses), told) == (1, ["paused"])
    pauses.set_user_active(False)
    pauses.resume(1)
    async with asyncio.timeout(5):
        await asyncio.gather(*tasks)
    assert len(pauses) == 0


async def test_it_pauses_until_the_last_of_its_tasks_has_gone() -> None:
    pauses = Pauses(60.0)
    pauses.set_user_active(True)
    tasks, _ = await standing(pauses, attempt("e1"), 2)
    for left, task in ((1, tasks[1]), (0, tasks[0])):
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert len(pauses) == left
