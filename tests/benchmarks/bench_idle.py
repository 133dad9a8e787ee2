"""What tasks cost that are not due: processor time and memory of the service's process.

Run `python tests/benchmarks/bench_idle.py [--quick] [--json]`. The tasks come due from half an hour on, one a second;
heartbeat, health sampling and the bus run as always. One figure per size: 10 seconds are long enough to need no rounds.
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import sys
import time
from pathlib import Path

from harness import Measure, Service, fill, folder, later, options, publish

from aico_sched.client import SchedulerClient

IDLE = "user.idle"
GOALS = {10_000: 0.1, 100_000: 0.05}
"""Seconds of processor time in 10 seconds."""


async def make_template(data_dir: Path) -> None:
    """A database that holds one task."""
    async with SchedulerClient.discover(data_dir) as client:
        await client.create(IDLE, "interval:86400", task_class="demo.echo")


async def known(data_dir: Path) -> int:
    """How many tasks the service says it has."""
    async with SchedulerClient.discover(data_dir, timeout=30) as client:
        return int((await client.stats()).actors["store"]["tasks"])


def idle(template: Path, count: int, data_dir: Path, settle: float, seconds: float) -> list[Measure]:
    """`count` tasks, for 10 seconds or what `seconds` says, scaled to 10."""
    shutil.copytree(template, data_dir)
    fill(data_dir, IDLE, count, later)
    with Service(data_dir) as service:
        stored = asyncio.run(known(data_dir))
        time.sleep(settle)
        before = service.cpu_seconds
        time.sleep(seconds)
        used, memory = service.cpu_seconds - before, service.megabytes
    label = f"{count:,} idle tasks"
    return [
        Measure(f"{label}, stored", stored, "", count, ">"),
        Measure(f"{label}, processor time in 10 s", used * 10 / seconds, "s", GOALS.get(count)),
        Measure(f"{label}, memory", memory, "MB"),
    ]


def measure(chosen: argparse.Namespace) -> list[Measure]:
    """All sizes; none at all is what the rest is compared with."""
    sizes, settle, seconds = ((0, 10_000), 1.0, 5.0) if chosen.quick else ((0, 10_000, 100_000), 3.0, 10.0)
    with folder() as place:
        template = place / "template"
        with Service(template):
            asyncio.run(make_template(template))
        return [found for size in sizes for found in idle(template, size, place / str(size), settle, seconds)]


if __name__ == "__main__":
    OPTIONS = options(__doc__)
    sys.exit(publish("Idle", measure(OPTIONS), OPTIONS))
