"""How late the event loop is. It goes by the loop's own time, also where the service's clock is a virtual one."""

import asyncio

from aico_sched.histogram import Histogram

INTERVAL = 0.5
"""Seconds between two looks."""


class LoopLag:
    """Asks the loop to be called at a time and notes how much later that was; seconds."""

    def __init__(self) -> None:
        self.last = self.worst = 0.0
        self.spread = Histogram()
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begin on the running loop."""
        loop = asyncio.get_running_loop()
        self._timer = loop.call_at(loop.time() + INTERVAL, self._look, loop, loop.time() + INTERVAL)

    def stop(self) -> None:
        """Look no more; harmless when repeated."""
        if self._timer is not None:
            self._timer.cancel()

    def _look(self, loop: asyncio.AbstractEventLoop, expected: float) -> None:
        self.last = max(0.0, loop.time() - expected)
        self.worst = max(self.worst, self.last)
        self.spread.add(self.last * 1_000)
        self.start()
