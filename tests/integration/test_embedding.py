"""The service inside a program that has other things to do."""

import asyncio
import warnings
from pathlib import Path
from typing import Any

import pytest

from aico_sched.client import SchedulerClient
from aico_sched.client.errors import ServiceUnreachable, TaskNotFound
from aico_sched.service import SchedulerService
from tests.integration.support.running import settings_for

FAR = "interval:86400"


async def test_a_program_goes_on_with_its_own_work_beside_the_service(tmp_path: Path) -> None:
    ticks = 0
    over = asyncio.Event()

    async def program() -> None:
        nonlocal ticks
        while not over.is_set():
            await asyncio.sleep(0)
            ticks += 1

    own = asyncio.create_task(program())
    before = asyncio.all_tasks()
    settings = settings_for(tmp_path / "data")
    async with asyncio.timeout(20), SchedulerService(settings) as service:
        assert service.running
        async with SchedulerClient.discover(settings.data_dir) as client:
            await client.create("user.a", FAR, task_class="demo.echo")
            done = await client.wait((await client.trigger("user.a")).execution_id)
            assert done.status == "succeeded"
    assert not service.running
    assert asyncio.all_tasks() == before, "no task of ours is left"
    over.set()
    await own
    assert ticks > 10


async def test_two_services_in_one_program_know_nothing_of_each_other(start: Any) -> None:
    one, two = await start("one"), await start("two")
    await one.client.create("user.a", FAR, task_class="demo.echo", config={"who": 1})
    await two.client.create("user.a", FAR, task_class="demo.echo", config={"who": 2})
    await two.client.create("user.b", FAR, task_class="demo.echo")
    results = await asyncio.gather(one.ran("user.a"), two.ran("user.a"))
    assert [execution.result["data"]["who"] for execution in results] == [1, 2]
    with pytest.raises(TaskNotFound):
        await one.client.status("user.b")
    await one.service.stop()
    assert (await two.ran("user.b")).status == "succeeded"
    assert {event.payload.get("task_id") for event in one.events.seen} <= {"user.a", None, "maintenance.health_check"}


async def test_starting_and_stopping_twice_is_harmless_and_what_was_stopped_can_start_again(tmp_path: Path) -> None:
    settings = settings_for(tmp_path / "data")
    service = SchedulerService(settings)
    async with asyncio.timeout(20):
        await service.stop()
        await service.start()
        address = service.address
        await service.start()
        assert service.address == address
        async with SchedulerClient.discover(settings.data_dir) as client:
            await client.create("user.a", FAR, task_class="demo.echo")
        await service.stop()
        await service.stop()
        with pytest.raises(ServiceUnreachable):
            SchedulerClient.discover(settings.data_dir)
        async with SchedulerService(settings), SchedulerClient.discover(settings.data_dir) as client:
            assert (await client.status("user.a")).task.task_id == "user.a"


async def test_a_stopped_service_can_be_started_again_and_waited_for(tmp_path: Path) -> None:
    service = SchedulerService(settings_for(tmp_path / "data"))
    async with asyncio.timeout(20):
        await service.start()
        await service.stop()
        async with service:
            waiting = asyncio.create_task(service.wait())
            async with SchedulerClient.discover(tmp_path / "data") as client:
                assert (await client.health()).ready
            early = waiting.done()
            service.ask_to_stop()
            await waiting
    assert not early, "nobody had asked for the end of the second run"


async def test_a_program_that_fails_stops_its_service(tmp_path: Path) -> None:
    service = SchedulerService(settings_for(tmp_path / "data"))
    with pytest.raises(ZeroDivisionError):
        async with asyncio.timeout(20), service:
            _ = 1 / 0
    assert not service.running
    assert not (tmp_path / "data" / "service.json").exists()


def test_a_program_may_start_the_service_in_one_loop_after_the_other(tmp_path: Path) -> None:
    settings = settings_for(tmp_path / "data")

    async def once() -> int:
        async with SchedulerService(settings), SchedulerClient.discover(settings.data_dir) as client:
            created = await client.create("user.a", FAR, task_class="demo.echo")
            await client.delete("user.a")
            return created.revision

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert asyncio.run(once()) < asyncio.run(once())
