"""How late the event loop comes round while something else runs on it."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

PAUSE = 0.002


class Lag:
    """Seconds beyond the pause between two looks: `wall`, which other programs on the machine lengthen, and `own`, the
    loop thread's processor time in between, which they do not."""

    def __init__(self) -> None:
        self.wall: list[float] = []
        self.own: list[float] = []

    async def watch(self) -> None:
        while True:
            wall, own = time.perf_counter(), time.thread_time()
            await asyncio.sleep(PAUSE)
            self.wall.append(time.perf_counter() - wall - PAUSE)
            self.own.append(time.thread_time() - own)


def p99(seconds: list[float]) -> float:
    """The 99th percentile."""
    return sorted(seconds)[int(0.99 * (len(seconds) - 1))]


@asynccontextmanager
async def measured_lag() -> AsyncIterator[Lag]:
    """Measures for the length of a block."""
    lag = Lag()
    watching = asyncio.create_task(lag.watch())
    # Its first look is over before the block begins.
    await asyncio.sleep(2 * PAUSE)
    try:
        yield lag
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
