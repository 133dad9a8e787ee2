"""The life of a task: what switches it, what changes it, how its runs start and end."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from aico_sched.client.errors import Conflict, InvalidSchedule, TaskNotFound
from aico_sched.schedule import format_rfc3339
from aico_sched.topics import names
from tests.integration.support.running import Running
from tests.integration.support.tasks import Gate

FAR = "interval:86400"
SOON = "interval:0.05"


def gated(gate: Gate, **options: Any) -> dict[str, Any]:
    return {"task_class": "user.gated", "config": {"gate": gate.name}, **options}


def now_us() -> int:
    return int(datetime.now(UTC).timestamp() * 1_000_000)


# Switches.


@pytest.mark.parametrize(("off", "on", "state"), [("disable", "enable", "disabled"), ("pause", "resume", "paused")])
async def test_a_switched_off_task_does_not_run_until_it_is_switched_on(
    run: Running, off: str, on: str, state: str
) -> None:
    await run.client.create("user.a", SOON, task_class="demo.echo")
    await run.events.several(2, names.EXECUTION_SUCCEEDED, task_id="user.a")
    stopped = await getattr(run.client, off)("user.a")
    assert (stopped.state, stopped.next_run) == (state, None)
    await run.barrier()
    runs = len((await run.client.executions(task_id="user.a", status="succeeded")).executions)
    # A second task's runs show that time goes by.
    await run.client.create("user.clock", SOON, task_class="demo.echo")
    await run.events.several(3, names.EXECUTION_SUCCEEDED, task_id="user.clock")
    assert len((await run.client.executions(task_id="user.a", status="succeeded")).executions) <= runs + 1
    started = await getattr(run.client, on)("user.a")
    assert started.state == "active"
    assert started.next_run is not None
    seen = len(run.events.of(names.EXECUTION_SUCCEEDED, task_id="user.a"))
    await run.events.several(seen + 1, names.EXECUTION_SUCCEEDED, task_id="user.a")


async def test_a_pause_keeps_its_note_and_switching_twice_is_told_once(run: Running) -> None:
    client = run.client
    await client.create("user.a", FAR, task_class="demo.echo")
    paused = await client.pause("user.a", note="till Monday")
    assert (paused.state, paused.note) == ("paused", "till Monday")
    assert (await client.pause("user.a", note="till Monday")).revision == paused.revision
    event = await run.events.first(names.TASK_PAUSED)
    assert (event.payload["note"], event.payload["by"], event.payload["state"]) == ("till Monday", "admin", "paused")
    resumed = await client.resume("user.a", note="back")
    assert (resumed.state, resumed.note) == ("active", "back")
    await client.disable("user.a")
    await client.pause("user.a")
    assert (await client.enable("user.a")).state == "paused"
    await run.barrier()
    assert len(run.events.of(names.TASK_PAUSED)) == 2


async def test_a_disabled_task_can_still_be_triggered(run: Running) -> None:
    await run.client.create("user.a", FAR, task_class="demo.echo", enabled=False)
    assert (await run.ran("user.a")).status == "succeeded"
    assert (await run.client.status("user.a")).task.state == "disabled"


# Changes.


async def test_an_update_changes_what_is_given_and_resets_what_is_null(run: Running) -> None:
    client = run.client
    options = {"timeout": 5.0, "tags": ["x"], "priority": 7, "overlap": "queue", "description": "d"}
    created = await client.create("user.a", FAR, task_class="demo.echo", config={"x": 1}, **options)
    assert created.options == options
    changed = await client.update("user.a", timeout=6.0, tags=["y"])
    assert changed.options == {**options, "timeout": 6.0, "tags": ["y"]}
    assert (changed.revision, changed.config, changed.next_run) == (2, {"x": 1}, created.next_run)
    reset = await client.update("user.a", timeout=None, overlap=None, tags=None)
    assert reset.options == {"priority": 7, "description": "d"}
    assert (await client.update("user.a", schedule=None, task_class=None)).schedule == FAR
    moved = await client.update("user.a", schedule="0 3 * * *", timezone="Europe/Berlin")
    assert (moved.timezone, moved.schedule) == ("Europe/Berlin", "0 3 * * *")
    assert moved.next_run != created.next_run
    assert (await client.update("user.a", timezone=None)).timezone == "UTC"
    assert (await client.update("user.a", config=None)).config == {}


async def test_an_update_of_an_old_revision_is_refused(run: Running) -> None:
    await run.client.create("user.a", FAR, task_class="demo.echo")
    await run.client.update("user.a", tags=["x"], revision=1)
    with pytest.raises(Conflict) as refused:
        await run.client.update("user.a", tags=["y"], revision=1)
    assert refused.value.details["revision"] == 2
    assert (await run.client.status("user.a")).task.options["tags"] == ["x"]


async def test_a_new_configuration_counts_from_the_next_run_on(run: Running) -> None:
    await run.client.create("user.a", FAR, task_class="demo.echo", config={"x": 1})
    assert (await run.ran("user.a")).result["data"] == {"x": 1}
    await run.client.update("user.a", config={"x": 2})
    assert (await run.ran("user.a")).result["data"] == {"x": 2}


# Deleting.


async def test_deleting_ends_what_runs_drops_what_waits_and_keeps_the_history(run: Running, gate: Gate) -> None:
    client = run.client
    await client.create("user.a", FAR, **gated(gate))
    running, waiting = await client.trigger("user.a"), await client.trigger("user.a")
    await gate.has_entered()
    await client.delete("user.a")
    for execution in (running, waiting):
        ended = await run.finished(execution.execution_id)
        assert (ended.status, ended.reason) == ("cancelled", "the task was deleted")
    assert gate.entered == 1
    assert (await client.list(prefix="user.")).tasks == []
    for call in (client.status, client.trigger, client.delete, client.enable):
        with pytest.raises(TaskNotFound):
            await call("user.a")
    history = await client.executions(task_id="user.a")
    assert {row.execution_id for row in history.executions} == {running.execution_id, waiting.execution_id}


async def test_a_deleted_task_can_be_created_anew(run: Running) -> None:
    client = run.client
    await client.create("user.a", FAR, task_class="demo.echo", tags=["old"], config={"x": 1})
    first = await run.ran("user.a")
    await client.pause("user.a", note="old")
    deleted = await client.delete("user.a")
    anew = await client.create("user.a", "@daily", task_class="demo.echo")
    assert (anew.options, anew.config, anew.state, anew.note) == ({}, {}, "active", None)
    assert (anew.run_count, anew.last_run) == (0, None)
    assert anew.revision > deleted.revision
    second = await run.ran("user.a")
    found = (await client.executions(task_id="user.a")).executions
    assert [row.execution_id for row in found] == [second.execution_id, first.execution_id]


# Overlap.


async def test_a_slot_that_finds_the_run_before_still_running_is_skipped(run: Running, gate: Gate) -> None:
    await run.client.create("user.a", SOON, **gated(gate))
    skipped = await run.events.several(2, names.EXECUTION_SKIPPED, task_id="user.a")
    assert "has not finished" in skipped[0].payload["reason"]
    assert gate.most_inside == gate.entered == 1
    gate.open()
    await run.events.several(2, names.EXECUTION_SUCCEEDED, task_id="user.a")


async def test_queued_slots_run_one_after_the_other(run: Running, gate: Gate) -> None:
    await run.client.create("user.a", SOON, **gated(gate, overlap="queue", max_runs=4))
    await run.events.first(names.TASK_FINISHED, task_id="user.a")
    assert gate.most_inside == 1
    gate.open()
    succeeded = await run.events.several(4, names.EXECUTION_SUCCEEDED, task_id="user.a")
    slots = [event.payload["scheduled_for"] for event in succeeded]
    assert slots == sorted(slots)
    assert gate.most_inside == 1


async def test_allowed_slots_run_beside_one_another(run: Running, gate: Gate) -> None:
    await run.client.create("user.a", SOON, **gated(gate, overlap="allow", max_runs=3))
    await gate.has_entered(3)
    assert gate.inside == 3
    gate.open()
    await run.events.several(3, names.EXECUTION_SUCCEEDED, task_id="user.a")


async def test_a_slot_may_cancel_the_run_before(run: Running, gate: Gate) -> None:
    await run.client.create("user.a", SOON, **gated(gate, overlap="cancel_previous", max_runs=2))
    await gate.has_entered(2)
    cancelled = await run.events.first(names.EXECUTION_CANCELLED, task_id="user.a")
    assert "is due" in cancelled.payload["reason"]
    gate.open()
    assert (await run.events.first(names.EXECUTION_SUCCEEDED, task_id="user.a")).payload["scheduled_for"] > (
        cancelled.payload["scheduled_for"]
    )
    assert gate.most_inside == 1


async def test_a_trigger_waits_for_the_run_before_unless_overlap_is_allowed(run: Running, gate: Gate) -> None:
    client = run.client
    await client.create("user.a", FAR, **gated(gate))
    first, second = await client.trigger("user.a"), await client.trigger("user.a")
    await gate.has_entered()
    await run.barrier()
    found = {row.execution_id: row.status for row in (await client.executions(task_id="user.a")).executions}
    assert found == {first.execution_id: "running", second.execution_id: "queued"}
    gate.open()
    assert (await run.finished(second.execution_id)).status == "succeeded"
    assert gate.most_inside == 1
    gate.shut()
    await client.update("user.a", overlap="allow")
    third, fourth = await client.trigger("user.a"), await client.trigger("user.a")
    await gate.has_entered(4)
    assert gate.inside == 2
    gate.open()
    for execution in (third, fourth):
        assert (await run.finished(execution.execution_id)).status == "succeeded"


# How runs end.


async def test_what_a_task_sees_of_its_run(run: Running) -> None:
    await run.client.create("user.r", FAR, task_class="user.reports")
    execution = await run.ran("user.r")
    assert execution.result["data"] == {
        "trigger": "manual",
        "attempt": 1,
        "task_id": "user.r",
        "execution_id": execution.execution_id,
        "scheduled_for": execution.scheduled_for.replace("Z", "+00:00"),
    }
    assert (execution.trigger, execution.duration_seconds is not None) == ("manual", True)


async def test_each_run_has_an_instance_and_a_configuration_of_its_own(run: Running, gate: Gate) -> None:
    await run.client.create("user.a", FAR, **gated(gate, overlap="allow"))
    for _ in range(2):
        await run.client.trigger("user.a")
    await gate.has_entered(2)
    first, second = gate.contexts
    assert first is not second
    assert first.config == second.config
    assert first.config is not second.config
    gate.open()


async def test_a_run_over_its_time_is_ended_and_tried_again(run: Running, gate: Gate) -> None:
    retry = {"max_attempts": 2, "delay": 0.01}
    await run.client.create("user.a", FAR, **gated(gate, timeout=0.05, retry=retry))
    execution = await run.ran("user.a")
    assert (execution.status, execution.attempt, gate.inside) == ("dead", 2, 0)
    assert "timeout of 0.05 s" in str(execution.error_message)
    assert run.events.topics(execution_id=execution.execution_id) == [
        "execution.started", "execution.timed_out", "execution.retrying",
        "execution.started", "execution.timed_out", "execution.dead",
    ]  # fmt: skip


async def test_a_task_that_swallows_its_timeout_has_timed_out_all_the_same(run: Running) -> None:
    await run.client.create("user.s", FAR, task_class="user.stubborn", timeout=0.05, retry={"max_attempts": 1})
    execution = await run.ran("user.s")
    assert (execution.status, execution.result) == ("dead", None)


async def test_delays_between_attempts_double_up_to_the_longest(run: Running) -> None:
    retry = {"max_attempts": 5, "delay": 0.02, "max_delay": 0.05, "multiplier": 2.0}
    await run.client.create("user.f", FAR, task_class="demo.fail", config={"times": 9}, retry=retry)
    execution = await run.ran("user.f")
    assert (execution.status, execution.attempt) == ("dead", 5)
    waits = []
    for event in run.events.of(names.EXECUTION_RETRYING):
        failed = run.events.of(names.EXECUTION_FAILED, attempt=event.payload["attempt"])[0]
        retry_at = datetime.fromisoformat(event.payload["retry_at"])
        waits.append((retry_at - datetime.fromisoformat(failed.payload["completed_at"])).total_seconds())
    assert waits == pytest.approx([0.02, 0.04, 0.05, 0.05], abs=0.001)


@pytest.mark.parametrize(
    ("kind", "attempts"),
    [
        ("ValueError", 1),
        ("TypeError", 1),
        ("KeyError", 1),
        ("RuntimeError", 2),
        ("TransientError", 2),
        ("SystemExit", 2),
    ],
)
async def test_errors_that_will_not_go_away_are_not_tried_again(run: Running, kind: str, attempts: int) -> None:
    """KeyError because the class declares LookupError as permanent."""
    retry = {"max_attempts": 2, "delay": 0.01}
    await run.client.create("user.x", FAR, task_class="user.raises", config={"kind": kind}, retry=retry)
    execution = await run.ran("user.x")
    assert (execution.status, execution.attempt) == ("dead", attempts)
    assert (await run.client.dead_list(task_id="user.x")).dead[0].execution_id == execution.execution_id
    assert (await run.client.health()).ready


async def test_progress_is_told_while_it_is_made(run: Running) -> None:
    await run.client.create("user.p", FAR, task_class="user.progresses")
    execution = await run.ran("user.p")
    told = [event.payload["progress"] for event in run.events.of(names.EXECUTION_PROGRESS)]
    assert told == [
        {"fraction": 0.25, "message": "a quarter", "data": {"part": 1}},
        {"fraction": 1.0, "message": "all of it", "data": {"part": 4}},
    ]
    assert execution.progress == told[-1]
    assert run.events.topics(execution_id=execution.execution_id) == [
        "execution.started", "execution.progress", "execution.progress", "execution.succeeded",
    ]  # fmt: skip


async def test_a_running_and_a_waiting_run_can_be_cancelled(run: Running, gate: Gate) -> None:
    client = run.client
    await client.create("user.a", FAR, **gated(gate))
    running, waiting, last = [await client.trigger("user.a") for _ in range(3)]
    await gate.has_entered()
    assert (await client.cancel(waiting.execution_id, reason="not needed")).status == "cancelled"
    assert (await client.cancel(running.execution_id)).status == "cancelling"
    ended = await run.finished(running.execution_id)
    assert (ended.status, ended.reason, ended.attempt) == ("cancelled", "cancelled by admin", 1)
    assert (await run.finished(waiting.execution_id)).reason == "not needed"
    await gate.has_entered(2)
    gate.open()
    assert (await run.finished(last.execution_id)).status == "succeeded"
    with pytest.raises(Conflict):
        await client.cancel(running.execution_id)


async def test_a_pending_retry_can_be_cancelled(run: Running) -> None:
    await run.client.create("user.f", FAR, task_class="demo.fail", retry={"delay": 3600})
    started = await run.client.trigger("user.f")
    await run.events.first(names.EXECUTION_RETRYING, execution_id=started.execution_id)
    assert (await run.client.cancel(started.execution_id)).status == "cancelled"
    assert (await run.finished(started.execution_id)).status == "cancelled"


# Schedules.


async def test_a_task_is_finished_after_its_last_run(run: Running) -> None:
    await run.client.create("user.a", SOON, task_class="demo.echo", max_runs=2)
    await run.events.first(names.TASK_FINISHED, task_id="user.a")
    await run.events.several(2, names.EXECUTION_SUCCEEDED, task_id="user.a")
    found = await run.client.status("user.a")
    assert (found.task.state, found.task.run_count, found.task.next_run) == ("finished", 2, None)
    assert (await run.ran("user.a")).status == "succeeded", "it can be triggered all the same"


async def test_a_task_is_finished_at_its_end(run: Running) -> None:
    end = format_rfc3339(now_us() + 250_000)
    await run.client.create("user.a", "interval:0.1", task_class="demo.echo", end_at=end)
    await run.events.first(names.TASK_FINISHED, task_id="user.a")
    slots = [row.scheduled_for for row in (await run.client.executions(task_id="user.a")).executions]
    assert slots
    assert all(slot <= end for slot in slots)


async def test_no_slot_before_start_at(run: Running) -> None:
    start = format_rfc3339(now_us() + 300_000)
    await run.client.create("user.a", SOON, task_class="demo.echo", start_at=start, max_runs=1)
    event = await run.events.first(names.EXECUTION_SUCCEEDED, task_id="user.a")
    assert event.payload["scheduled_for"] >= start


async def test_a_moment_is_one_run_and_a_past_one_is_refused(run: Running) -> None:
    moment = format_rfc3339(now_us() + 100_000)
    await run.client.create("user.once", f"at:{moment}", task_class="demo.echo")
    event = await run.events.first(names.EXECUTION_SUCCEEDED, task_id="user.once")
    assert (event.payload["scheduled_for"], event.payload["trigger"]) == (moment, "schedule")
    assert event.payload["started_at"] >= moment
    await run.events.first(names.TASK_FINISHED, task_id="user.once")
    with pytest.raises(InvalidSchedule):
        await run.client.create("user.late", "at:2020-01-01T00:00:00Z", task_class="demo.echo")
    yesterday = format_rfc3339(now_us() - 3_600_000_000)
    await run.client.create("user.caught", f"at:{yesterday}", task_class="demo.echo", catchup_window=7200.0)
    await run.events.first(names.EXECUTION_SUCCEEDED, task_id="user.caught")


async def test_an_interval_counts_from_its_creation_without_drift(run: Running) -> None:
    created = await run.client.create("user.a", "interval:0.1", task_class="demo.echo", max_runs=4)
    events = await run.events.several(4, names.EXECUTION_SUCCEEDED, task_id="user.a")
    begin = datetime.fromisoformat(created.created_at)
    offsets = {(datetime.fromisoformat(e.payload["scheduled_for"]) - begin) / timedelta(seconds=0.1) for e in events}
    assert all(offset == round(offset) for offset in offsets)
    assert len(offsets) == 4


async def test_reboot_tasks_run_once_at_each_start(start: Any) -> None:
    first = await start()
    created = await first.client.create("user.boot", "@reboot", task_class="demo.echo")
    assert created.next_run is None
    await first.barrier()
    assert (await first.client.executions(task_id="user.boot")).executions == []
    await first.service.stop()
    for count in (1, 2):
        run = await start()
        executions = []
        async with asyncio.timeout(20):
            while [row.status for row in executions] != ["succeeded"] * count:
                executions = (await run.client.executions(task_id="user.boot")).executions
        assert len(executions) == count
        assert executions[0].trigger == "schedule"
        await run.service.stop()


async def test_a_backfill_runs_the_slots_of_a_range_in_order(run: Running) -> None:
    created = await run.client.create("user.h", "0 * * * *", task_class="user.reports")
    start = datetime(2026, 1, 1, 0, 30, tzinfo=UTC)
    view = await run.client.backfill("user.h", start, start + timedelta(hours=5))
    assert len(view.execution_ids) == 5
    for execution_id in view.execution_ids:
        assert (await run.finished(execution_id)).status == "succeeded"
    events = run.events.of(names.EXECUTION_SUCCEEDED, task_id="user.h")
    assert [event.payload["scheduled_for"][:16] for event in events] == [
        f"2026-01-01T0{hour}:00" for hour in range(1, 6)
    ]
    assert {event.payload["trigger"] for event in events} == {"backfill"}
    assert (await run.client.status("user.h")).task.next_run == created.next_run
