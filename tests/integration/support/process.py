"""`aico-sched` as a user runs it: processes of its own."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

DEADLINE = 30.0
ROOT = Path(__file__).parents[3]


def environment(folder: Path, **settings: Any) -> dict[str, str]:
    """A bare environment; `settings` as `scheduler__batch_size`."""
    values = {"scheduler__max_cpu_percent": 100, "scheduler__max_memory_percent": 100, "bus__publish_port": 0,
              "bus__subscribe_port": 0} | settings  # fmt: skip
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "PYTHONPATH": str(ROOT),
        **{f"AICO_SCHED_{name.upper()}": str(value) for name, value in values.items()},
    }


class Ended(NamedTuple):
    code: int
    output: str
    errors: str

    @property
    def json(self) -> Any:
        return json.loads(self.output)


async def command(folder: Path, *arguments: str, **settings: Any) -> Ended:
    """Run `aico-sched` to its end."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "aico_sched.cli.app", *arguments, env=environment(folder, **settings), cwd=folder,
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        async with asyncio.timeout(DEADLINE):
            output, errors = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode is not None
    return Ended(process.returncode, output.decode(), errors.decode())


class Server:
    """A process that goes on until it is told to stop. `lines` are the entries of its log so far."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.lines: list[dict[str, Any]] = []

    async def says(self, event: str) -> dict[str, Any]:
        """The first log entry named `event` from now on."""
        assert self.process.stderr is not None
        async with asyncio.timeout(DEADLINE):
            async for line in self.process.stderr:
                self.lines.append(json.loads(line))
                if self.lines[-1]["event"] == event:
                    return self.lines[-1]
        raise AssertionError(f"it ended without saying {event}: {self.lines[-3:]}")

    async def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal and return the exit code."""
        self.process.send_signal(number)
        async with asyncio.timeout(DEADLINE):
            await self.process.communicate()
        assert self.process.returncode is not None
        return self.process.returncode


@asynccontextmanager
async def server(folder: Path, *arguments: str, under: Sequence[str] = (), **settings: Any) -> AsyncIterator[Server]:
    """`aico-sched run …` or `bus …`, started by the program `under`, if that is given; killed at the end if it still
    runs."""
    process = await asyncio.create_subprocess_exec(
        *under, sys.executable, "-m", "aico_sched.cli.app", *arguments, env=environment(folder, **settings), cwd=folder,
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        yield Server(process)
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()
