"""The guarded loop in a real service: alerts, strikes, moves, and the circuit breaker."""

import asyncio
import time
from typing import Any

import pytest

from aico_sched.schedule import parse_rfc3339
from aico_sched.store.connection import Database
from aico_sched.topics import names
from tests.integration.execution.conftest import FAR, reached
from tests.integration.execution.tasks import Spot
from tests.integration.support.tasks import Gate

CALM = {"execution__breaker_stalls": 1_000}
"""Strikes without a breaker that opens."""

BLOCKS = "maintenance.blocks"


async def test_a_task_that_blocks_is_named_in_an_alert(begin: Any) -> None:
    run = await begin(**CALM)
    await run.client.create(BLOCKS, FAR, config={"seconds": 0.3})
    execution = (await run.ran(BLOCKS)).execution_id
    alert = await run.events.first(names.ALERT, key=f"blocked:{BLOCKS}")
    assert alert.payload["task_id"] == BLOCKS
    details = alert.payload["details"]
    assert (details["cause"], details["execution_id"], details["strikes"]) == ("task", execution, 1)
    assert details["seconds"] >= 0.3
    assert details["where"].startswith("Blocks.execute (tasks.py:")
    assert "time.sleep" in details["stack"]
    loop = (await run.client.stats()).actors["executor"]["loop"]
    assert (loop["stalls"]["task"], loop["holding"]) == (1, 0)
    assert loop["longest_stall_seconds"] >= 0.3


async def test_a_task_that_blocks_repeatedly_is_moved_off_the_loop_for_good(start: Any, begin: Any) -> None:
    run = await begin(**CALM, execution__strikes_to_move=2, execution__strikes_to_disable=2)
    await run.client.create(BLOCKS, FAR, config={"seconds": 0.3})
    for _ in range(2):
        assert (await run.ran(BLOCKS)).result["data"]["thread"] == "MainThread"
    alert = await run.events.first(names.ALERT, key=f"moved:{BLOCKS}")
    assert "from now on it runs in a thread" in alert.payload["message"]
    assert (await run.ran(BLOCKS)).result["data"]["thread"] == "aico-sched-task"
    await run.service.stop()
    again = await begin(**CALM, folder="data")
    assert (await again.ran(BLOCKS)).result["data"]["thread"] == "aico-sched-task"
    await again.client.enable(BLOCKS)
    assert (await again.ran(BLOCKS)).result["data"]["thread"] == "MainThread"


async def test_a_task_that_must_stay_on_the_loop_is_disabled_and_says_how_to_have_it_back(begin: Any) -> None:
    run = await begin(**CALM, execution__strikes_to_disable=2)
    await run.client.create(BLOCKS, FAR, config={"seconds": 0.3}, environment="loop")
    await run.ran(BLOCKS)
    await run.ran(BLOCKS)
    event = await run.events.first(names.TASK_DISABLED, task_id=BLOCKS)
    assert event.payload["by"] == "aico-sched"
    assert "blocked the event loop 2 times" in event.payload["note"]
    assert f"aico-sched enable {BLOCKS}" in event.payload["note"]
    alert = await run.events.first(names.ALERT, key=f"disabled:{BLOCKS}")
    assert alert.payload["severity"] == "critical"
    task = (await run.client.status(BLOCKS)).task
    assert (task.state, task.note) == ("disabled", event.payload["note"])
    task = await run.client.enable(BLOCKS)
    assert (task.state, task.note) == ("active", None)
    await run.ran(BLOCKS)
    await run.barrier()
    assert (await run.client.status(BLOCKS)).task.state == "active"


async def test_strikes_too_far_apart_do_not_add_up(begin: Any) -> None:
    run = await begin(**CALM, execution__strikes_to_disable=2, execution__strike_window=0.1)
    await run.client.create(BLOCKS, FAR, config={"seconds": 0.3}, environment="loop")
    await run.ran(BLOCKS)
    await run.ran(BLOCKS)
    await run.barrier()
    assert (await run.client.status(BLOCKS)).task.state == "active"


async def test_a_blocked_loop_opens_the_breaker_and_a_rested_one_closes_it(begin: Any, gate: Gate) -> None:
    run = await begin(
        scheduler__task_modules=["tests.integration.execution.tasks", "tests.integration.support.tasks"],
        execution__breaker_open_time=0.5,
        execution__breaker_trials=1,
    )
    gate.open()
    await run.client.create(BLOCKS, FAR, config={"seconds": 0.3})
    await run.client.create("demo.one", FAR, task_class="demo.echo")
    await run.client.create("maintenance.echo", FAR, task_class="demo.echo")
    await run.ran(BLOCKS)
    opened = await run.events.first(names.BREAKER, state="open")
    assert opened.payload["previous"] == "closed"
    assert opened.payload["reason"].startswith(f"{BLOCKS} held the event loop for ")
    assert (await run.client.stats()).actors["scheduler"]["breaker"] == "open"
    # The ordinary one was asked for first, but the critical one passes first.
    ordinary = (await run.client.trigger("demo.one")).execution_id
    critical = (await run.client.trigger("maintenance.echo")).execution_id
    done = [await run.finished(one) for one in (critical, ordinary)]
    assert [one.status for one in done] == ["succeeded", "succeeded"]
    assert done[0].started_at < done[1].started_at
    await run.events.first(names.BREAKER, state="closed")
    topics = [(event.payload["previous"], event.payload["state"]) for event in run.events.of(names.BREAKER)]
    assert topics == [("closed", "open"), ("open", "half_open"), ("half_open", "closed")]
    # The event is written down a little after the breaker has opened; that of its being half open, after the start.
    waited = parse_rfc3339(done[0].started_at) - parse_rfc3339(opened.payload["at"])
    assert waited > 0.4 * 1_000_000


