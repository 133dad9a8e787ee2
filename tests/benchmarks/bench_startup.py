"""From `aico-sched run` to the first execution, with nothing and with many tasks stored.

Run `python tests/benchmarks/bench_startup.py [--quick] [--json] [--rounds N]`. One stored task is overdue; the time
runs from the start of the process, Python's own included, until that task is claimed. Memory is the process's then.
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from harness import Measure, Service, due_at, fill, folder, later, medians, options, publish

from aico_sched.client import SchedulerClient

DAILY, OVERDUE = "bench.daily", "bench.overdue"
GOALS = {10_000: 1.0}
WITHIN = 30.0


async def make_template(data_dir: Path) -> None:
    """A database that holds one task of each kind."""
    async with SchedulerClient.discover(data_dir) as client:
        await client.create(DAILY, "interval:86400", task_class="demo.echo")
        await client.create(OVERDUE, "interval:3600", task_class="demo.echo")


async def first_claim(data_dir: Path) -> float:
    """The wall time at which the overdue task was claimed."""
    deadline = time.monotonic() + WITHIN
    async with SchedulerClient.discover(data_dir, timeout=WITHIN) as client:
        while time.monotonic() < deadline:
            page = await client.executions(task_id=f"{OVERDUE}.0")
            started = [row.started_at for row in page.executions if row.started_at]
            if started:
                return datetime.fromisoformat(started[-1]).timestamp()
            await asyncio.sleep(0.02)
    raise TimeoutError("the overdue task did not run")


def start(stored: Path, count: int, data_dir: Path) -> list[Measure]:
    """One start on a copy of `stored`."""
    shutil.copytree(stored, data_dir)
    due = datetime.now(UTC) - timedelta(minutes=1)
    fill(data_dir, OVERDUE, 1, lambda number: due_at(due))
    with Service(data_dir) as service:
        up = time.time() - service.began
        claimed = asyncio.run(first_claim(data_dir)) - service.began
        memory = service.megabytes
    label = f"{count:,} stored"
    return [
        Measure(f"{label}, ready for clients after", up, "s"),
        Measure(f"{label}, overdue task claimed after", claimed, "s", GOALS.get(count)),
        Measure(f"{label}, memory", memory, "MB"),
    ]


def measure(chosen: argparse.Namespace) -> list[Measure]:
    """All sizes, in turn in every round."""
    sizes = (0, 10_000) if chosen.quick else (0, 10_000, 100_000)
    with folder() as place:
        template = place / "template"
        with Service(template):
            asyncio.run(make_template(template))
        for size in sizes:
            shutil.copytree(template, place / str(size))
            fill(place / str(size), DAILY, size, later)
        rounds: list[list[Measure]] = []
        for each in range(chosen.rounds):
            rounds.append([])
            for size in sizes:
                copy = place / f"{size}.{each}"
                rounds[-1] += start(place / str(size), size, copy)
                shutil.rmtree(copy)
        return medians(rounds)


if __name__ == "__main__":
    OPTIONS = options(__doc__)
    sys.exit(publish("Start-up", measure(OPTIONS), OPTIONS))
