"""A service whose tasks never end is stopped all the same."""

import asyncio
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from aico_sched.client import SchedulerClient
from aico_sched.topics import names
from tests.integration.support.process import ROOT, server

SETTINGS = {
    "scheduler__task_modules": '["tests.integration.execution.stubborn_tasks"]',
    "scheduler__shutdown_grace": 0.1,
    "execution__cancel_grace": 0.1,
}


@pytest.mark.parametrize("name", ["maintenance.swallows_all", "maintenance.waits_for_a_thread"])
async def test_a_run_that_never_ends_does_not_keep_the_service_from_stopping(tmp_path: Path, name: str) -> None:
    async with server(tmp_path, "run", data_dir=tmp_path / "data", **SETTINGS) as running:
        await running.says("service_started")
        client = SchedulerClient.discover(tmp_path / "data", timeout=20)
        async with asyncio.timeout(20), client, client.events(names.EXECUTION_PROGRESS) as events:
            await client.create(name, "interval:86400")
            await client.trigger(name)
            await anext(aiter(events))
        # Within the deadline of `stop`, in order, and it says what it has left behind.
        assert await running.stop() == 0
    async with server(tmp_path, "run", data_dir=tmp_path / "data", **SETTINGS) as again:
        await again.says("service_started")
        async with SchedulerClient.discover(tmp_path / "data", timeout=20) as client:
            (run,) = (await client.executions(task_id=name, attempts=True)).executions
        assert run.attempts is not None
        assert run.attempts[0].outcome == "interrupted"
        assert await again.stop() == 0


async def test_a_second_interrupt_ends_a_run_by_hand_that_hears_nothing(tmp_path: Path) -> None:
    arguments = ("run-task", "maintenance.deaf_thread", "--json")
    async with server(tmp_path, *arguments, data_dir=tmp_path / "data", **SETTINGS) as running:
        process = running.process
        assert process.stderr is not None
        async with asyncio.timeout(80):
            assert await process.stderr.readline() == b"begun\n"
            process.send_signal(signal.SIGINT)
            assert b"Ctrl-C again" in await process.stderr.readline()
            process.send_signal(signal.SIGINT)
            assert await process.wait() == 130


HEARD_BY_ANOTHER = """
import asyncio, os, signal, threading
from pathlib import Path
from aico_sched.leftovers import interruptible

def interrupt_the_wait():
    state = Path(f"/proc/self/task/{os.getpid()}/wchan")
    while "poll" not in state.read_text():
        pass
    signal.pthread_kill(threading.get_ident(), signal.SIGINT)

async def work():
    asyncio.get_running_loop().call_soon(threading.Thread(target=interrupt_the_wait).start)
    await asyncio.get_running_loop().create_future()

interruptible(work())
"""


def test_an_interrupt_wakes_a_loop_that_waits_for_nothing_else() -> None:
    """A signal that another thread is given, or that comes just before the loop waits, does not interrupt the wait."""
    ended = subprocess.run(
        [sys.executable, "-c", HEARD_BY_ANOTHER], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert "Ctrl-C again" in ended.stderr
    assert ended.stderr.endswith("KeyboardInterrupt\n")
