"""Machines and clocks that are as the test says."""

import asyncio

from aico_sched.clock import SystemClock
from aico_sched.host import HostSample


class FakeMachine:
    """A machine whose load the test sets. `looks` counts how often it was asked."""

    def __init__(self, cpu: float = 0.0, memory: float = 0.0, *, battery: bool = False) -> None:
        self.cpu, self.memory, self.battery = cpu, memory, battery
        self.looks = 0
        self._looked = asyncio.Event()

    def sample(self) -> HostSample:
        self.looks += 1
        self._looked.set()
        return HostSample(self.cpu, self.memory, self.battery)

    async def was_looked_at(self, count: int) -> None:
        async with asyncio.timeout(20):
            while self.looks < count:
                self._looked.clear()
                await self._looked.wait()


class SetClock(SystemClock):
    """The machine's clock, whose wall time can be set."""

    def __init__(self) -> None:
        self.offset_us = 0

    def now_us(self) -> int:
        return super().now_us() + self.offset_us

    def set_forward(self, seconds: float) -> None:
        self.offset_us += round(seconds * 1_000_000)
