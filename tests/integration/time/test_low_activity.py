"""Tasks with `low_activity` wait for hours in which the user is away."""

import json
from pathlib import Path

from aico_sched.quiet import QuietHours
from aico_sched.testing import Simulation
from aico_sched.topics import names
from tests.support.simulated import DAY, HOUR, events, executions

LEARNED = Path("task_data", "agency.background_learning", "quiet_hours.json")


async def create(simulation: Simulation, schedule: str, **options: float) -> None:
    await simulation.client.create("user.x", schedule, task_class="demo.echo", low_activity=True, **options)


async def started(simulation: Simulation) -> list[str]:
    return [str(run.started_at)[8:16] for run in await executions(simulation, "user.x", "succeeded")]


async def test_a_slot_waits_for_the_quiet_window_of_the_settings_and_says_why(tmp_path: Path) -> None:
    async with Simulation(tmp_path, scheduler__quiet_hours="13:00-15:00") as simulation:
        await create(simulation, "0 9 * * *")
        await simulation.clock.advance(2 * DAY)
        assert await started(simulation) == ["01T13:00", "02T13:00"]
        deferred = await events(simulation, names.EXECUTION_DEFERRED)
        assert "the user may be active now; quiet from 13:00" in [event["reason"] for event in deferred]


async def test_patience_ends_before_the_slot_would_be_missed(tmp_path: Path) -> None:
    async with Simulation(tmp_path, scheduler__quiet_hours="13:00-15:00") as simulation:
        await create(simulation, "interval:36000")
        await simulation.clock.advance(11.5 * HOUR)
        assert await started(simulation) == []
        await simulation.clock.advance(8 * HOUR)
        assert await started(simulation) == ["01T13:00"]
        await simulation.clock.advance(4.6 * HOUR)
        assert (await started(simulation))[-1] == "01T13:00"
    async with Simulation(tmp_path / "b", scheduler__quiet_hours="13:00-15:00") as simulation:
        await create(simulation, "0 16 * * *", max_defer=2 * HOUR)
        await simulation.clock.advance(DAY)
        assert await started(simulation) == ["01T18:00"]


async def test_a_trigger_by_hand_waits_for_nobody(tmp_path: Path) -> None:
    async with Simulation(tmp_path) as simulation:
        await create(simulation, "0 9 * * *")
        await simulation.clock.advance(8 * HOUR)
        await simulation.client.trigger("user.x")
        await simulation.clock.advance(1)
        assert len(await started(simulation)) == 1


async def test_what_was_learned_outlives_a_restart_and_a_damaged_file_does_no_harm(tmp_path: Path) -> None:
    path = tmp_path / LEARNED
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(QuietHours.of_window("20:00-21:00", "UTC").plain() | {"origin": "hour_of_week"}))
    async with Simulation(tmp_path) as simulation:
        await create(simulation, "0 9 * * *")
        await simulation.clock.advance(DAY)
        assert await started(simulation) == ["01T20:00"]
        assert (await simulation.client.stats()).actors["scheduler"]["quiet_hours"] == "hour_of_week"
        path.write_text("{broken")
        await simulation.restart()
        assert (await simulation.client.stats()).actors["scheduler"]["quiet_hours"] == "default"
