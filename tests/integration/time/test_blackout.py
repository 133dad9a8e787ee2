"""Blackout windows: no scheduled run starts in one."""

from pathlib import Path

import pytest

from aico_sched.client.errors import InvalidMessage, InvalidSchedule
from aico_sched.testing import Simulation
from aico_sched.topics import names
from tests.support.simulated import DAY, HOUR, events, executions


async def started(simulation: Simulation, task_id: str = "user.x") -> list[str]:
    return [str(run.started_at)[8:16] for run in await executions(simulation, task_id, "succeeded")]


async def test_a_slot_in_a_blackout_runs_once_when_that_ends(tmp_path: Path) -> None:
    async with Simulation(tmp_path) as simulation:
        await simulation.client.create("user.x", "0 * * * *", task_class="demo.echo", blackout=["01:30-04:30"])
        await simulation.clock.advance(5.5 * HOUR)
        # The slots of 02:00 and 03:00 passed; the one of 04:00 is the newest that waits.
        assert await started(simulation) == ["01T01:00", "01T04:30", "01T05:00"]
        reasons = {event["reason"] for event in await events(simulation, names.EXECUTION_DEFERRED)}
        assert reasons == {"it is in the blackout 01:30-04:30"}
        missed = await executions(simulation, "user.x", "missed")
        assert [run.missed_count for run in missed] == [2]


async def test_a_slot_may_be_skipped_instead(tmp_path: Path) -> None:
    async with Simulation(tmp_path) as simulation:
        await simulation.client.create(
            "user.x", "0 * * * *", task_class="demo.echo", blackout=["01:30-04:30"], on_blackout="skip"
        )
        await simulation.clock.advance(5.5 * HOUR)
        assert await started(simulation) == ["01T01:00", "01T05:00"]
        skipped = await executions(simulation, "user.x", "skipped")
        assert [run.reason for run in skipped] == ["it is in the blackout 01:30-04:30"] * 3


async def test_the_settings_window_holds_all_but_system_tasks_and_who_says_otherwise(tmp_path: Path) -> None:
    async with Simulation(tmp_path, scheduler__blackout=["00:00-12:00"]) as simulation:
        client = simulation.client
        await client.create("user.x", "0 6 * * *", task_class="demo.echo")
        await client.create("user.free", "0 6 * * *", task_class="demo.echo", blackout=[])
        await client.create("maintenance.mine", "0 6 * * *", task_class="demo.echo")
        await simulation.clock.advance(DAY)
        assert await started(simulation) == ["01T12:00"]
        assert await started(simulation, "user.free") == ["01T06:00"]
        assert await started(simulation, "maintenance.mine") == ["01T06:00"]


async def test_a_run_by_hand_is_not_held(tmp_path: Path) -> None:
    async with Simulation(tmp_path) as simulation:
        await simulation.client.create("user.x", "0 6 * * *", task_class="demo.echo", blackout=["00:00-12:00"])
        await simulation.client.trigger("user.x")
        await simulation.clock.advance(1)
        assert await started(simulation) == ["01T00:00"]


async def test_a_blackout_outlives_a_restart_and_its_end_is_local(tmp_path: Path) -> None:
    async with Simulation(tmp_path) as simulation:
        await simulation.client.create(
            "user.x", "0 6 * * *", task_class="demo.echo", timezone="Asia/Tokyo", blackout=["05:00-07:30"]
        )
        # 06:00 in Tokyo is 21:00 UTC.
        await simulation.clock.advance(21 * HOUR + 60)
        await simulation.restart(down=60)
        assert await started(simulation) == []
        await simulation.clock.advance(2 * HOUR)
        assert await started(simulation) == ["01T22:30"]


async def test_windows_that_cannot_be_are_refused_with_the_field(tmp_path: Path) -> None:
    async with Simulation(tmp_path) as simulation:
        client = simulation.client
        with pytest.raises(InvalidMessage, match="is no time of day") as raised:
            await client.create("user.x", "@daily", task_class="demo.echo", blackout=["25:00-26:00"])
        assert raised.value.details["field"] == "blackout"
        with pytest.raises(InvalidSchedule, match="blackout is for schedules that go by time"):
            await client.create("user.x", "after:user.y", task_class="demo.echo", blackout=["01:00-02:00"])
