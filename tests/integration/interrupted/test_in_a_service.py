"""The nine tasks in a service, each cancelled at any moment by `scheduler.execution.cancel`: when the service has
stopped everything is whole, and in its next life each of them does its work.

Once; with `AICO_SCHED_LONG=1` ten times, in the middle of longer runs.
"""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from aico_sched.client import SchedulerClient
from aico_sched.client.errors import Refused
from aico_sched.service import SchedulerService
from aico_sched.topics.views import ExecutionView
from tests.integration.interrupted.nine import CASES, check_whole, config_of
from tests.integration.interrupted.place import LONG, Place
from tests.integration.interrupted.steps import counted
from tests.integration.support.forked import Stem
from tests.integration.support.machine import FakeMachine

DEADLINE = 120.0
LIVES = 10 if LONG else 1

GROUPS = {
    "the service's own": [task for task, case in CASES.items() if not task.startswith("agency.") and not case.chroma],
    "on AICO's tables": [task for task, case in CASES.items() if task.startswith("agency.") and not case.chroma],
    "on AICO's vectors": [task for task, case in CASES.items() if case.chroma],
}


@asynccontextmanager
async def served(place: Place) -> AsyncIterator[SchedulerClient]:
    """A service on the place, the nine configured for it, on a machine that seems idle."""
    async with (
        SchedulerService(place.settings, sampler=FakeMachine()),
        SchedulerClient.discover(place.settings.data_dir, timeout=DEADLINE) as client,
    ):
        for task in CASES:
            await client.update(task, config=config_of(place, task))
        yield client


async def cancelled(client: SchedulerClient, task: str, step: int, pause: float | None) -> ExecutionView:
    """A run that is cancelled `pause` seconds after its step has begun, if it has not ended by then; without a pause
    the step does not end before it is."""
    reached = asyncio.Event()

    def begun(count: int) -> None:
        if count == step:
            reached.set()

    with counted(begun, step if pause is None else 0):
        execution = (await client.trigger(task)).execution_id
        over = asyncio.create_task(client.wait(execution, DEADLINE))
        there = asyncio.create_task(reached.wait())
        await asyncio.wait({over, there}, return_when=asyncio.FIRST_COMPLETED)
        there.cancel()
        if pause is not None:
            await asyncio.wait({over}, timeout=pause)
        with suppress(Refused):
            await client.cancel(execution, reason="in the middle")
        return await over


def test_all_nine_are_in_a_group() -> None:
    assert sorted(task for tasks in GROUPS.values() for task in tasks) == sorted(CASES) and len(CASES) == 9


@pytest.mark.parametrize("group", GROUPS)
async def test_cancelled_anywhere_each_leaves_everything_whole_and_does_its_work_the_next_time(
    original: Place, tmp_path: Path, chroma: Stem, group: str
) -> None:
    draw, cases = random.Random(group), {task: CASES[task] for task in GROUPS[group]}
    for life in range(LIVES):
        place = original.copy(tmp_path / f"{life}")
        async with served(place) as client:
            for task, case in cases.items():
                step, pause = draw.randint(1, case.steps), draw.uniform(0, 0.3) if life else None
                run = await cancelled(client, task, step, pause)
                assert run.status == "cancelled" or (life and run.status == "succeeded"), (task, step, pause, run)
        await check_whole(place, chroma, *cases.values())
        results = {}
        async with served(place) as client:
            for task in cases:
                run = await client.wait((await client.trigger(task)).execution_id, DEADLINE)
                assert run.status == "succeeded" and run.result is not None, (task, run)
                results[task] = run.result["data"]
        await check_whole(place, chroma, *cases.values())
        for task, case in cases.items():
            await case.right(place, chroma, results[task])
