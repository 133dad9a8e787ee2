"""Time zones: checked, each task by its own, whatever the host's zone does."""

import time
from datetime import timedelta

import pytest

from aico_sched.client.errors import InvalidSchedule
from aico_sched.testing import Simulation
from tests.integration.time.conftest import Simulate
from tests.support.simulated import DAY, at, slots, stamp, task


async def test_every_task_goes_by_its_own_zone_through_changes_of_the_clock(simulate: Simulate) -> None:
    async with simulate(start=at("2026-03-27 12:00")) as simulation:
        zones = ("Europe/Berlin", "America/New_York", "Asia/Kolkata", "UTC")
        for number, zone in enumerate(zones):
            await simulation.client.create(f"user.t{number}", "30 2 * * *", task_class="demo.echo", timezone=zone)
        await simulation.clock.advance(3 * DAY)
        found = {zone: await slots(simulation, f"user.t{number}") for number, zone in enumerate(zones)}
    # 02:30 does not exist in Berlin on the 29th: it runs once at 03:00, which is 01:00 UTC.
    berlin = ["2026-03-28 01:30", "2026-03-29 01:00", "2026-03-30 00:30"]
    assert found["Europe/Berlin"] == [stamp(at(text)) for text in berlin]
    for zone, first in (("America/New_York", "06:30"), ("UTC", "02:30"), ("Asia/Kolkata", "21:00")):
        assert [slot[11:16] for slot in found[zone]] == [first] * 3


@pytest.mark.parametrize("name", ["Europe/Berln", "../etc/passwd", "Mars", " ", "right/UTC"])
async def test_a_zone_is_checked(simulation: Simulation, name: str) -> None:
    with pytest.raises(InvalidSchedule) as caught:
        await simulation.client.create("user.x", "0 9 * * *", task_class="demo.echo", timezone=name)
    assert caught.value.details["field"] == "timezone"
    await simulation.client.create("user.y", "0 9 * * *", task_class="demo.echo")
    with pytest.raises(InvalidSchedule):
        await simulation.client.update("user.y", timezone=name)


async def test_a_wrong_zone_is_answered_with_the_nearest_one(simulation: Simulation) -> None:
    with pytest.raises(InvalidSchedule) as caught:
        await simulation.client.create("user.x", "0 9 * * *", task_class="demo.echo", timezone="Europe/Berln")
    assert "Europe/Berlin" in str(caught.value.details["suggestion"])


async def test_the_zone_of_the_host_may_change_while_the_service_runs(
    simulate: Simulate, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with simulate(start=at("2026-06-01 00:00"), scheduler__timezone="Europe/Berlin") as simulation:
        await simulation.client.create("user.own", "0 9 * * *", task_class="demo.echo", timezone="Asia/Tokyo")
        await simulation.client.create("user.usual", "0 9 * * *", task_class="demo.echo")
        await simulation.clock.advance(DAY)
        monkeypatch.setenv("TZ", "America/Los_Angeles")
        time.tzset()
        try:
            await simulation.clock.advance(2 * DAY)
            own, usual = await slots(simulation, "user.own"), await slots(simulation, "user.usual")
        finally:
            monkeypatch.undo()
            time.tzset()
    days = [at("2026-06-01 00:00") + timedelta(days=day) for day in range(4)]
    # 09:00 in Tokyo is midnight UTC, the moment of the creation, which is not after it.
    assert own == [stamp(day) for day in days[1:]]
    assert usual == [stamp(day + timedelta(hours=7)) for day in days[:3]]


async def test_a_task_without_a_zone_keeps_the_one_it_was_created_with(simulate: Simulate) -> None:
    async with simulate(scheduler__timezone="Europe/Berlin") as simulation:
        await simulation.client.create("user.x", "0 9 * * *", task_class="demo.echo")
        now = simulation.clock.now
    async with simulate(start=now, scheduler__timezone="Asia/Tokyo") as simulation:
        before = await task(simulation, "user.x")
        await simulation.client.update("user.x", timezone=None)
        reset = await task(simulation, "user.x")
    assert (before.timezone, before.next_run) == ("Europe/Berlin", "2026-01-01T08:00:00.000000Z")
    assert (reset.timezone, reset.next_run) == ("Asia/Tokyo", "2026-01-02T00:00:00.000000Z")
