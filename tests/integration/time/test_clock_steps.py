"""The wall clock is set while the service runs, or while it is off."""

from collections import Counter
from datetime import datetime, timedelta
from typing import Any

import pytest

from aico_sched.schedule import parse_rfc3339
from aico_sched.testing import Simulation
from aico_sched.topics import names
from aico_sched.topics.views import ExecutionView
from tests.integration.time.conftest import Simulate
from tests.support.simulated import DAY, HOUR, MINUTE, at, events, executions, slots, stamp, task

YEARS = 3_652 * DAY
START = at("2026-05-04 10:00")
SCHEDULES = {
    "user.minutely": "* * * * *",
    "user.daily": "30 9 * * *",
    "user.interval": "interval:20",
    "user.phase": "interval:7",
    "user.at": "at:2026-05-04T10:20:00Z",
}


async def created(simulation: Simulation) -> None:
    for task_id, schedule in SCHEDULES.items():
        await simulation.client.create(task_id, schedule, task_class="demo.echo")
    await simulation.clock.advance(30 * MINUTE + 3.5)


async def step(simulation: Simulation, seconds: float) -> datetime:
    """Set the wall clock, and give the service its 60 seconds to see to it. Returns what the clock shows then."""
    simulation.clock.set_wall(simulation.clock.now + timedelta(seconds=seconds))
    await simulation.clock.advance(60)
    return simulation.clock.now


SYSTEM_TASKS = 8
"""Those that are far ahead before the step come due by it too."""


def counted(rows: list[ExecutionView]) -> Counter[str]:
    return Counter(row.scheduled_for for row in rows)


async def new_slots(simulation: Simulation, task_id: str, seconds: float) -> list[str]:
    """The slots that run in the next so many seconds."""
    before = set(await slots(simulation, task_id, "succeeded"))
    await simulation.clock.advance(seconds)
    return [slot for slot in await slots(simulation, task_id, "succeeded") if slot not in before]


@pytest.mark.parametrize("seconds", [HOUR, -HOUR, YEARS, -YEARS], ids=["+1h", "-1h", "+10y", "-10y"])
async def test_a_step_is_seen_within_a_minute_and_nothing_runs_twice(simulate: Simulate, seconds: float) -> None:
    async with simulate(start=START) as simulation:
        await created(simulation)
        before = {task_id: await executions(simulation, task_id) for task_id in SCHEDULES}
        known = (await simulation.client.stats()).actors["scheduler"]["known_max"]
        stepped = stamp(simulation.clock.now + timedelta(seconds=seconds))
        now = stamp(await step(simulation, seconds))
        for task_id in SCHEDULES:
            rows = await executions(simulation, task_id)
            assert set(counted(rows).values()) <= {1}, task_id
            fresh = [row for row in rows[len(before[task_id]) :] if row.status == "succeeded"]
            # What was missed is caught up with once; what came due since is no catching up.
            assert sum(row.scheduled_for < stepped for row in fresh) <= 1, task_id
            assert len(fresh) <= 1 + 60 // 7 + 1, task_id
        assert await slots(simulation, "user.at") == ["2026-05-04T10:20:00.000000Z"]
        assert (await simulation.client.stats()).actors["scheduler"]["known_max"] <= known + SYSTEM_TASKS
        alerts = [event for event in await events(simulation, names.ALERT) if event["key"] == "clock_step"]
        assert len(alerts) == 1
        assert ("back" if seconds < 0 else "forward") in alerts[0]["message"]
        await check_next_runs(simulation, seconds, now)


async def test_a_step_of_years_costs_one_run_however_wide_the_window_is(simulate: Simulate) -> None:
    async with simulate(start=START) as simulation:
        await simulation.client.create("user.x", "* * * * *", task_class="demo.echo", catchup_window=30 * DAY)
        await simulation.clock.advance(5 * MINUTE + 3.5)
        stepped = stamp(simulation.clock.now + timedelta(seconds=YEARS))
        await step(simulation, YEARS)
        caught_up = [slot for slot in await slots(simulation, "user.x", "succeeded") if slot < stepped]
        assert len(caught_up) == 5 + 1


async def check_next_runs(simulation: Simulation, seconds: float, now: str) -> None:
    """From here on everything goes by the clock as it is now."""
    assert len(await new_slots(simulation, "user.interval", 100)) == 5
    daily, minutely = await task(simulation, "user.daily"), await task(simulation, "user.minutely")
    assert 0 < parse_rfc3339(daily.next_run or "") - parse_rfc3339(now) <= DAY * 1_000_000
    if seconds != -HOUR:
        found = await new_slots(simulation, "user.minutely", 300)
        assert len(found) == 5
        assert all(slot > now for slot in found)
    else:
        # Every minute of the hour that comes again has had its run, up to 10:30; the half hour before 10:00 has not.
        assert minutely.next_run is not None
        assert minutely.next_run < "2026-05-04T09:36:00"
        found = await new_slots(simulation, "user.minutely", 2 * HOUR)
        times = [slot[11:16] for slot in found]
        assert times == [f"09:{minute}" for minute in range(int(times[0][3:]), 60)] + times[times.index("09:59") + 1 :]
        assert times[times.index("09:59") + 1 :][:2] == ["10:00", "10:31"]


