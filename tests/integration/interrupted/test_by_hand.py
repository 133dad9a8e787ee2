"""Each of the nine tasks by hand in a process of its own, told to end at any moment by Ctrl-C, or killed: nothing is
damaged, nobody is left behind, and run again it does its work.

One moment each; with `AICO_SCHED_LONG=1` ten, in the middle of longer runs.
"""

import asyncio
import json
import os
import random
import signal
import sys
from pathlib import Path

import psutil
import pytest

from aico_sched.leftovers import INTERRUPTED
from tests.integration.interrupted.nine import CASES, check_whole, config_of
from tests.integration.interrupted.place import LONG, Place
from tests.integration.support.forked import Stem
from tests.integration.support.process import ROOT, Ended

DEADLINE = 120.0
MOMENTS = 10 if LONG else 1
NEVER = 0

KILLED = [
    task for task, case in CASES.items() if case.swaps and (LONG or (task.startswith("agency.") and not case.chroma))
]
"""The others are killed at each of their steps in tests of their own (`tests/torture`, `vectors`, `memory`)."""


async def by_hand(place: Place, task: str, step: int, pause: float = 0.0, number: str = "SIGINT") -> Ended:
    """`aico-sched run-task` that gets the signal `pause` seconds after its step has begun; whoever it has started is
    gone when this returns."""
    values = [f"{key}={value if isinstance(value, str) else json.dumps(value)}"
              for key, value in config_of(place, task).items()]  # fmt: skip
    arguments = [part for value in values for part in ("--config", value)]
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.integration.interrupted.steps", str(step), str(pause), number, "run-task", task,
        "--json", *arguments, cwd=ROOT, start_new_session=True, env={**os.environ, **place.environment},
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        async with asyncio.timeout(DEADLINE):
            output, errors = await process.communicate()
    finally:
        if process.returncode is None:
            os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode is not None
    _, left = psutil.wait_procs(_session(process.pid), timeout=10)
    assert not left
    return Ended(process.returncode, output.decode(), errors.decode())


def _session(leader: int) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        try:
            if os.getsid(process.pid) == leader:
                found.append(process)
        except ProcessLookupError:
            continue
    return found


async def interrupted_anywhere(
    original: Place, folder: Path, chroma: Stem, task: str, number: str, ends_with: int
) -> None:
    """Runs that get the signal, and those that come after them."""
    case, draw = CASES[task], random.Random(f"{task} {number}")
    for moment in range(MOMENTS):
        place = original.copy(folder / f"{moment}")
        step, pause = draw.randint(1, case.steps), draw.choice((0.0, draw.uniform(0, 0.5))) if moment else 0.0
        told = await by_hand(place, task, step, pause, number)
        # Later than at the step itself it may be too late.
        assert told.code == ends_with or (pause and not told.code), (step, pause, told)
        assert "Traceback" not in told.errors, (step, pause, told.errors)
        await check_whole(place, chroma, case)
        again = await by_hand(place, task, NEVER)
        assert again.code == 0, (step, pause, again)
        found = json.loads(again.output)
        assert found["success"], found
        await check_whole(place, chroma, case)
        await case.right(place, chroma, found["data"])


@pytest.mark.parametrize("task", CASES)
async def test_ctrl_c_does_no_harm(original: Place, tmp_path: Path, chroma: Stem, task: str) -> None:
    await interrupted_anywhere(original, tmp_path, chroma, task, "SIGINT", INTERRUPTED)


@pytest.mark.parametrize("task", KILLED)
async def test_a_kill_does_no_harm(original: Place, tmp_path: Path, chroma: Stem, task: str) -> None:
    await interrupted_anywhere(original, tmp_path, chroma, task, "SIGKILL", -signal.SIGKILL)
