"""Waking whoever waits, any number of them."""

import asyncio


class Signal:
    """An edge, not a state: `notify` wakes the waits that have begun. Check the condition, then wait, with no `await`
    in between."""

    __slots__ = ("_waiters",)

    def __init__(self) -> None:
        self._waiters: set[asyncio.Future[None]] = set()

    def notify(self) -> None:
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)

    async def wait(self, seconds: float | None = None) -> bool:
        """Until the next `notify`, at most `seconds`; whether it came."""
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.add(waiter)
        try:
            async with asyncio.timeout(seconds) as limit:
                await waiter
        except TimeoutError:
            if not limit.expired():
                raise
            return False
        finally:
            self._waiters.discard(waiter)
        return True
