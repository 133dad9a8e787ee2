"""What it costs to time every step of a task on the loop.

Run `python tests/benchmarks/bench_steps.py [--quick] [--json] [--rounds N]`. The same coroutine is run bare and on a
meter, in turns; the figures are processor time, so that a busy machine does not decide them. A step is from one await
to the next. "deep" awaits through four coroutines; "children" is a task that starts tasks, which the task factory puts
on its meter.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections.abc import Callable, Coroutine
from typing import Any

from harness import Measure, options, percentile, publish

from aico_sched.execution.metering import METER, Board, Meter, metered, task_factory

GOAL = 2.0


async def flat(count: int) -> None:
    """Steps that do nothing."""
    for _ in range(count):
        await asyncio.sleep(0)


async def deep(count: int, levels: int = 4) -> None:
    """The same, some coroutines down."""
    await (deep(count, levels - 1) if levels else flat(count))


async def children(count: int) -> None:
    """A task for each step."""
    for _ in range(count // 4):
        await asyncio.create_task(flat(1))


async def cost(work: Callable[[int], Coroutine[Any, Any, None]], count: int) -> tuple[float, float]:
    """Seconds of processor time: bare, and on a meter."""
    loop = asyncio.get_running_loop()
    began = time.thread_time()
    await work(count)
    bare = time.thread_time() - began
    meter = Meter(Board(), "bench", "bench")
    loop.set_task_factory(task_factory(None))
    METER.set(meter)
    began = time.thread_time()
    await metered(work(count), meter)
    timed = time.thread_time() - began
    METER.set(None)
    loop.set_task_factory(None)
    return bare / meter.steps, timed / meter.steps


def measure(chosen: argparse.Namespace) -> list[Measure]:
    """The cost of a step in microseconds, the median of the rounds."""
    count = 20_000 if chosen.quick else 200_000
    found = []
    for work in (flat, deep, children):
        pairs = [asyncio.run(cost(work, count)) for _ in range(max(3, chosen.rounds))]
        bare = percentile([one for one, _ in pairs], 0.5) * 1e6
        extra = percentile([timed - one for one, timed in pairs], 0.5) * 1e6
        found.append(Measure(f"{work.__name__}: a bare step", bare, "µs"))
        found.append(Measure(f"{work.__name__}: timing it costs", extra, "µs", GOAL))
    return found


if __name__ == "__main__":
    OPTIONS = options(__doc__)
    sys.exit(publish("Timing each step", measure(OPTIONS), OPTIONS))
