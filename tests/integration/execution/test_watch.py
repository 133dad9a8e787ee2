"""A blocked loop is seen while it is blocked, by name and stack; what is nobody's fault is blamed on nobody."""

import asyncio
import ctypes
import threading
import time
from math import inf
from pathlib import Path
from typing import Any

import pytest
import structlog

from aico_sched.execution.metering import Meter, metered
from aico_sched.execution.stalls import Stall
from aico_sched.execution.watch import LoopWatch

OWN = frozenset({"store"})


class Watched:
    """A watch on the running loop, and what it has told."""

    def __init__(self, folder: Path, threshold: float = 0.1) -> None:
        self.told: list[Stall] = []
        self._news = asyncio.Event()
        self.watch = LoopWatch(threshold, OWN, folder / "dump.txt")
        self.watch.start(self._hear)
        self.watch.enter()

    def _hear(self, stall: Stall) -> None:
        self.told.append(stall)
        self._news.set()

    async def stall(self) -> Stall:
        async with asyncio.timeout(10):
            await self._news.wait()
        return self.told[-1]

    async def answered(self, since: float) -> None:
        """Until a ping that was sent after `since` has been answered and judged."""
        async with asyncio.timeout(10):
            while self.watch._judged <= since:
                await asyncio.sleep(0)

    async def run(self, work: Any, **how: Any) -> None:
        await metered(work, Meter(self.watch.board, "user.slow", "e1", **how))


@pytest.fixture
async def watched(tmp_path: Path) -> Any:
    made = Watched(tmp_path)
    await made.answered(time.perf_counter())
    yield made
    made.watch.stop()


async def sleeps(seconds: float) -> None:
    time.sleep(seconds)


async def computes(seconds: float) -> None:
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass


async def holds_interpreter(seconds: float) -> None:
    ctypes.PyDLL(None).usleep(int(seconds * 1_000_000))


async def test_a_task_that_waits_without_await_is_named_with_its_stack_while_it_does(watched: Watched) -> None:
    seen_at: list[float] = []

    def note(_: Any, __: str, event: dict[str, Any]) -> Any:
        if event["event"] == "event_loop_blocked":
            seen_at.append(time.perf_counter())
        raise structlog.DropEvent

    structlog.configure(processors=[note])
    try:
        await watched.run(sleeps(0.4), movable=True)
        ended = time.perf_counter()
    finally:
        structlog.reset_defaults()
    stall = await watched.stall()
    assert (stall.cause, stall.task_id, stall.execution_id, stall.movable) == ("task", "user.slow", "e1", True)
    assert stall.seconds >= 0.4
    assert stall.cpu_seconds < 0.1
    assert stall.where.startswith("sleeps (test_watch.py:")
    assert "time.sleep(seconds)" in stall.stack
    assert seen_at and seen_at[0] < ended


async def test_a_task_that_computes_is_named(watched: Watched) -> None:
    await watched.run(computes(0.15))
    stall = await watched.stall()
    assert (stall.cause, stall.task_id) == ("task", "user.slow")
    assert stall.cpu_seconds > 0.1


async def test_short_steps_are_nobody_s_business(watched: Watched) -> None:
    async def modest() -> None:
        for _ in range(10):
            time.sleep(0.01)
            await asyncio.sleep(0)

    await watched.run(modest())
    await watched.answered(time.perf_counter())
    assert watched.told == []


async def test_who_waits_while_somebody_else_holds_the_interpreter_is_not_blamed(watched: Watched) -> None:
    # As an fsync of our own database does, in whatever thread: no thread can run, and the step is merely interrupted.
    await watched.run(holds_interpreter(0.25))
    await watched.answered(time.perf_counter())
    assert watched.told == []
    assert watched.watch.figures["machine"] == 1


async def test_code_of_the_program_that_blocks_is_found_too(watched: Watched) -> None:
    await asyncio.create_task(sleeps(0.4), name="the program's own")
    stall = await watched.stall()
    assert (stall.cause, stall.task_id) == ("program", None)
    assert stall.where == "the program's own"
    assert "time.sleep" in stall.stack


async def test_a_stall_of_the_service_s_own_is_only_counted(watched: Watched) -> None:
    before = time.perf_counter()
    await asyncio.create_task(sleeps(0.4), name="store")
    await watched.answered(before)
    assert watched.told == []
    assert watched.watch.figures["service"] == 1


async def test_where_no_thread_can_run_the_stack_is_dumped(watched: Watched, tmp_path: Path) -> None:
    async def computes_and_holds() -> None:
        end = time.thread_time() + 0.12
        while time.thread_time() < end:
            pass
        ctypes.PyDLL(None).usleep(1_600_000)

    # It works for long enough to be blamed, and then nobody can look.
    watched.watch._look = lambda now: None  # type: ignore[method-assign]
    await watched.run(computes_and_holds())
    stall = await watched.stall()
    assert stall.cause == "task"
    assert "computes_and_holds" in stall.stack
    dump = tmp_path / "dump.txt"
    assert dump.stat().st_mode & 0o777 == 0o600
    assert dump.stat().st_size == 0


async def test_an_idle_watch_looks_seldom_and_a_stopped_one_not_at_all(tmp_path: Path) -> None:
    watch = LoopWatch(0.1, OWN)
    looks: list[float] = []
    watch._look = looks.append  # type: ignore[method-assign]
    watch.start(lambda stall: None)
    await asyncio.sleep(0.5)
    assert looks == []
    watch.enter()
    async with asyncio.timeout(10):
        while len(looks) < 5:
            await asyncio.sleep(0)
    watch.stop()
    thread = next((thread for thread in threading.enumerate() if thread.name == "aico-sched-watch"), None)
    if thread is not None:
        await asyncio.to_thread(thread.join, 10)
    seen = len(looks)
    await asyncio.sleep(0.1)
    assert len(looks) == seen
    off = LoopWatch(inf, OWN)
    off.start(lambda stall: None)
    assert off._watching is None
