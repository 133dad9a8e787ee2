"""Threads log while the loop sends: whatever the moment, each line arrives once, in its place, and without being
called for."""

import asyncio
import threading
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from structlog.testing import capture_logs

from aico_sched import run_lines
from aico_sched.execution.log_relay import LogRelay, received
from aico_sched.run_lines import Line, RunLog


def line(number: int) -> Line:
    return {"at": "2026-01-01T00:00:00Z", "level": "info", "message": str(number), "fields": {}}


class Interrupted:
    """The lock of all lines, with a thread that does `work` at one moment: the `at`-th time that the loop's thread is
    about to take it, or has just given it back. That is as bad as a switch of threads can be."""

    def __init__(self, at: int, moment: str) -> None:
        self.at, self.moment, self.work = at, moment, lambda: None
        self._lock, self._loop, self._inside = threading.Lock(), threading.get_ident(), False

    def __enter__(self) -> None:
        self._now("before")
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()
        self._now("after")

    def _now(self, moment: str) -> None:
        if threading.get_ident() != self._loop or moment != self.moment:
            return
        if self.at == 0:
            other = threading.Thread(target=self.work)
            other.start()
            other.join()
        self.at -= 1


@pytest.mark.parametrize("at", range(5))
@pytest.mark.parametrize("moment", ["before", "after"])
async def test_a_line_that_a_thread_logs_while_others_are_sent(
    at: int, moment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = Interrupted(at, moment)
    monkeypatch.setattr(run_lines, "_LOCK", lock)
    # Batches leave at once, so that nothing but the lines themselves decides when the last one does.
    monkeypatch.setattr("aico_sched.execution.log_relay.BURST", 1_000)
    batches: list[tuple[list[Line], int]] = []
    all_sent = asyncio.Event()

    def send(lines: list[Line], total: int) -> None:
        batches.append((lines, total))
        if total == 5:
            all_sent.set()

    relay = LogRelay(send, RunLog())
    count = iter(range(5))
    add: Callable[[], Any] = lambda: relay.add(line(next(count)))  # noqa: E731
    lock.work = lambda: (add(), add())
    for _ in range(2):
        add()
    await asyncio.to_thread(add)
    async with asyncio.timeout(10):
        await all_sent.wait()
    logged = relay.lines.since(0)
    assert sorted(each["message"] for each in logged) == ["0", "1", "2", "3", "4"]
    # Each batch ends with the line that its total counts last: who takes them in goes by that.
    assert [(lines[-1], len(lines)) for lines, _ in batches] == [
        (logged[total - 1], total - before) for before, total in pairwise([0, *(total for _, total in batches)])
    ]
    arrived = RunLog()
    with capture_logs() as written:
        for lines, total in batches:
            received(arrived, lines, total)
    assert [each["event"] for each in written] == [each["message"] for each in logged]
    assert arrived.since(0) == logged
