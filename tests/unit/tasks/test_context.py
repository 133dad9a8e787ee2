import asyncio
import math
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from aico_sched.tasks import TaskContext

DEADLINE = 5.0


def test_the_slot_is_an_aware_datetime_exact_to_the_microsecond(context: TaskContext[Any]) -> None:
    assert context.scheduled_for == datetime(2023, 11, 14, 22, 13, 20, 123_456, tzinfo=UTC)
    assert context.now() == datetime.fromtimestamp(1_000, UTC)


def test_the_data_folder_is_made_when_asked_for_and_private(context: TaskContext[Any], tmp_path: Path) -> None:
    assert not (tmp_path / "data").exists()
    assert context.data_dir.stat().st_mode & 0o777 == 0o700
    assert context.data_dir == tmp_path / "data"


def test_a_link_in_place_of_the_data_folder_is_refused(context: TaskContext[Any], tmp_path: Path) -> None:
    (tmp_path / "data").symlink_to(tmp_path)
    with pytest.raises(NotADirectoryError, match="symbolic link"):
        _ = context.data_dir


def test_the_log_carries_the_run(context: TaskContext[Any]) -> None:
    with capture_logs() as lines:
        context.log.info("hello", extra=1)
    expected = {"event": "hello", "task_id": "user.x", "execution_id": "e1", "attempt": 1, "extra": 1}
    assert expected.items() <= lines[0].items()
    assert context.log is context.log


async def test_a_checkpoint_lets_others_run_and_asks_whether_to_hold(context: TaskContext[Any], outside: Any) -> None:
    ran: list[int] = []
    asyncio.get_running_loop().call_soon(ran.append, 1)
    await context.checkpoint()
    assert ran == [1]
    assert outside.holds == 1


async def test_a_paused_run_waits_at_its_checkpoint(context: TaskContext[Any], outside: Any) -> None:
    gate, reached = asyncio.Event(), asyncio.Event()

    async def hold() -> None:
        reached.set()
        await gate.wait()

    outside.hold = hold
    async with asyncio.timeout(DEADLINE):
        running = asyncio.ensure_future(context.checkpoint())
        await reached.wait()
        assert not running.done()
        gate.set()
        await running


@pytest.mark.parametrize("method", ["checkpoint", "sleep"])
async def test_a_swallowed_cancel_comes_back(context: TaskContext[Any], method: str) -> None:
    swallowed = []

    async def stubborn() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            swallowed.append(True)
        await (context.checkpoint() if method == "checkpoint" else context.sleep(0))

    async with asyncio.timeout(DEADLINE):
        task = asyncio.ensure_future(stubborn())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert swallowed == [True]


async def test_a_timeout_of_the_tasks_own_leaves_no_cancel_behind(context: TaskContext[Any]) -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            await asyncio.Event().wait()
    await context.checkpoint()


async def test_sleep_goes_through_the_clock(context: TaskContext[Any], outside: Any) -> None:
    await context.sleep(3600)
    assert outside.clock.slept == [3600]
    assert outside.holds == 1


async def collect(context: TaskContext[Any], items: Any, **how: Any) -> list[list[Any]]:
    async with asyncio.timeout(DEADLINE):
        return [batch async for batch in context.batches(items, **how)]


async def countdown(count: int) -> AsyncIterator[int]:
    for number in range(count):
        yield number


@pytest.mark.parametrize("count", [0, 1, 2, 3, 4, 7])
async def test_batches_hold_every_item_in_order(context: TaskContext[Any], count: int) -> None:
    expected = [list(range(count))[start : start + 3] for start in range(0, count, 3)]
    assert await collect(context, range(count), size=3) == expected
    assert await collect(context, countdown(count), size=3) == expected


async def test_the_loop_gets_its_turn_between_batches(context: TaskContext[Any], outside: Any) -> None:
    await collect(context, range(10), size=2)
    assert outside.holds == 5


async def test_the_loop_gets_its_turn_when_the_budget_is_used_up(context: TaskContext[Any], outside: Any) -> None:
    outside.clock.tick = 0.004
    assert await collect(context, range(30), size=1_000, budget=0.01) == [list(range(30))]
    # Each item costs 4 ms of the clock: a turn about every third one, and never one for each.
    assert 8 <= outside.holds <= 16


