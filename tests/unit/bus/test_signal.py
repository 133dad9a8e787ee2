"""Waking all who wait."""

import asyncio

import pytest

from aico_sched.bus.signal import Signal


async def test_a_notification_wakes_all_who_wait_and_is_not_kept() -> None:
    signal = Signal()
    waits = [asyncio.create_task(signal.wait(5)) for _ in range(3)]
    await asyncio.sleep(0)
    signal.notify()
    assert await asyncio.gather(*waits) == [True, True, True]
    assert await signal.wait(0) is False


async def test_a_cancelled_wait_is_forgotten() -> None:
    signal = Signal()
    wait = asyncio.create_task(signal.wait())
    await asyncio.sleep(0)
    wait.cancel()
    with pytest.raises(asyncio.CancelledError):
        await wait
    signal.notify()
