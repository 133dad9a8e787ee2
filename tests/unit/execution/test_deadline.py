"""The time of an attempt, which can stand still."""

import asyncio

import pytest

from aico_sched.clock import SystemClock
from aico_sched.execution.deadline import Deadline
from aico_sched.testing import VirtualClock


async def working(clock: VirtualClock, deadline: Deadline, began: "asyncio.Future[None]") -> None:
    with deadline:
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
    with pytest.raises(TimeoutError), Deadline(SystemClock(), 0.01):
        await asyncio.Event().wait()
    with Deadline(SystemClock(), 60.0) as deadline:
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


async def test_a_cancellation_from_outside_passes_also_when_the_time_has_run_out() -> None:
    clock = VirtualClock()
    began = asyncio.get_running_loop().create_future()
    deadline = Deadline(clock, 10.0, lambda: task.cancel("from outside"))
    task = asyncio.create_task(working(clock, deadline, began))
    await clock.advance(11.0)
    with pytest.raises(asyncio.CancelledError):
        await task
    assert deadline.expired()
    # Its own is taken back, the other's stays.
    assert task.cancelling() == 1


async def test_who_has_run_out_of_time_can_go_on_afterwards() -> None:
    clock = VirtualClock()

    async def patient() -> int:
        with pytest.raises(TimeoutError), Deadline(clock, 10.0):
            await asyncio.Event().wait()
        await clock.sleep(5.0)
        current = asyncio.current_task()
        return -1 if current is None else current.cancelling()

    task = asyncio.create_task(patient())
    await clock.advance(20.0)
    assert await task == 0


async def test_it_belongs_to_a_task() -> None:
    found: list[BaseException] = []

    def enter() -> None:
        try:
            Deadline(SystemClock(), 1.0).__enter__()
        except RuntimeError as error:
            found.append(error)

    asyncio.get_running_loop().call_soon(enter)
    await asyncio.sleep(0)
    assert len(found) == 1
