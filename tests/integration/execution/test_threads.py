"""The environment `thread`, in a real service."""

import asyncio
import sys
from typing import Any

import pytest

from aico_sched.topics import names
from tests.integration.execution.conftest import FAR, reached
from tests.integration.execution.tasks import Spot

AT = {"spot": "here"}


async def test_a_blocking_task_runs_in_a_thread_without_anybody_asking(begin: Any) -> None:
    run = await begin()
    await run.client.create("maintenance.computes", FAR)
    done = await run.ran("maintenance.computes")
    assert done.result["data"] == {"thread": "aico-sched-task", "folder": "maintenance.computes"}
    assert (await run.events.first(names.EXECUTION_PROGRESS)).payload["progress"]["data"] == {"n": 3}


async def test_a_coroutine_in_a_thread_reaches_the_service_from_its_own_loop(begin: Any) -> None:
    run = await begin()
    await run.client.create("maintenance.moved", FAR)
    done = await run.ran("maintenance.moved")
    assert done.result["data"] == {"thread": "aico-sched-task", "rows": [{"task_id": "maintenance.moved"}]}
    assert done.progress["message"] == "half"


async def test_the_loop_gets_the_interpreter_back_sooner_while_threads_work(begin: Any, spot: Spot) -> None:
    usual = sys.getswitchinterval()
    run = await begin()
    await run.client.create("maintenance.deaf", FAR, config=AT)
    execution = (await run.client.trigger("maintenance.deaf")).execution_id
    await reached(spot)
    assert sys.getswitchinterval() == pytest.approx(0.001)
    spot.go.set()
    await run.finished(execution)
    assert sys.getswitchinterval() == pytest.approx(usual)


async def test_the_option_of_a_task_wins_over_its_class(begin: Any) -> None:
    run = await begin()
    await run.client.create("maintenance.moved", FAR, environment="loop")
    assert (await run.ran("maintenance.moved")).result["data"]["thread"] == "MainThread"
    await run.client.update("maintenance.moved", environment=None)
    assert (await run.ran("maintenance.moved")).result["data"]["thread"] == "aico-sched-task"


async def test_a_blocking_task_on_the_loop_and_an_unknown_place_are_permanent_errors(begin: Any) -> None:
    run = await begin()
    await run.client.create("maintenance.a", FAR, task_class="maintenance.computes", environment="loop")
    done = await run.ran("maintenance.a")
    assert (done.status, done.attempt) == ("dead", 1)
    assert "choose auto or thread" in done.error_message


async def test_a_cancelled_run_in_a_thread_hears_of_it_at_its_checkpoint(begin: Any, spot: Spot) -> None:
    run = await begin()
    await run.client.create("maintenance.polite", FAR, config=AT)
    execution = (await run.client.trigger("maintenance.polite")).execution_id
    await reached(spot)
    await run.client.cancel(execution)
    done = await run.finished(execution)
    assert (done.status, spot.cancelled) == ("cancelled", True)
    report = (await run.client.stats()).actors["executor"]
    assert (report["abandoned"], report["environments"]["thread"]["given_up"]) == (0, 0)


async def test_a_thread_that_does_not_end_is_given_up_and_its_slot_is_free_again(begin: Any, spot: Spot) -> None:
    run = await begin(execution__threads=1, execution__cancel_grace=0.2, scheduler__max_concurrent_tasks=1)
    await run.client.create("maintenance.deaf", FAR, config=AT, timeout=0.2, retry={"max_attempts": 1})
    await run.client.create("maintenance.computes", FAR)
    done = await run.ran("maintenance.deaf")
    assert done.status == "dead"
    assert "left to itself" in (await run.events.first(names.EXECUTION_TIMED_OUT)).payload["reason"]
    alert = await run.events.first(names.ALERT, task_id="maintenance.deaf")
    assert "did not end when it was told to" in alert.payload["message"]
    threads = (await run.client.stats()).actors["executor"]["environments"]["thread"]
    assert (threads["given_up"], threads["given_up_running"]) == (1, 1)
    assert (await run.ran("maintenance.computes")).status == "succeeded"
    spot.go.set()
    async with asyncio.timeout(10):
        while (await run.client.stats()).actors["executor"]["environments"]["thread"]["given_up_running"]:
            pass


async def test_no_more_threads_work_at_once_than_the_settings_say(begin: Any, spot: Spot) -> None:
    run = await begin(execution__threads=1)
    await run.client.create("maintenance.deaf", FAR, config=AT)
    await run.client.create("maintenance.computes", FAR, timeout=0.5)
    first = (await run.client.trigger("maintenance.deaf")).execution_id
    await reached(spot)
    second = (await run.client.trigger("maintenance.computes")).execution_id
    await run.events.first(names.EXECUTION_STARTED, execution_id=second)
    # Its own time begins when it has a thread.
    await asyncio.sleep(0.7)
    assert (await run.client.executions(execution_id=second)).executions[0].status == "running"
    spot.go.set()
    assert [(await run.finished(one)).status for one in (first, second)] == ["succeeded", "succeeded"]


async def test_a_thread_s_processor_time_has_a_limit(begin: Any) -> None:
    run = await begin(execution__cancel_grace=5)
    await run.client.create("maintenance.burns", FAR, limits={"cpu_seconds": 0.1}, retry={"max_attempts": 1})
    done = await run.ran("maintenance.burns")
    assert done.status == "dead"
    assert "limit of 0.1 s of processor time" in done.error_message
    event = await run.events.first(names.EXECUTION_FAILED)
    assert event.payload["error_type"] == "aico_sched.execution.limits.CpuLimitExceeded"


async def test_a_service_with_a_stuck_thread_stops(begin: Any, spot: Spot) -> None:
    run = await begin(execution__cancel_grace=0.2)
    await run.client.create("maintenance.deaf", FAR, config=AT)
    await run.client.trigger("maintenance.deaf")
    await reached(spot)
    async with asyncio.timeout(10):
        await run.service.stop()
    assert run.query("SELECT status FROM task_executions WHERE task_id = 'maintenance.deaf'") == [("queued",)]


async def test_a_task_on_the_loop_that_swallows_its_cancellation_is_left_to_itself(begin: Any, spot: Spot) -> None:
    run = await begin(execution__cancel_grace=0.1, scheduler__max_concurrent_tasks=1)
    await run.client.create("maintenance.swallows", FAR, config=AT)
    await run.client.create("maintenance.computes", FAR)
    execution = (await run.client.trigger("maintenance.swallows")).execution_id
    await reached(spot)
    await run.client.cancel(execution, reason="enough")
    done = await run.finished(execution)
    assert (done.status, spot.cancelled) == ("cancelled", True)
    assert done.reason == "enough; it did not end when it was told to and was left to itself"
    assert (await run.ran("maintenance.computes")).status == "succeeded"
    assert (await run.client.stats()).actors["executor"]["abandoned"] == 1
    await run.events.first(names.ALERT, task_id="maintenance.swallows")