async def test_what_runs_on_the_loop_holds_at_its_checkpoint_while_the_breaker_is_open(begin: Any, spot: Spot) -> None:
    run = await begin(execution__breaker_open_time=0.6)
    await run.client.create("maintenance.counts", FAR, config={"spot": "here"})
    await run.client.create(BLOCKS, FAR, config={"seconds": 0.3})
    counting = (await run.client.trigger("maintenance.counts")).execution_id
    await reached(spot)
    await run.ran(BLOCKS)
    await run.events.first(names.BREAKER, state="open")
    async with asyncio.timeout(10):
        while not (await run.client.stats()).actors["executor"]["loop"]["holding"]:
            pass
    held_at = spot.count
    await run.barrier()
    assert spot.count == held_at
    await run.events.first(names.BREAKER, state="half_open")
    async with asyncio.timeout(10):
        while spot.count == held_at:
            await asyncio.sleep(0)
    await run.client.cancel(counting)
    assert (await run.finished(counting)).status == "cancelled"


@pytest.mark.parametrize("seconds", [0.03, 0.3])
async def test_a_slow_disk_is_blamed_on_no_task(begin: Any, monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    commit = Database.commit

    def slow(self: Database) -> None:
        time.sleep(seconds)
        commit(self)

    monkeypatch.setattr(Database, "commit", slow)
    run = await begin(execution__strikes_to_disable=1, execution__strikes_to_move=1)
    await run.client.create("maintenance.counts", FAR, config={"times": 3})
    for _ in range(2):
        assert (await run.ran("maintenance.counts")).status == "succeeded"
    await run.barrier()
    assert run.events.of(names.ALERT, task_id="maintenance.counts") == []
    assert run.events.of(names.BREAKER) == []
    assert (await run.client.status("maintenance.counts")).task.state == "active"
    figures = (await run.client.stats()).actors["executor"]["loop"]["stalls"]
    assert figures["task"] == figures["program"] == 0


async def test_stalls_are_not_looked_for_if_the_settings_say_so(begin: Any) -> None:
    run = await begin(execution__stall_threshold=None)
    await run.client.create(BLOCKS, FAR, config={"seconds": 0.3})
    await run.ran(BLOCKS)
    await run.barrier()
    assert run.events.of(names.ALERT) == run.events.of(names.BREAKER) == []


async def test_a_scheduler_that_starts_anew_while_the_breaker_is_open_lets_all_go_on(
    start: Any, spot: Spot, monkeypatch: pytest.MonkeyPatch
) -> None:
    armed = False

    def fault(actor: str, when: str, topic: str) -> None:
        nonlocal armed
        if armed and actor == "scheduler":
            armed = False
            raise RuntimeError("as the test wants it")

    modules = ["tests.integration.execution.tasks"]
    run = await start(scheduler__task_modules=modules, fault=fault, execution__breaker_open_time=600)
    await run.client.create("maintenance.counts", FAR, config={"spot": "here"})
    await run.client.create(BLOCKS, FAR, config={"seconds": 0.3})
    await run.client.trigger("maintenance.counts")
    await reached(spot)
    await run.ran(BLOCKS)
    await run.events.first(names.BREAKER, state="open")
    armed = True
    # Its answer to this is the send that fails.
    await run.client.explain("@daily")
    assert not armed
    before = spot.count
    async with asyncio.timeout(10):
        while spot.count == before:
            await asyncio.sleep(0)
    assert (await run.ran(BLOCKS)).status == "succeeded"


async def test_a_burst_of_small_steps_is_no_overload(begin: Any) -> None:
    run = await begin(scheduler__max_concurrent_tasks=1_000)
    for number in range(60):
        await run.client.create(f"demo.n{number}", FAR, task_class="demo.echo")
    started = [(await run.client.trigger(f"demo.n{number}")).execution_id for number in range(60)]
    for one in started:
        assert (await run.finished(one)).status == "succeeded"
    assert run.events.of(names.BREAKER) == []
    assert run.events.of(names.ALERT) == []


async def test_what_a_run_holds_for_an_open_breaker_is_not_charged_to_its_timeout(begin: Any, spot: Spot) -> None:
    run = await begin(execution__breaker_open_time=4)
    config = {"spot": "here", "seconds": 2.0}
    await run.client.create("maintenance.is_held", FAR, config=config, timeout=3, retry={"max_attempts": 1})
    await run.client.create(BLOCKS, FAR, config={"seconds": 0.3})
    held = (await run.client.trigger("maintenance.is_held")).execution_id
    await run.client.trigger(BLOCKS)
    done = await run.finished(held)
    assert (done.status, done.error_message) == ("succeeded", None)
    assert done.result["data"]["held"] > 3


async def test_too_many_small_steps_for_long_open_the_breaker_and_blame_nobody(
    begin: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aico_sched.execution.watch.SUSTAINED", 0.6)
    run = await begin(execution__breaker_open_time=0.5)
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(20):
        while not run.events.of(names.BREAKER, state="open"):
            for _ in range(20):
                loop.call_soon(time.sleep, 0.01)
            await asyncio.sleep(0)
    opened = run.events.of(names.BREAKER, state="open")[0]
    assert opened.payload["reason"].startswith("too much work held the event loop for ")
    figures = (await run.client.stats()).actors["executor"]["loop"]["stalls"]
    assert figures["overload"] >= 1
    assert (figures["task"], figures["program"]) == (0, 0)
    # Nobody wants to start anything, and it closes all the same.
    await run.events.first(names.BREAKER, state="closed")
