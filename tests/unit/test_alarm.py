"""Alarms ring when it is time, not before, and leave nothing behind."""

import asyncio
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from aico_sched import alarm
from aico_sched.alarm import Alarm
from aico_sched.clock import Exact, SystemClock

linux = pytest.mark.skipif(sys.platform != "linux", reason="timers that are files are Linux's")


def descriptors() -> list[str]:
    """The targets of this process's open files that are timers."""
    found = []
    for entry in Path("/proc/self/fd").iterdir():
        try:
            found.append(str(entry.readlink()))
        except FileNotFoundError:
            continue
    return [target for target in found if "timerfd" in target]


@linux
@pytest.mark.parametrize("delay", [-1.0, 0.0, 0.0003, 0.004])
async def test_an_alarm_rings_once_and_never_before_its_time(delay: float) -> None:
    before, rung = descriptors(), asyncio.Event()
    times: list[float] = []

    def ring() -> None:
        times.append(time.monotonic())
        rung.set()

    when = time.monotonic() + delay
    Alarm(when, ring)
    await rung.wait()
    await asyncio.sleep(0)
    assert len(times) == 1
    assert times[0] >= when
    assert descriptors() == before


@linux
async def test_a_cancelled_alarm_is_silent_and_leaves_no_file_open() -> None:
    before, rung = descriptors(), list[str]()
    timer = Alarm(time.monotonic(), lambda: rung.append("cancelled"))
    assert len(descriptors()) == len(before) + 1
    timer.cancel()
    timer.cancel()
    later = asyncio.Event()
    Alarm(time.monotonic(), later.set)
    await later.wait()
    assert rung == []
    assert descriptors() == before


@linux
async def test_two_alarms_do_not_know_of_each_other() -> None:
    first, second, third = asyncio.Event(), asyncio.Event(), asyncio.Event()
    now = time.monotonic()
    Alarm(now + 0.002, second.set)
    cancelled = Alarm(now + 3_600, third.set)
    Alarm(now + 0.001, first.set)
    cancelled.cancel()
    await first.wait()
    await second.wait()
    assert not third.is_set()


@linux
async def test_an_alarm_that_the_system_rings_too_early_waits_for_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    rung, looks = asyncio.Event(), iter([9.0, 9.9, 10.0])
    timer = Alarm(10.0, rung.set)
    monkeypatch.setattr(alarm, "time", SimpleNamespace(monotonic=lambda: next(looks)))
    await rung.wait()
    assert list(looks) == []
    timer.cancel()


@linux
async def test_the_clock_sets_an_alarm_for_what_is_exact() -> None:
    clock = SystemClock()
    exact = clock.call_at(Exact(clock.monotonic() + 60), lambda: None)
    plain = clock.call_at(clock.monotonic() + 60, lambda: None)
    try:
        assert isinstance(exact, Alarm)
        assert not isinstance(plain, Alarm)
    finally:
        exact.cancel()
        plain.cancel()


async def test_without_such_timers_the_loops_own_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alarm, "_LIBC", None)
    rung = asyncio.Event()
    clock = SystemClock()
    timer = clock.call_at(Exact(clock.monotonic() + 0.001), rung.set)
    assert not isinstance(timer, Alarm)
    await rung.wait()
