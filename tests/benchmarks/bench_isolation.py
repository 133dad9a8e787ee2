"""Whether the service stays responsive while tasks are not.

Run `python tests/benchmarks/bench_isolation.py [--quick] [--json] [--rounds N]`. For 10 seconds a task in a process of
its own burns every processor, and a task in a thread of the service multiplies and sorts NumPy arrays. Meanwhile a
task on the loop notes how late it is called, a hundred times a second, and another process asks `scheduler.health`, ten
times a second. The same without the two, first, for comparison.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import time
from pathlib import Path
from typing import Any

from harness import ROOT, Measure, Service, folder, medians, options, percentile, publish

from aico_sched.client import SchedulerClient

TASKS = {
    "AICO_SCHED_SCHEDULER__TASK_MODULES": '["heavy_tasks"]',
    "PYTHONPATH": os.pathsep.join([str(ROOT), str(Path(__file__).parent)]),
}
FAR = "interval:86400"
LAG_GOAL, HEALTH_GOAL = 20.0, 100.0
ASK_EVERY = 0.1


async def asked(client: SchedulerClient, seconds: float) -> list[float]:
    """How long each answer of `scheduler.health` took, in milliseconds."""
    took, end = [], time.monotonic() + seconds
    while time.monotonic() < end:
        began = time.perf_counter()
        await client.health()
        took.append((time.perf_counter() - began) * 1_000)
        await asyncio.sleep(ASK_EVERY)
    return took


async def under(client: SchedulerClient, load: list[str], seconds: float) -> tuple[list[float], list[float]]:
    """Lateness of the loop and times of answers, in milliseconds, while `load` runs."""
    for name in (*load, "maintenance.pulse"):
        await client.update(name, config={"seconds": seconds})
    running = [(await client.trigger(name)).execution_id for name in load]
    pulse = (await client.trigger("maintenance.pulse")).execution_id
    health = await asked(client, seconds)
    late: list[float] = (await client.wait(pulse, seconds + 60)).result["data"]["late_ms"]
    for execution in running:
        done: Any = await client.wait(execution, seconds + 60)
        if done.status != "succeeded":
            raise RuntimeError(f"{done.task_id} ended as {done.status}: {done.error_message}")
    return late, health


async def compare(data_dir: Path, seconds: float) -> list[Measure]:
    """One round."""
    found = []
    async with SchedulerClient.discover(data_dir, timeout=30) as client:
        for name in ("maintenance.burn", "maintenance.numbers", "maintenance.pulse"):
            await client.create(name, FAR, config={"seconds": 0.1}, retry={"max_attempts": 1})
            # Imports are done and threads are there before anything is measured.
            await client.wait((await client.trigger(name)).execution_id, 120)
        for label, load in (("idle", []), ("under load", ["maintenance.burn", "maintenance.numbers"])):
            late, health = await under(client, load, seconds)
            goals = (LAG_GOAL, HEALTH_GOAL) if load else (None, None)
            found += [
                Measure(f"{label}: lag of the loop, p50", percentile(late, 0.5), "ms"),
                Measure(f"{label}: lag of the loop, p99", percentile(late, 0.99), "ms", goals[0]),
                Measure(f"{label}: scheduler.health answers, p50", percentile(health, 0.5), "ms"),
                Measure(f"{label}: scheduler.health answers, longest", max(health), "ms", goals[1]),
            ]
    return found


def measure(chosen: argparse.Namespace) -> list[Measure]:
    """The medians of the rounds."""
    seconds, rounds = (2.0, 1) if chosen.quick else (10.0, chosen.rounds)
    found = []
    for number in range(rounds):
        with folder() as place, Service(place / str(number), **TASKS):
            found.append(asyncio.run(compare(place / str(number), seconds)))
    return [*medians(found), Measure("processors", os.cpu_count() or 1, "")]


if __name__ == "__main__":
    OPTIONS = options(__doc__)
    sys.exit(publish("Isolation", measure(OPTIONS), OPTIONS))
