"""The virtual clock: timers in order and on time, steps, deadlines, and coming to rest."""

import asyncio
import sys
from datetime import UTC, datetime, timedelta

import pytest

from aico_sched import outside
from aico_sched.clock import Flexible
from aico_sched.testing import VirtualClock

START = datetime(2026, 3, 1, tzinfo=UTC)


async def test_time_stands_still_until_it_is_moved() -> None:
    clock = VirtualClock(START)
    assert (clock.now, clock.monotonic()) == (START, 0.0)
    await clock.advance(1.5)
    assert (clock.now, clock.monotonic()) == (START + timedelta(seconds=1.5), 1.5)
    await clock.advance_to(START + timedelta(days=1))
    assert clock.now_us() == int(START.timestamp() + 86_400) * 1_000_000
    with pytest.raises(ValueError, match="has passed"):
        await clock.advance_to(START)


async def test_timers_go_off_in_order_each_at_its_own_time() -> None:
    clock, seen = VirtualClock(START), []
    for seconds in (3.0, 1.0, 2.0, 1.0):
        clock.call_at(seconds, lambda: seen.append(clock.monotonic()))
    dropped = clock.call_at(2.5, lambda: seen.append(-1.0))
    dropped.cancel()
    dropped.cancel()
    await clock.advance(2.0)
    assert seen == [1.0, 1.0, 2.0]
    await clock.advance(10.0)
    assert seen == [1.0, 1.0, 2.0, 3.0]


async def test_what_a_timer_starts_is_done_before_time_goes_on() -> None:
    clock, seen = VirtualClock(START), []

    async def worker() -> None:
        for _ in range(3):
            await clock.sleep(10)
            for _ in range(50):
                await asyncio.sleep(0)
            seen.append(clock.monotonic())

    task = asyncio.create_task(worker())
    await clock.advance(86_400)
    assert seen == [10.0, 20.0, 30.0]
    await task


async def test_monotonic_is_never_short_of_what_a_timer_asked_for() -> None:
    clock = VirtualClock(START)
    for number in range(1, 200):
        when = clock.monotonic() + number / 7_000_001
        reached: list[bool] = []
        clock.call_at(when, lambda when=when, reached=reached: reached.append(clock.monotonic() >= when))  # type: ignore[misc]
        await clock.advance(0.001)
        assert reached == [True]


async def test_a_timeout_in_virtual_time() -> None:
    clock = VirtualClock(START)

    async def wait() -> bool:
        try:
            async with clock.timeout(60) as limit:
                await asyncio.Event().wait()
        except TimeoutError:
            return limit.expired()
        return False

    task = asyncio.create_task(wait())
    await clock.advance(59)
    assert not task.done()
    await clock.advance(1)
    assert await task
    async with clock.timeout(60) as limit:
        await clock.advance(10)
    assert not limit.expired()


@pytest.mark.parametrize(("play", "expected"), [(3_600.0, [1_000.0]), (50.0, [60.0]), (0.0, [10.0])])
async def test_what_is_not_urgent_may_be_late(play: float, expected: list[float]) -> None:
    clock, seen = VirtualClock(START, play=play), []
    clock.call_at(Flexible(10.0, 1_000.0), lambda: seen.append(clock.monotonic()))
    await clock.advance(5_000)
    assert seen == expected


async def test_setting_the_wall_clock_moves_no_time() -> None:
    clock, seen = VirtualClock(START), []
    clock.call_at(100.0, lambda: seen.append("urgent"))
    clock.call_at(Flexible(10.0, float("inf")), lambda: seen.append("look"))
    clock.set_wall(START - timedelta(days=3_650))
    assert (clock.now, clock.monotonic()) == (START - timedelta(days=3_650), 0.0)
    await clock.advance(50)
    assert seen == ["look"]
    await clock.advance(50)
    assert seen == ["look", "urgent"]


async def test_until_something_is_done() -> None:
    clock = VirtualClock(START)

    async def work() -> str:
        await clock.sleep(500)
        return "done"

    assert await clock.until(work()) == "done"
    assert clock.monotonic() == 500.0
    with pytest.raises(TimeoutError, match="within 10 s of virtual time"):
        await clock.until(work(), limit=10)
    with pytest.raises(TimeoutError):
        await clock.until(asyncio.Event().wait())


async def test_what_is_watched_holds_time_up_until_it_is_stalled() -> None:
    clock, left = VirtualClock(START), [5]

    def busy() -> bool:
        left[0] -= 1
        return left[0] > 0

    clock.watch(busy)
    await clock.advance(1)
    assert left[0] <= 0
    clock.unwatch(busy)
    clock.watch(lambda: True)
    await clock.advance(1)
    assert clock.monotonic() == 2.0


async def test_many_cancelled_timers_leave_no_trace() -> None:
    clock = VirtualClock(START)
    for _ in range(10_000):
        clock.call_at(1_000_000.0, lambda: None).cancel()
    assert len(clock._timers) < 200


async def test_time_waits_for_what_other_processes_do() -> None:
    """A simulated hour is shorter than the start of a process: its answer still comes first."""
    clock, order = VirtualClock(START), list[str]()

    async def elsewhere() -> None:
        with outside.waiting():
            process = await asyncio.create_subprocess_exec(sys.executable, "-c", "")
            await process.wait()
        order.append("the process")

    async def later() -> None:
        await clock.sleep(3_600)
        order.append("an hour later")

    tasks = [asyncio.create_task(elsewhere()), asyncio.create_task(later())]
    await clock.advance(7_200)
    await asyncio.gather(*tasks)
    assert order == ["the process", "an hour later"]
    assert not outside.under_way()
