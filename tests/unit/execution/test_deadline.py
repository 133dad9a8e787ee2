"""The time of an attempt, which can stand still."""

import asyncio

import pytest

from aico_sched.clock import SystemClock
from aico_sched.execution.deadline import Deadline
from aico_sched.testing import VirtualClock


async def working(clock: VirtualClock, deadline: Deadline, began: "asyncio.Future[None]") -> None:
    async with deadline:
        began.set_result(None)
        await asyncio.Event().wait()


async def test_what_is_paused_is_not_charged() -> None:
    clock = VirtualClock()
    deadline, began = Deadline(clock, 10.0), asyncio.get_running_loop().create_future()
    task = asyncio.create_task(working(clock, deadline, began))
    await clock.advance(4.0)
    for _ in range(2):
        deadline.pause()
    await clock.advance(1_000.0)
    assert not task.done()
    for _ in range(2):
        deadline.go_on()
    await clock.advance(5.9)
    assert not task.done()
    await clock.advance(0.2)
    assert deadline.expired()
    with pytest.raises(TimeoutError):
        await task
    deadline.go_on()


async def test_it_is_a_timeout_on_the_machine_s_clock_too() -> None:
    with pytest.raises(TimeoutError):
        async with Deadline(SystemClock(), 0.01):
            await asyncio.Event().wait()
    async with Deadline(SystemClock(), 60.0) as deadline:
        pass
    assert not deadline.expired()


async def test_a_cancellation_from_outside_passes() -> None:
    clock = VirtualClock()
    began = asyncio.get_running_loop().create_future()
    task = asyncio.create_task(working(clock, Deadline(clock, 10.0), began))
    await began
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
