"""Jitter, bounds, pauses, manual runs and backfills."""

from datetime import timedelta

import pytest

from aico_sched.client.errors import InvalidMessage
from aico_sched.schedule import parse_rfc3339
from aico_sched.testing import Simulation
from tests.support.simulated import DAY, HOUR, after, at, executions, slots, stamp, task


async def test_jitter_is_stable_and_never_moves_the_slot(simulation: Simulation) -> None:
    for number in range(20):
        await simulation.client.create(f"user.t{number}", "0 * * * *", task_class="demo.echo", jitter=1800)
    await simulation.clock.advance(2 * HOUR)
    await simulation.restart()
    await simulation.clock.advance(2 * HOUR)
    offsets = {}
    for number in range(20):
        rows = await executions(simulation, f"user.t{number}", "succeeded")
        assert [row.scheduled_for[11:19] for row in rows] == ["01:00:00", "02:00:00", "03:00:00"]
        late = {parse_rfc3339(row.started_at or "") - parse_rfc3339(row.scheduled_for) for row in rows}
        assert len(late) == 1
        offsets[number] = late.pop() / 1_000_000
    assert all(0 <= offset < 1800 for offset in offsets.values())
    assert max(offsets.values()) - min(offsets.values()) > 900


async def test_a_jittered_start_survives_an_edit_between_slot_and_start(simulation: Simulation) -> None:
    await simulation.client.create("user.x", "0 * * * *", task_class="demo.echo", jitter=3_000)
    await simulation.clock.advance_to(at("2026-01-01 01:00"))
    await simulation.clock.advance(0.001)
    await simulation.client.update("user.x", description="edited")
    await simulation.clock.advance(3_000)
    assert await slots(simulation, "user.x", "succeeded") == ["2026-01-01T01:00:00.000000Z"]


async def test_start_and_end(simulation: Simulation) -> None:
    await simulation.client.create(
        "user.x",
        "0 * * * *",
        task_class="demo.echo",
        start_at="2026-01-01T03:00:00Z",
        end_at="2026-01-01T07:00:00+02:00",
    )
    await simulation.clock.advance(DAY)
    assert [slot[11:16] for slot in await slots(simulation, "user.x")] == ["03:00", "04:00", "05:00"]
    assert (await task(simulation, "user.x")).state == "finished"
    await simulation.client.update("user.x", end_at=None)
    assert (await task(simulation, "user.x")).next_run == "2026-01-02T01:00:00.000000Z"


async def test_max_runs_counts_what_ran(simulation: Simulation) -> None:
    config = {"seconds": 90, "steps": 1}
    await simulation.client.create("user.x", "* * * * *", task_class="demo.sleep", config=config, max_runs=2)
    await simulation.clock.advance(HOUR)
    # The slot in between was skipped, because the first run took longer than a minute.
    assert [row.status for row in await executions(simulation, "user.x")] == ["succeeded", "skipped", "succeeded"]
    view = await task(simulation, "user.x")
    assert (view.state, view.run_count, view.next_run) == ("finished", 2, None)
    await simulation.client.update("user.x", description="an edit does not bring it back")
    await simulation.client.pause("user.x")
    await simulation.client.resume("user.x")
    assert (await task(simulation, "user.x")).state == "finished"
    await simulation.client.update("user.x", max_runs=3)
    await simulation.clock.advance(HOUR)
    assert len(await executions(simulation, "user.x", "succeeded")) == 3


async def test_the_last_of_max_runs_is_made_up_for_when_it_is_skipped(simulation: Simulation) -> None:
    config = {"seconds": 80, "steps": 1}
    await simulation.client.create("user.x", "* * * * *", task_class="demo.sleep", config=config, max_runs=1)
    await simulation.clock.advance(30)
    await simulation.client.trigger("user.x")
    await simulation.clock.advance(HOUR)
    rows = await executions(simulation, "user.x")
    assert [(row.trigger, row.status) for row in rows] == [
        ("manual", "succeeded"),
        ("schedule", "skipped"),
        ("schedule", "succeeded"),
    ]