async def test_a_repeated_stretch_is_not_run_again_and_the_next_run_says_so(simulate: Simulate) -> None:
    async with simulate(start=START) as simulation:
        await simulation.client.create("user.x", "* * * * *", task_class="demo.echo")
        await simulation.clock.advance(HOUR + 10)
        await step(simulation, -30 * MINUTE)
        assert (await task(simulation, "user.x")).next_run == stamp(at("2026-05-04 11:01"))
        await simulation.clock.advance(40 * MINUTE)
        found = counted(await executions(simulation, "user.x"))
        assert len(found) == 60 + 11
        assert set(found.values()) == {1}


async def test_a_clock_that_ran_ahead_for_years_and_comes_back(simulate: Simulate) -> None:
    async with simulate(start=START) as simulation:
        await created(simulation)
        await step(simulation, YEARS)
        await simulation.clock.advance(5 * MINUTE)
        await step(simulation, -YEARS)
        for task_id in ("user.minutely", "user.interval", "user.phase"):
            found = await new_slots(simulation, task_id, 2 * MINUTE)
            assert len(found) >= 2, task_id
            assert all(slot.startswith("2026-05-04") for slot in found), task_id
            assert set(counted(await executions(simulation, task_id)).values()) == {1}, task_id


async def test_an_interval_keeps_its_pace_when_the_clock_goes_back(simulate: Simulate) -> None:
    async with simulate(start=START, play=0, scheduler__scheduler_interval=1.0) as simulation:
        await simulation.client.create("user.x", "interval:100", task_class="demo.echo")
        await simulation.clock.advance(130)
        simulation.clock.set_wall(simulation.clock.now - timedelta(hours=1))
        await simulation.clock.advance(69)
        assert len(await executions(simulation, "user.x")) == 1
        await simulation.clock.advance(2)
        assert len(await executions(simulation, "user.x", "succeeded")) == 2


@pytest.mark.parametrize("seconds", [-HOUR, -YEARS])
async def test_a_pending_retry_waits_for_time_to_pass_not_for_a_time(simulate: Simulate, seconds: float) -> None:
    retry: dict[str, Any] = {"max_attempts": 2, "delay": 300}
    async with simulate(start=START) as simulation:
        await simulation.client.create("user.x", "interval:999999", task_class="demo.fail", retry=retry)
        await simulation.client.trigger("user.x")
        await simulation.clock.advance(100)
        await step(simulation, seconds)
        assert [row.status for row in await executions(simulation, "user.x")] == ["retrying"]
        await simulation.clock.advance(150)
        assert [row.status for row in await executions(simulation, "user.x")] == ["succeeded"]


async def test_every_task_is_put_right_however_many_there_are(simulate: Simulate) -> None:
    async with simulate(start=START) as simulation:
        for number in range(350):
            schedule = f"{number % 60} * * * *" if number % 2 else "interval:3600"
            await simulation.client.create(f"user.t{number:03}", schedule, task_class="demo.echo", enabled=number != 7)
        await step(simulation, -YEARS)
        page = await simulation.client.list(prefix="user.", limit=1_000)
        latest = stamp(simulation.clock.now + timedelta(hours=1))
        assert [view.task_id for view in page.tasks if (view.next_run or "") > latest] == []
        assert sum(view.next_run is None for view in page.tasks) == 1


async def test_a_step_that_a_stop_comes_before_is_seen_at_the_next_start(simulate: Simulate) -> None:
    async with simulate(start=START) as simulation:
        for number in range(250):
            await simulation.client.create(f"user.t{number:03}", "30 * * * *", task_class="demo.echo")
        simulation.clock.set_wall(simulation.clock.now - timedelta(days=1_000))
        await simulation.restart()
        page = await simulation.client.list(prefix="user.", limit=1_000)
        assert {view.next_run for view in page.tasks} == {stamp(at("2023-08-08 10:30"))}


async def test_the_clock_was_set_back_while_the_service_was_off(simulate: Simulate) -> None:
    async with simulate(start=START) as simulation:
        await created(simulation)
        await simulation.stop()
        simulation.clock.set_wall(START - timedelta(days=800))
        await simulation.start()
        for task_id in ("user.minutely", "user.interval"):
            assert len(await new_slots(simulation, task_id, 2 * MINUTE)) >= 2, task_id
