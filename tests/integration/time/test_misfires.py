"""Slots that could not run: which of them are made up for, and that each of the others leaves a row that says why."""

import time
from collections.abc import AsyncIterator
from itertools import pairwise
from typing import Any

import pytest

from aico_sched import planning
from aico_sched.host import HostSample
from aico_sched.schedule import parse_rfc3339
from aico_sched.testing import Simulation
from aico_sched.topics import names
from tests.integration.time.conftest import Simulate
from tests.support.simulated import DAY, HOUR, after, events, executions, slots, task

BUSY = HostSample(99.0, 10.0, False)


async def test_fourteen_days_off_with_a_five_second_interval_cost_one_run(simulation: Simulation) -> None:
    await simulation.client.create("user.x", "interval:5", task_class="demo.echo")
    await simulation.clock.advance(21)
    await simulation.restart(down=14 * DAY)
    started = time.perf_counter()
    await simulation.clock.advance(3)
    spent = time.perf_counter() - started
    rows = await executions(simulation, "user.x")
    caught_up = [row for row in rows if parse_rfc3339(row.scheduled_for) > parse_rfc3339(rows[3].scheduled_for)]
    assert [row.status for row in caught_up if row.status == "succeeded"] == ["succeeded"]
    missed = [row for row in caught_up if row.status == "missed"]
    assert [row.missed_count for row in missed] == [14 * 86_400 // 5 - 1]
    assert "passed unserved" in (missed[0].reason or "")
    said = [event for event in await events(simulation, names.EXECUTION_MISSED) if event["task_id"] == "user.x"]
    assert [event["count"] for event in said] == [14 * 86_400 // 5 - 1]
    assert (await simulation.client.stats()).actors["scheduler"]["claims"] == 1
    assert spent < 1.0
    print(f"14 days off, interval 5 s: caught up in {spent * 1_000:.1f} ms with 1 claim")


@pytest.mark.parametrize(
    ("options", "down", "ran", "missed"),
    [
        # Daily at noon; the service is off from midnight for so long.
        ({}, 0.5 * DAY + HOUR, 1, 0),
        ({}, 3.5 * DAY + HOUR, 1, 3),
        ({"catchup_window": HOUR}, 0.5 * DAY + HOUR - 1, 1, 0),
        ({"catchup_window": HOUR}, 0.5 * DAY + HOUR + 1, 0, 1),
        # One run, however many slots the window would let in.
        ({"catchup_window": 30 * DAY}, 3.5 * DAY + HOUR, 1, 3),
        ({"misfire": "latest", "catchup_window": 30 * DAY}, 3.5 * DAY + HOUR, 1, 3),
        ({"misfire": "skip"}, 0.5 * DAY + 59, 1, 0),
        ({"misfire": "skip"}, 2.5 * DAY + 61, 0, 3),
        ({"misfire": "all", "catchup_window": 30 * DAY}, 3.5 * DAY + HOUR, 4, 0),
        ({"misfire": "all", "catchup_window": 2 * DAY}, 3.5 * DAY + HOUR, 2, 2),
    ],
)
async def test_the_misfire_rules(
    simulation: Simulation, options: dict[str, Any], down: float, ran: int, missed: int
) -> None:
    await simulation.client.create("user.x", "0 12 * * *", task_class="demo.echo", **options)
    await simulation.restart(down=down)
    await simulation.clock.advance(60)
    assert len(await executions(simulation, "user.x", "succeeded")) == ran
    assert sum(row.missed_count or 0 for row in await executions(simulation, "user.x", "missed")) == missed
    found = await task(simulation, "user.x")
    assert found.run_count == ran
    assert parse_rfc3339(found.next_run or "") > parse_rfc3339(after(simulation, 0))


@pytest.mark.parametrize("overlap", ["skip", "queue", "cancel_previous", "allow"])
async def test_all_is_bounded_and_runs_one_slot_after_the_other(
    simulation: Simulation, monkeypatch: pytest.MonkeyPatch, overlap: str
) -> None:
    monkeypatch.setattr(planning, "BACKLOG_LIMIT", 20)
    await simulation.client.create(
        "user.x",
        "*/10 * * * *",
        task_class="demo.sleep",
        config={"seconds": 2, "steps": 1},
        misfire="all",
        catchup_window=30 * DAY,
        overlap=overlap,
    )
    await simulation.restart(down=5 * DAY + 100)
    await simulation.clock.advance(200)
    rows = await executions(simulation, "user.x", "succeeded")
    # From the moment on at which a slot is late it waits its turn, so no two of the backlog run at once.
    assert len(rows) == 20
    assert [row.scheduled_for for row in rows] == sorted(row.scheduled_for for row in rows)
    spans = sorted((row.started_at or "", row.completed_at or "") for row in rows)
    assert all(ended <= started for (_, ended), (started, _) in pairwise(spans))
    missed = await executions(simulation, "user.x", "missed")
    assert [row.missed_count for row in missed] == [5 * 144 - 20]


@pytest.fixture
async def watchful(simulate: Simulate) -> AsyncIterator[Simulation]:
    """A simulation that looks at its machine's load every few seconds."""
    async with simulate(play=10, scheduler__resource_check_interval=5) as running:
        yield running


async def test_due_slots_that_are_put_off_or_dropped_leave_a_word(watchful: Simulation) -> None:
    simulation = watchful
    for name in ("paused", "edited", "deleted", "patient"):
        await simulation.client.create(f"user.{name}", "interval:3600", task_class="demo.echo")
    simulation.host.sample_now = BUSY
    await simulation.clock.advance(HOUR + 10)
    assert {event["task_id"] for event in await events(simulation, names.EXECUTION_DEFERRED)} >= {
        "user.paused",
        "user.patient",
    }
    await simulation.client.pause("user.paused", note="not now")
    await simulation.client.update("user.edited", schedule="interval:7200")
    await simulation.client.update("user.patient", description="an edit that has nothing to do with time")
    await simulation.client.delete("user.deleted")
    simulation.host.sample_now = HostSample(0.0, 0.0, False)
    await simulation.clock.advance(60)
    for name in ("paused", "edited", "deleted"):
        rows = await executions(simulation, f"user.{name}")
        assert [(row.status, row.missed_count) for row in rows] == [("missed", 1)], name
        assert "before it could run" in (rows[0].reason or "")
    assert [row.status for row in await executions(simulation, "user.patient")] == ["succeeded"]


@pytest.mark.parametrize(("action", "status"), [("run", "succeeded"), ("skip", "skipped"), ("fail", "dead")])
async def test_patience_has_an_end(watchful: Simulation, action: Any, status: str) -> None:
    simulation = watchful
    await simulation.client.create(
        "user.x", "0 1 * * *", task_class="demo.echo", idle_only=True, max_defer=600, on_max_defer=action
    )
    simulation.host.sample_now = HostSample(60.0, 10.0, False)
    await simulation.clock.advance(HOUR + 590)
    assert await executions(simulation, "user.x") == []
    await simulation.clock.advance(30)
    assert [row.status for row in await executions(simulation, "user.x")] == [status]


async def test_what_waits_for_an_idle_machine_does_not_hold_up_the_rest(simulate: Simulate) -> None:
    """More idle tasks than the horizon holds, all due before a task that may run."""
    async with simulate(play=10, scheduler__resource_check_interval=5, scheduler__cache_size=10) as small:
        for number in range(30):
            await small.client.create(f"user.idle{number}", "interval:600", task_class="demo.echo", idle_only=True)
        await small.client.create("user.x", "interval:601", task_class="demo.echo")
        small.host.sample_now = HostSample(60.0, 10.0, False)
        await small.clock.advance(700)
        assert len(await slots(small, "user.x", "succeeded")) == 1
        assert await slots(small, "user.idle7") == []
        small.host.sample_now = HostSample(0.0, 0.0, False)
        await small.clock.advance(60)
        assert {len(await slots(small, f"user.idle{number}", "succeeded")) for number in range(30)} == {1}
        assert (await small.client.stats()).actors["scheduler"]["known_max"] <= 10 + 40


async def test_a_backlog_larger_than_the_horizon_is_worked_through_in_due_order(simulate: Simulate) -> None:
    async with simulate(scheduler__cache_size=10, scheduler__max_concurrent_tasks=3) as simulation:
        for number in range(150):
            schedule = f"{number * 7 % 60} {1 + number % 20} * * *"
            await simulation.client.create(f"user.t{number:03}", schedule, task_class="demo.echo")
        await simulation.restart(down=DAY - 60)
        await simulation.clock.advance(30)
        rows = (await simulation.client.executions(status="succeeded", limit=1_000)).executions
        found = [row.scheduled_for for row in reversed(rows) if row.task_id.startswith("user.")]
        assert len(found) == 150
        assert found == sorted(found)
        assert (await simulation.client.stats()).actors["scheduler"]["known_max"] <= 10