@pytest.mark.parametrize("how", [{"size": 0}, {"budget": 0}, {"budget": math.nan}])
def test_impossible_batches_are_refused_at_once(context: TaskContext[Any], how: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        context.batches([1], **how)


async def test_a_cancelled_run_ends_between_batches(context: TaskContext[Any]) -> None:
    seen = []

    async def run() -> None:
        async for batch in context.batches(range(1_000_000), size=10):
            seen.append(batch)
            if len(seen) == 3:
                asyncio.ensure_future(asyncio.sleep(0)).add_done_callback(lambda _: task.cancel())

    async with asyncio.timeout(DEADLINE):
        task = asyncio.ensure_future(run())
        with pytest.raises(asyncio.CancelledError):
            await task
    assert 3 <= len(seen) < 10


async def test_progress_is_reported_at_once_then_coalesced(context: TaskContext[Any], outside: Any) -> None:
    for step in range(1, 100):
        await context.progress(step / 100, f"step {step}")
    assert [report["fraction"] for report in outside.progress] == [0.01]
    outside.clock.advance(0.1)
    assert outside.progress[1:] == [{"fraction": 0.99, "message": "step 99", "data": {}}]
    await context.progress(1.0, "done", rows=3)
    assert outside.progress[2:] == [{"fraction": 1.0, "message": "done", "data": {"rows": 3}}]


async def test_a_steady_stream_is_reported_ten_times_a_second(context: TaskContext[Any], outside: Any) -> None:
    for step in range(1_000):
        await context.progress(step / 1_001)
        outside.clock.advance(0.001)
    assert 9 <= len(outside.progress) <= 11


async def test_nothing_is_reported_after_the_end(context: TaskContext[Any], outside: Any) -> None:
    await context.progress(0.1)
    await context.progress(0.2)
    context.flush_progress()
    assert [report["fraction"] for report in outside.progress] == [0.1, 0.2]
    outside.clock.advance(60)
    context.flush_progress()
    assert len(outside.progress) == 2


async def test_a_report_is_a_snapshot(context: TaskContext[Any], outside: Any) -> None:
    rows = [1]
    await context.progress(0.1)
    await context.progress(None, "two", rows=rows, at=datetime(2026, 1, 2, tzinfo=UTC))
    rows.append(2)
    outside.clock.advance(1)
    assert outside.progress[-1] == {
        "fraction": None,
        "message": "two",
        "data": {"rows": [1], "at": "2026-01-02T00:00:00Z"},
    }


@pytest.mark.parametrize("fraction", [-0.1, 1.1, math.nan, math.inf])
async def test_a_fraction_outside_its_range_is_refused(context: TaskContext[Any], fraction: float) -> None:
    with pytest.raises(ValueError, match="0 to 1"):
        await context.progress(fraction)


async def test_progress_data_must_fit_into_json(context: TaskContext[Any], outside: Any) -> None:
    with pytest.raises(ValueError, match="serialize"):
        await context.progress(0.5, thing=object())
    assert outside.progress == []


async def test_publish_and_request_pass_through_the_ports(context: TaskContext[Any], outside: Any) -> None:
    await context.publish("a.b", {"x": 1})
    assert outside.published == [("a.b", {"x": 1})]
    assert await context.request("a.c", {"y": 2}, 3.0) == {"topic": "a.c", "payload": {"y": 2}, "timeout": 3.0}


@pytest.mark.parametrize(
    "topic", ["scheduler.task.create", "scheduler.event.alert", "scheduler.", "scheduler", "", "a b", "a\n", "x" * 256]
)
async def test_topics_that_no_task_may_use(context: TaskContext[Any], outside: Any, topic: str) -> None:
    with pytest.raises(ValueError, match="topic"):
        await context.publish(topic, {})
    with pytest.raises(ValueError, match="topic"):
        await context.request(topic, {}, 1)
    assert outside.published == []


async def test_a_topic_that_only_looks_like_the_schedulers_is_open(context: TaskContext[Any], outside: Any) -> None:
    await context.publish("scheduled.scheduler.x", {})
    await context.publish("schedulers.x", {})
    assert len(outside.published) == 2


async def test_without_a_database_there_is_nothing_to_probe(context: TaskContext[Any]) -> None:
    assert await context.probe_database() is None


@pytest.mark.parametrize(
    "payload", [{"x": object()}, {"x": {1, 2}}, {"x": math.nan}, {1: 2}, {"at": datetime.now(UTC)}]
)
async def test_a_payload_is_plain_data(context: TaskContext[Any], outside: Any, payload: Any) -> None:
    with pytest.raises(ValueError, match="JSON"):
        await context.publish("a.b", payload)
    with pytest.raises(ValueError, match="JSON"):
        await context.request("a.b", payload, 1)
    assert outside.published == []


async def test_a_payload_is_copied(context: TaskContext[Any], outside: Any) -> None:
    payload = {"rows": [1]}
    await context.publish("a.b", payload)
    payload["rows"].append(2)
    assert outside.published == [("a.b", {"rows": [1]})]


async def test_leaving_the_batches_early_leaves_nothing_behind(context: TaskContext[Any]) -> None:
    async for batch in context.batches(countdown(10), size=2):
        assert batch == [0, 1]
        break
    assert await collect(context, countdown(2)) == [[0, 1]]
