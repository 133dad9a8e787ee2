"""What the children have started ends with the service that is killed, and with the child that is."""

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

from tests.integration.execution.support import bench

DEADLINE = 20.0

STARTS_ONE = """
import subprocess
grand = subprocess.Popen(["sleep", "600"])
await context.progress(0.1, pid=grand.pid, child=os.getpid())
while 1: pass
"""


def parent_of(pid: int) -> int:
    """From `/proc`, whose second field may hold spaces."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


async def gone(pidfd: int) -> None:
    """Until the process has ended, be it reaped or not."""
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_reader(pidfd, ended.set)
    try:
        async with asyncio.timeout(DEADLINE):
            await ended.wait()
    finally:
        loop.remove_reader(pidfd)
        os.close(pidfd)


async def test_grandchildren_end_with_a_service_that_is_killed(tmp_path: Path) -> None:
    script = textwrap.dedent(
        f"""
        import asyncio
        from pathlib import Path
        from tests.integration.execution.support import bench

        async def main():
            async with bench(Path({str(tmp_path)!r})) as here:
                running = asyncio.create_task(here.run({STARTS_ONE!r}))
                await here.progressed.wait()
                print(here.progress[0]["data"]["pid"], here.runner._warden.pid, flush=True)
                await running

        asyncio.run(main())
        """
    )
    service = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, cwd=Path.cwd())
    assert service.stdout is not None
    try:
        pids = next(line.split() for line in service.stdout if line.replace(" ", "").strip().isdigit())
        watched = [os.pidfd_open(int(pid)) for pid in pids]
    finally:
        service.send_signal(signal.SIGKILL)
        service.communicate()
    for pidfd in watched:
        await gone(pidfd)


async def test_a_warden_that_is_killed_is_replaced_and_knows_all_that_run(tmp_path: Path) -> None:
    async with bench(tmp_path) as here:
        running = asyncio.create_task(here.run(STARTS_ONE))
        await here.progressed.wait()
        grand = os.pidfd_open(here.progress[0]["data"]["pid"])
        warden = here.runner._warden
        assert warden is not None and warden.pid is not None
        first = warden.pid
        end = os.pidfd_open(first)
        os.kill(first, signal.SIGKILL)
        await gone(end)
        assert await here.run("return {}")
        assert warden.pid not in (None, first)
        # As if this process were gone.
        await warden.close()
        await gone(grand)
        await asyncio.wait({running}, timeout=DEADLINE)
        assert running.exception() is not None


async def test_grandchildren_end_with_a_child_that_is_killed(tmp_path: Path) -> None:
    async with bench(tmp_path) as here:
        running = asyncio.create_task(here.run(STARTS_ONE))
        await here.progressed.wait()
        data = here.progress[0]["data"]
        assert parent_of(data["pid"]) == data["child"]
        grand = os.pidfd_open(data["pid"])
        os.kill(data["child"], signal.SIGKILL)
        await gone(grand)
        await asyncio.wait({running}, timeout=DEADLINE)
        assert "KilledBySystem" in str(getattr(running.exception(), "error_type", ""))


async def test_the_warden_is_gone_when_the_runner_is_closed(tmp_path: Path) -> None:
    async with bench(tmp_path) as here:
        assert await here.run("return {}")
        warden = here.runner._warden
        assert warden is not None and warden.pid is not None
        end = os.pidfd_open(warden.pid)
    await gone(end)
