"""A takeover under attack: two standbys, one killed in the middle, a holder that was stopped and comes back."""

import asyncio
import signal
from contextlib import AsyncExitStack
from pathlib import Path

from aico_sched.client import SchedulerClient
from aico_sched.topics import names
from tests.integration.support.process import Server, server
from tests.integration.support.running import Recorder
from tests.integration.test_standby import TAKEOVER

STEPS = 2.0
"""Seconds, four of a standby's looks at the lock."""


async def hold_up(client: SchedulerClient, *deliveries: str) -> None:
    """Let a run of each kind be under way."""
    events = Recorder(client)
    for delivery in deliveries:
        sleep = {"task_class": "demo.sleep", "config": {"seconds": 600}}
        await client.create(f"user.{delivery}", "interval:86400", delivery=delivery, timeout=700, **sleep)
        await client.trigger(f"user.{delivery}")
        await events.first(names.EXECUTION_STARTED, task_id=f"user.{delivery}")
    await events.close()


def holder_of(folder: Path) -> int:
    text = (folder / "scheduler.db.lock").read_text().strip()
    return int(text) if text else 0


async def test_of_two_standbys_one_takes_over_and_the_other_when_that_is_killed_meanwhile(tmp_path: Path) -> None:
    data = tmp_path / "data"
    folder = {"paths__data_dir": data}
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(server(tmp_path, "run", **folder))
        await first.says("service_started")
        async with SchedulerClient.discover(data) as client:
            await hold_up(client, "at_least_once", "at_most_once")
        standbys: dict[int, Server] = {}
        for _ in range(2):
            each = await stack.enter_async_context(server(tmp_path, "run", "--standby", **folder))
            assert (await each.says("standing_by"))["holder"] == first.process.pid
            standbys[each.process.pid] = each
        await first.stop(signal.SIGKILL)
        async with asyncio.timeout(TAKEOVER):
            while (heir := holder_of(data)) not in standbys:
                await asyncio.sleep(0.005)
        # It has the lock, and is about to open the database.
        await standbys.pop(heir).stop(signal.SIGKILL)
        (last,) = standbys.values()
        async with asyncio.timeout(TAKEOVER):
            await last.says("service_started")
        assert holder_of(data) == last.process.pid
        async with SchedulerClient.discover(data) as client, asyncio.timeout(TAKEOVER):
            assert (await client.health()).ready
            (once,) = (await client.executions(task_id="user.at_most_once")).executions
            assert (once.status, once.attempt) == ("interrupted", 1)
            again = (await client.executions(task_id="user.at_least_once")).executions
            while again[0].status != "running":
                again = (await client.executions(task_id="user.at_least_once")).executions
            assert len(again) == 1 and again[0].attempt in (2, 3)
            await client.cancel(again[0].execution_id)
        assert await last.stop() == 0


async def test_a_holder_that_was_stopped_for_long_is_not_pushed_out(tmp_path: Path) -> None:
    """Nothing expires: a machine that sleeps, or is slow, does not lose its place, and never are there two."""
    data = tmp_path / "data"
    folder = {"paths__data_dir": data}
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(server(tmp_path, "run", **folder))
        await first.says("service_started")
        second = await stack.enter_async_context(server(tmp_path, "run", "--standby", **folder))
        await second.says("standing_by")
        first.process.send_signal(signal.SIGSTOP)
        took_over = asyncio.create_task(second.says("service_started"))
        done, _ = await asyncio.wait({took_over}, timeout=STEPS)
        assert not done
        first.process.send_signal(signal.SIGCONT)
        async with SchedulerClient.discover(data) as client:
            await client.create("user.x", "interval:86400", task_class="demo.echo")
            assert (await client.health()).ready
        assert holder_of(data) == first.process.pid
        assert await first.stop() == 0
        async with asyncio.timeout(TAKEOVER):
            await took_over
        assert await second.stop() == 0


async def test_a_holder_that_comes_back_after_another_got_in_writes_nothing_and_ends(tmp_path: Path) -> None:
    """Its lock file was removed while it was stopped, so that the kernel does not keep the second one out."""
    data = tmp_path / "data"
    folder = {"paths__data_dir": data}
    async with AsyncExitStack() as stack:
        patient = {**folder, "scheduler__shutdown_grace": 600}
        first = await stack.enter_async_context(server(tmp_path, "run", **patient))
        await first.says("service_started")
        async with SchedulerClient.discover(data) as client:
            await hold_up(client, "at_most_once")
            await client.create("user.often", "interval:1", task_class="demo.echo", catchup_window=0)
        second = await stack.enter_async_context(server(tmp_path, "run", "--standby", **folder))
        await second.says("standing_by")
        first.process.send_signal(signal.SIGSTOP)
        (data / "scheduler.db.lock").unlink()
        await second.says("service_started")
        first.process.send_signal(signal.SIGCONT)
        lost = await first.says("service_failed")
        assert "taken over" in str(lost)
        # What it runs is cut short, however long it may have at an ordinary stop: the other one runs it, too.
        async with asyncio.timeout(TAKEOVER):
            await first.process.communicate()
        assert first.process.returncode == 1
        # Who ended in disorder has not taken the announcement of the other away.
        async with SchedulerClient.discover(data) as client:
            assert (await client.health()).ready
            (once,) = (await client.executions(task_id="user.at_most_once")).executions
            assert (once.status, once.attempt) == ("interrupted", 1)
            page = await client.executions(task_id="user.often", limit=1_000, attempts=True)
            slots = [run.scheduled_for for run in page.executions]
            assert len(set(slots)) == len(slots)
        assert await second.stop() == 0
