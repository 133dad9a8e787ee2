"""The window of a client's requests: so many at once, in order, and no place is lost to who gives up."""

import asyncio
from contextlib import suppress

from aico_sched.client.requests import _Window


async def test_so_many_at_once_in_the_order_they_came() -> None:
    window, order, inside, most = _Window(3), [], 0, 0

    async def one(number: int) -> None:
        nonlocal inside, most
        async with window:
            order.append(number)
            inside += 1
            most = max(most, inside)
            await asyncio.sleep(0)
            inside -= 1

    await asyncio.gather(*(one(number) for number in range(50)))
    assert order == list(range(50))
    assert most == 3


async def test_who_gives_up_waiting_leaves_its_place_to_others() -> None:
    window, leave, entered = _Window(1), asyncio.Event(), asyncio.Event()

    async def hold() -> None:
        async with window:
            await leave.wait()

    async def enter() -> None:
        async with window:
            entered.set()

    holder = asyncio.create_task(hold())
    await asyncio.sleep(0)
    quitter, patient = asyncio.create_task(enter()), asyncio.create_task(enter())
    await asyncio.sleep(0)
    quitter.cancel()
    leave.set()
    async with asyncio.timeout(5):
        await asyncio.gather(holder, patient)
    assert entered.is_set()
    with suppress(asyncio.CancelledError):
        await quitter
    assert quitter.cancelled()


async def test_a_place_given_to_who_is_cancelled_in_the_same_turn_is_passed_on() -> None:
    window = _Window(1)
    await window.__aenter__()
    quitter = asyncio.create_task(window.__aenter__())
    patient = asyncio.create_task(window.__aenter__())
    await asyncio.sleep(0)
    await window.__aexit__()
    quitter.cancel()
    async with asyncio.timeout(5):
        await patient
    assert quitter.cancelled()
    await window.__aexit__()
    async with asyncio.timeout(5), window:
        pass