async def test_a_pause_and_its_note_outlive_a_restart(simulation: Simulation) -> None:
    await simulation.client.create("user.x", "interval:600", task_class="demo.echo")
    await simulation.clock.advance(700)
    await simulation.client.pause("user.x", note="until the disk is bigger")
    await simulation.restart(down=DAY)
    await simulation.clock.advance(HOUR)
    view = await task(simulation, "user.x")
    assert (view.state, view.note, view.next_run) == ("paused", "until the disk is bigger", None)
    await simulation.client.resume("user.x", note="it is")
    await simulation.restart()
    view = await task(simulation, "user.x")
    assert (view.state, view.note) == ("active", "it is")
    await simulation.clock.advance(600)
    assert len(await executions(simulation, "user.x")) == 2


async def test_a_trigger_does_not_move_the_next_run(simulation: Simulation) -> None:
    await simulation.client.create("user.x", "interval:600", task_class="demo.echo")
    await simulation.clock.advance(100)
    before = await task(simulation, "user.x")
    await simulation.client.trigger("user.x")
    await simulation.clock.advance(100)
    assert (await task(simulation, "user.x")).next_run == before.next_run
    await simulation.clock.advance(400)
    rows = await executions(simulation, "user.x", "succeeded")
    assert [row.trigger for row in rows] == ["manual", "schedule"]


async def test_a_backfill_runs_past_slots_in_order_and_moves_nothing(simulation: Simulation) -> None:
    await simulation.client.create(
        "user.x", "0 * * * *", task_class="demo.sleep", config={"seconds": 5, "steps": 1}, overlap="skip"
    )
    await simulation.clock.advance(DAY + 60)
    before = await task(simulation, "user.x")
    answer = await simulation.client.backfill("user.x", "2026-01-01T05:00:00Z", at("2026-01-01 09:59"))
    await simulation.clock.advance(100)
    rows = [row for row in await executions(simulation, "user.x") if row.trigger == "backfill"]
    assert [row.execution_id for row in rows] == answer.execution_ids
    assert [row.scheduled_for[11:16] for row in rows] == ["05:00", "06:00", "07:00", "08:00", "09:00"]
    assert [row.started_at for row in rows[1:]] == [row.completed_at for row in rows[:-1]]
    assert await task(simulation, "user.x") == before


async def test_a_backfill_may_run_at_once_where_it_says_so(simulation: Simulation) -> None:
    config = {"seconds": 5, "steps": 1}
    await simulation.client.create("user.x", "0 * * * *", task_class="demo.sleep", config=config)
    await simulation.clock.advance(DAY)
    answer = await simulation.client.backfill("user.x", at("2026-01-01 01:00"), at("2026-01-01 04:00"), overlap="allow")
    await simulation.clock.advance(1)
    assert len(await executions(simulation, "user.x", "running")) >= len(answer.execution_ids) == 4


async def test_a_backfill_is_bounded(simulation: Simulation) -> None:
    await simulation.client.create("user.x", "interval:0.001", task_class="demo.echo", enabled=False)
    await simulation.clock.advance(DAY)
    with pytest.raises(InvalidMessage, match="more than 100 slots"):
        await simulation.client.backfill("user.x", at("2026-01-01 00:00"), simulation.clock.now)
    with pytest.raises(InvalidMessage):
        await simulation.client.backfill("user.x", at("2026-01-01 02:00"), at("2026-01-01 01:00"))
    assert await executions(simulation, "user.x") == []
    # What has not come yet is no past to make up for.
    future = simulation.clock.now + timedelta(days=1)
    answer = await simulation.client.backfill("user.x", simulation.clock.now + timedelta(seconds=1), future)
    assert (answer.execution_ids, stamp(future)) == ([], after(simulation, DAY))
