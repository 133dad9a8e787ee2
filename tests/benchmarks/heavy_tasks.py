"""Task classes for bench_isolation: one that burns all processors, one that computes with NumPy, one that feels it."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from typing import Any

from pydantic import BaseModel, ConfigDict

from aico_sched.tasks import BaseTask, BlockingContext, BlockingTask, TaskContext


class ForSeconds(BaseModel):
    """How long."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    seconds: float


BURN = "import sys, time\nend = time.monotonic() + float(sys.argv[1])\nwhile time.monotonic() < end: sum(range(1000))"


class Burn(BaseTask):
    """Keeps every processor busy, from a process of its own."""

    name = "maintenance.burn"
    environment = "process"
    Config = ForSeconds

    async def execute(self, context: TaskContext[ForSeconds]) -> dict[str, Any]:
        command = [sys.executable, "-c", BURN, str(context.config.seconds)]
        burning = [subprocess.Popen(command) for _ in range(os.cpu_count() or 1)]
        codes = [await asyncio.to_thread(process.wait) for process in burning]
        return {"processes": len(codes)}


class Numbers(BlockingTask):
    """Multiplies matrices in a thread of the service."""

    name = "maintenance.numbers"
    Config = ForSeconds

    def run(self, context: BlockingContext[ForSeconds]) -> dict[str, Any]:
        import numpy

        end = time.monotonic() + context.config.seconds
        values, rounds = numpy.random.default_rng(1).random((400, 400)), 0
        while time.monotonic() < end:
            values = values @ values
            values /= values.max()
            numpy.sort(values, axis=None)
            rounds += 1
            context.checkpoint()
        return {"rounds": rounds}


class Pulse(BaseTask):
    """Measures how late the loop is: a hundred times a second, when it should run and when it does."""

    name = "maintenance.pulse"
    environment = "loop"
    Config = ForSeconds

    async def execute(self, context: TaskContext[ForSeconds]) -> dict[str, Any]:
        loop = asyncio.get_running_loop()
        end = loop.time() + context.config.seconds
        late: list[float] = []
        while loop.time() < end:
            due = loop.time() + 0.01
            await asyncio.sleep(0.01)
            late.append(round((loop.time() - due) * 1_000, 3))
        return {"late_ms": late}
