"""Intervals and single moments: no drift, no reset, exactly once, over restarts and edits."""

from datetime import timedelta
from itertools import pairwise

import pytest

from aico_sched.client.errors import InvalidSchedule
from aico_sched.schedule import parse_rfc3339
from aico_sched.testing import Simulation
from aico_sched.testing.clock import START
from tests.integration.time.conftest import Simulate
from tests.support.simulated import DAY, HOUR, after, executions, slots, stamp, task


async def test_an_interval_keeps_its_anchor_over_restarts_and_edits(simulation: Simulation) -> None:
    await simulation.clock.advance(0.123456)
    created = simulation.clock.now
    await simulation.client.create("user.x", "interval:600", task_class="demo.echo")
    await simulation.clock.advance(2 * HOUR + 100)
    await simulation.client.update("user.x", priority=90, config={"a": 1}, description="edited", tags=["t"])
    await simulation.clock.advance(HOUR)
    await simulation.restart(down=100)
    await simulation.client.update("user.x", schedule="interval:600", timezone="Europe/Berlin")
    await simulation.clock.advance(HOUR)
    await simulation.client.pause("user.x")
    await simulation.clock.advance(HOUR + 77)
    await simulation.client.resume("user.x")
    await simulation.clock.advance(HOUR)
    fired = await executions(simulation, "user.x", "succeeded")
    offsets = [parse_rfc3339(row.scheduled_for) - parse_rfc3339(stamp(created)) for row in fired]
    assert all(offset % 600_000_000 == 0 for offset in offsets)
    assert [row.started_at for row in fired] == [row.scheduled_for for row in fired]
    assert len(fired) == 12 + 6 + 6 + 6
    assert offsets[0] == 600_000_000


async def test_registration_anew_does_not_reset_a_system_task(simulate: Simulate) -> None:
    key = "tasks__maintenance__health_check"
    first = {f"{key}__schedule": "interval:1000"}
    async with simulate(**first) as simulation:
        await simulation.clock.advance(2_500)
        before = await task(simulation, "maintenance.health_check")
        now = simulation.clock.now
    async with simulate(start=now, **first, **{f"{key}__priority": 70}) as simulation:
        found = await task(simulation, "maintenance.health_check")
    assert before.next_run == stamp(START + timedelta(seconds=3_000))
    assert (found.next_run, found.options["priority"]) == (before.next_run, 70)


async def test_a_fixed_delay_counts_from_the_end_of_the_run_before(simulation: Simulation) -> None:
    config = {"seconds": 100, "steps": 1}
    await simulation.client.create("user.x", "interval:300", task_class="demo.sleep", config=config, fixed_delay=True)
    await simulation.clock.advance(300 + 50)
    assert (await task(simulation, "user.x")).next_run is None
    await simulation.client.update("user.x", description="an edit while it runs does not start the next one")
    await simulation.clock.advance(50)
    assert (await task(simulation, "user.x")).next_run == after(simulation, 300)
    await simulation.restart(down=10)
    await simulation.clock.advance(HOUR)
    fired = await executions(simulation, "user.x", "succeeded")
    starts = [parse_rfc3339(row.started_at or "") for row in fired]
    assert len(fired) == 10
    assert {later - earlier for earlier, later in pairwise(starts)} == {400_000_000}


async def test_a_fixed_delay_goes_on_after_runs_that_fail_are_retried_or_cancelled(simulation: Simulation) -> None:
    await simulation.client.create(
        "user.x",
        "interval:300",
        task_class="demo.fail",
        config={"times": 1},
        fixed_delay=True,
        retry={"max_attempts": 2, "delay": 100},
    )
    await simulation.clock.advance(300 + 50)
    # The retry is still to come, so the run is not over.
    assert (await task(simulation, "user.x")).next_run is None
    waiting = await executions(simulation, "user.x", "retrying")
    await simulation.client.cancel(waiting[0].execution_id)
    await simulation.clock.settle()
    assert (await task(simulation, "user.x")).next_run == after(simulation, 300)
    await simulation.client.trigger("user.x")
    await simulation.clock.advance(300)
    assert [row.trigger for row in await executions(simulation, "user.x", "succeeded")] == ["manual"]
    await simulation.clock.advance(100)
    assert (await task(simulation, "user.x")).next_run == after(simulation, 300)


