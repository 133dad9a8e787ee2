"""Worker processes: they answer, they fail with a name, and none outlives its use."""

import asyncio
import os
import signal
import sys
from pathlib import Path

import psutil
import pytest

from aico_sched.worker.worker import Worker, WorkerDied, WorkerFailed

FACTORY = "tests.integration.worker.errands:Errands"


async def test_calls_keep_their_object_and_count_their_cpu() -> None:
    async with Worker.open(FACTORY, word="a") as worker:
        assert await worker.call("say", times=2) == "aa"
        assert await worker.call("say", times=3) == "aaaaa"
        before = worker.cpu_seconds
        await worker.call("spin", seconds=0.05)
        assert worker.cpu_seconds > before


async def test_what_is_raised_there_has_its_name_here() -> None:
    async with Worker.open(FACTORY, word="a") as worker:
        with pytest.raises(WorkerFailed, match="no word") as caught:
            await worker.call("fail")
        assert caught.value.kind == "LookupError"
        assert await worker.call("say", times=1) == "a"
    with pytest.raises(WorkerFailed):
        async with Worker.open("tests.integration.worker.errands:Nothing"):
            pass


async def test_what_a_library_prints_does_not_mix_with_the_answers() -> None:
    async with Worker.open(FACTORY, word="a") as worker:
        assert await worker.call("chatter") == "said"


async def test_a_killed_child_is_an_error_and_leaves_nobody() -> None:
    async with Worker.open(FACTORY, word="a") as worker:
        pid = await worker.call("pid")
        os.kill(pid, signal.SIGKILL)
        with pytest.raises(WorkerDied):
            await worker.call("say", times=1)
    assert not psutil.pid_exists(pid)


async def test_a_cancelled_call_kills_the_child() -> None:
    pid = 0

    async def use() -> None:
        nonlocal pid
        async with Worker.open(FACTORY, word="a") as worker:
            pid = await worker.call("pid")
            begun.set()
            await worker.call("spin", seconds=600)

    begun = asyncio.Event()
    task = asyncio.create_task(use())
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not psutil.pid_exists(pid)


async def test_a_child_dies_with_its_parent_in_the_middle_of_a_call(tmp_path: Path) -> None:
    parent = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.integration.worker.errands", stdout=asyncio.subprocess.PIPE
    )
    assert parent.stdout is not None
    child = psutil.Process(int(await parent.stdout.readline()))
    parent.kill()
    await parent.wait()
    await asyncio.to_thread(psutil.wait_procs, [child], timeout=10)
    assert not child.is_running()


async def test_a_child_that_is_cancelled_while_it_starts_is_gone_too() -> None:
    async def use() -> None:
        async with Worker.open(FACTORY, word="a") as worker:
            await worker.call("spin", seconds=600)

    before = {child.pid for child in psutil.Process().children()}
    for turns in range(12):
        task = asyncio.create_task(use())
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert {child.pid for child in psutil.Process().children()} <= before
