"""Limits on what runs at one time: of a group of tasks, and of one task that may overlap itself."""

from typing import Any

import pytest

from aico_sched.client.errors import InvalidMessage
from aico_sched.testing import Simulation
from aico_sched.topics import names
from tests.integration.time.conftest import Simulate
from tests.support.simulated import MINUTE, events, executions

SLEEP: dict[str, Any] = {"task_class": "demo.sleep", "config": {"seconds": 10}}
GROUPS = {"scheduler__groups": {"mail": 2, "disk": 1}, "scheduler__max_concurrent_tasks": 50}


async def most_at_once(simulation: Simulation, *task_ids: str) -> int:
    """How many runs of these tasks went on at one moment."""
    moments = []
    for task_id in task_ids:
        for row in await executions(simulation, task_id, "succeeded"):
            moments += [(row.started_at, 1), (row.completed_at, -1)]
    most = now = 0
    # Of one moment's ends and beginnings the ends come first.
    for _, change in sorted(moments):
        now += change
        most = max(most, now)
    return most


async def test_no_more_of_a_group_run_than_its_limit_and_others_are_not_held_up(simulate: Simulate) -> None:
    async with simulate(**GROUPS) as simulation:
        mail = [f"user.mail{number}" for number in range(8)]
        for task_id in mail:
            await simulation.client.create(task_id, "interval:5", group="mail", max_runs=1, **SLEEP)
        await simulation.client.create("user.free", "interval:5", max_runs=1, priority=0, **SLEEP)
        await simulation.clock.advance(6)
        assert {event["task_id"] for event in await events(simulation, names.EXECUTION_STARTED)} >= {"user.free"}
        await simulation.clock.advance(MINUTE)
        assert await most_at_once(simulation, *mail) == 2
        assert [len(await executions(simulation, task_id, "succeeded")) for task_id in mail] == [1] * 8
        assert (await simulation.client.stats()).actors["scheduler"]["held"] == 0


async def test_triggers_and_retries_wait_for_a_place_too(simulate: Simulate) -> None:
    async with simulate(**GROUPS) as simulation:
        for number in range(5):
            await simulation.client.create(f"user.d{number}", "interval:86400", group="disk", **SLEEP)
            await simulation.client.trigger(f"user.d{number}")
        config = {"times": 1, "kind": "transient"}
        await simulation.client.create(
            "user.fails", "interval:86400", task_class="demo.fail", config=config, group="disk", retry={"delay": 1}
        )
        await simulation.client.trigger("user.fails")
        await simulation.clock.advance(2 * MINUTE)
        assert await most_at_once(simulation, *(f"user.d{number}" for number in range(5))) == 1
        assert len(await executions(simulation, "user.fails", "succeeded")) == 1


async def test_one_task_may_overlap_itself_so_often_and_no_more(simulate: Simulate) -> None:
    async with simulate(**GROUPS) as simulation:
        await simulation.client.create(
            "user.often", "interval:1", overlap="allow", max_instances=3, group="mail", max_runs=20, **SLEEP
        )
        await simulation.client.create("user.alone", "interval:1", overlap="allow", max_instances=3, **SLEEP)
        await simulation.client.create("user.other", "interval:5", group="mail", max_runs=1, **SLEEP)
        await simulation.clock.advance(2 * MINUTE)
        assert await most_at_once(simulation, "user.alone") == 3
        assert await most_at_once(simulation, "user.often", "user.other") == 2
        assert len(await executions(simulation, "user.other", "succeeded")) == 1


async def test_limits_hold_over_a_restart_and_cancelled_runs_give_their_place_back(simulate: Simulate) -> None:
    async with simulate(**GROUPS) as simulation:
        started = []
        for number in range(4):
            await simulation.client.create(
                f"user.d{number}", "interval:86400", group="disk", task_class="demo.sleep", config={"seconds": 1_000}
            )
            started.append((await simulation.client.trigger(f"user.d{number}")).execution_id)
        await simulation.clock.advance(5)
        for execution_id in started[:2]:
            await simulation.client.cancel(execution_id)
            await simulation.clock.advance(5)
        running = await simulation.client.executions(status="running")
        assert [row.task_id for row in running.executions] == ["user.d2"]
        await simulation.restart(down=5)
        await simulation.clock.advance(60)
        running = await simulation.client.executions(status="running")
        assert len(running.executions) == 1


async def test_a_group_that_is_not_in_the_settings_is_refused(simulate: Simulate) -> None:
    async with simulate(**GROUPS) as simulation:
        with pytest.raises(InvalidMessage, match=r"no group 'male'.*there are disk, mail"):
            await simulation.client.create("user.x", "interval:5", group="male", **SLEEP)
        await simulation.client.create("user.x", "interval:5", group="mail", **SLEEP)
        with pytest.raises(InvalidMessage):
            await simulation.client.update("user.x", max_instances=0)