async def test_a_skipped_slot_of_a_fixed_delay_is_followed_by_another(simulation: Simulation) -> None:
    config = {"seconds": 500, "steps": 1}
    await simulation.client.create("user.x", "interval:300", task_class="demo.sleep", config=config, fixed_delay=True)
    await simulation.client.trigger("user.x")
    await simulation.clock.advance(301)
    assert (await executions(simulation, "user.x", "skipped"))[0].reason
    await simulation.clock.advance(300)
    assert len(await executions(simulation, "user.x", "running")) == 1


@pytest.mark.parametrize("schedule", ["*/5 * * * *", "@daily", "at:2026-02-01T00:00:00Z", "@reboot"])
async def test_a_fixed_delay_needs_an_interval(simulation: Simulation, schedule: str) -> None:
    with pytest.raises(InvalidSchedule) as caught:
        await simulation.client.create("user.x", schedule, task_class="demo.echo", fixed_delay=True)
    assert caught.value.details["field"] == "fixed_delay"


async def test_a_moment_fires_exactly_once_over_restarts(simulation: Simulation) -> None:
    await simulation.client.create("user.x", "at:2026-01-02T03:00:00+01:00", task_class="demo.echo")
    await simulation.restart(down=HOUR)
    await simulation.clock.advance(DAY)
    for _ in range(3):
        await simulation.restart(down=HOUR)
        await simulation.clock.advance(HOUR)
    assert await slots(simulation, "user.x") == ["2026-01-02T02:00:00.000000Z"]
    view = await task(simulation, "user.x")
    assert (view.state, view.next_run, view.run_count) == ("finished", None, 1)


async def test_a_moment_that_passed_while_the_service_was_off(simulation: Simulation) -> None:
    soon = {"task_class": "demo.echo", "catchup_window": 600.0}
    await simulation.client.create("user.in_time", f"at:{after(simulation, 100)}", **soon)
    await simulation.restart(down=650)
    await simulation.client.create("user.late", f"at:{after(simulation, 100)}", **soon)
    await simulation.restart(down=750)
    assert [row.status for row in await executions(simulation, "user.in_time")] == ["succeeded"]
    missed = await executions(simulation, "user.late")
    assert [(row.status, row.missed_count) for row in missed] == [("missed", 1)]
    assert (await task(simulation, "user.late")).state == "finished"


async def test_a_moment_in_the_past_is_refused_unless_it_can_still_be_caught_up(simulation: Simulation) -> None:
    past = f"at:{after(simulation, -700)}"
    with pytest.raises(InvalidSchedule, match="never fires"):
        await simulation.client.create("user.x", past, task_class="demo.echo", catchup_window=600)
    with pytest.raises(InvalidSchedule, match="offset"):
        await simulation.client.create("user.x", "at:2026-02-01T00:00:00", task_class="demo.echo")
    await simulation.client.create("user.y", past, task_class="demo.echo", catchup_window=800)
    await simulation.clock.settle()
    assert await slots(simulation, "user.y", "succeeded") == [past.removeprefix("at:")]
    with pytest.raises(InvalidSchedule, match="never fires"):
        await simulation.client.update("user.y", schedule=f"at:{after(simulation, -900)}")
    await simulation.client.update("user.y", schedule=f"at:{after(simulation, 100)}")
    await simulation.clock.advance(101)
    assert len(await executions(simulation, "user.y", "succeeded")) == 2


async def test_reboot_tasks_run_once_per_start(simulation: Simulation) -> None:
    await simulation.client.create("user.x", " @Reboot ", task_class="demo.echo")
    await simulation.clock.advance(DAY)
    assert await executions(simulation, "user.x") == []
    for count in (1, 2):
        await simulation.restart()
        await simulation.clock.advance(HOUR)
        assert len(await executions(simulation, "user.x", "succeeded")) == count
