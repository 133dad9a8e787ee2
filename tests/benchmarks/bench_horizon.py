"""The near horizon: a million stored schedules against ten thousand, and bursts of due tasks.

Run `python tests/benchmarks/bench_horizon.py [--quick] [--json] [--rounds N]`. Tasks are written into the database in
bulk, because their creation is not what is measured. The service is a process of its own with its defaults. When a run
began is what its attempt says (the executor's own clock reading), so a burst's figures end where the executor begins.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import shutil
import sys
import time
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

from harness import Measure, Service, due_at, fill, folder, later, medians, opened, options, percentile, publish

from aico_sched.client import SchedulerClient
from aico_sched.horizon import Horizon
from aico_sched.topics.internal import DueTask

DAILY, BURST, PROBE = "bench.daily", "bench.burst", "bench.probe"
"""Not `user.*` or `custom.*`: those run in a process of their own, and it is the scheduler that is measured."""

AHEAD = 6.0
"""Seconds from the filling of the database to the burst: the service starts in between."""
WITHIN = 60.0
SMALL_CACHE = 1_000


async def make_templates(data_dir: Path) -> None:
    """A database that holds one task of each kind."""
    async with SchedulerClient.discover(data_dir) as client:
        for name in (DAILY, BURST, PROBE):
            await client.create(name, "interval:86400", task_class="demo.echo")


async def look(data_dir: Path, began: float) -> tuple[float, dict[str, Any], float]:
    """When the overdue probe was claimed, in seconds after `began`; the scheduler's figures; its turns in a second."""
    deadline = time.monotonic() + WITHIN
    async with SchedulerClient.discover(data_dir, timeout=WITHIN) as client:
        started: list[str] = []
        while not started and time.monotonic() < deadline:
            page = await client.executions(task_id=f"{PROBE}.0")
            started = [row.started_at for row in page.executions if row.started_at]
        before = (await client.stats()).actors["scheduler"]
        await asyncio.sleep(4.0)
        after = (await client.stats()).actors["scheduler"]
    return datetime.fromisoformat(started[-1]).timestamp() - began, after, (after["turns"] - before["turns"]) / 4


def stored(place: Path, count: int, data_dir: Path) -> list[Measure]:
    """One start with so many stored schedules."""
    shutil.copytree(place, data_dir)
    overdue = datetime.now(UTC) - timedelta(minutes=1)
    fill(data_dir, PROBE, 1, lambda number: due_at(overdue))
    with Service(data_dir) as service:
        up = time.time() - service.began
        claimed, figures, turns = asyncio.run(look(data_dir, service.began))
        memory = service.megabytes
    label = f"{count:,} stored"
    return [
        Measure(f"{label}, ready after", up, "s"),
        Measure(f"{label}, overdue task claimed after", claimed, "s"),
        Measure(f"{label}, memory", memory, "MB"),
        Measure(f"{label}, in the scheduler's memory", figures["known_max"], "tasks", 10_000),
        Measure(f"{label}, scheduler's turns while nothing is due", turns, "1/s"),
    ]


def burst(place: Path, count: int, data_dir: Path, cache_size: int, spread_over: float) -> list[Measure]:
    """So many tasks due at one moment, or one after the other within `spread_over` seconds, at a full horizon."""
    shutil.copytree(place, data_dir)
    due = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=AHEAD)
    step = spread_over / count
    fill(data_dir, BURST, count, lambda number: due_at(due + timedelta(seconds=number * step)))
    with Service(data_dir, AICO_SCHED_SCHEDULER__CACHE_SIZE=str(cache_size)):
        known = asyncio.run(all_over(data_dir, count))
    with opened(data_dir) as connection:
        rows = connection.execute(
            "SELECT e.scheduled_for, a.started_at, e.task_id FROM task_executions e JOIN task_attempts a "
            "USING (execution_id) WHERE e.task_id LIKE 'bench.burst.%' ORDER BY a.started_at, e.id"
        ).fetchall()
    return judged(f"{count:,} due, horizon of {cache_size:,}", rows, count, due, known, cache_size)


def judged(label: str, rows: list[Any], count: int, due: datetime, known: int, cache_size: int) -> list[Measure]:
    """What the rows of a burst say."""
    late = [(datetime.fromisoformat(at) - datetime.fromisoformat(slot)).total_seconds() for slot, at, _ in rows]
    last = max(datetime.fromisoformat(at) for _, at, _ in rows) - due
    slots = [slot for slot, _, _ in rows]
    behind = sum(later < earlier for earlier, later in pairwise(slots))
    return [
        Measure(
            f"{label}, last one handed over after", last.total_seconds(), "s", 0.5 if count <= cache_size else None
        ),
        Measure(f"{label}, handed over late by, p50", percentile(late, 0.5) * 1_000, "ms"),
        Measure(f"{label}, earliest start after its time", min(late) * 1_000, "ms", 0.0, ">"),
        Measure(f"{label}, tasks that did not run once", count - len({row[2] for row in rows}), "", 0.0),
        Measure(f"{label}, runs too many", len(rows) - count, "", 0.0),
        Measure(f"{label}, starts out of due order", behind, "", 0.0),
        Measure(f"{label}, in the scheduler's memory at most", known, "tasks", cache_size),
    ]


async def all_over(data_dir: Path, count: int) -> int:
    """Until so many executions have ended; returns the most tasks the scheduler has known at once."""
    deadline = time.monotonic() + AHEAD + WITHIN
    async with SchedulerClient.discover(data_dir, timeout=WITHIN) as client:
        while time.monotonic() < deadline:
            stats = await client.stats()
            if stats.executions["ended"] >= count:
                return int(stats.actors["scheduler"]["known_max"])
            await asyncio.sleep(0.2)
    raise TimeoutError("the burst was not worked through")


def heap(count: int) -> list[Measure]:
    """Adding to the horizon and taking from it, per item, at a size."""
    tasks = [DueTask(f"user.t{n}", 1, n, "interval:60", "UTC", 0, 30, {}, 0) for n in range(count)]
    random.Random(1).shuffle(tasks)
    horizon = Horizon(count, 6_000_000)
    horizon.until_us = count
    started = time.perf_counter()
    for task in tasks:
        horizon.put_task(task)
    added = time.perf_counter()
    horizon.advance(count)
    while horizon.next_ready() is not None:
        pass
    taken = time.perf_counter()
    return [
        Measure(f"horizon of {count:,}, add one", (added - started) / count * 1e6, "µs"),
        Measure(f"horizon of {count:,}, take one", (taken - added) / count * 1e6, "µs"),
    ]


def measure(chosen: argparse.Namespace) -> list[Measure]:
    """All of it; sizes take turns in every round."""
    sizes = (10_000, 100_000) if chosen.quick else (10_000, 1_000_000)
    bursts = ((10_000, 10_000, 0.0), (5_000 if chosen.quick else 20_000, SMALL_CACHE, 0.1))
    found: list[Measure] = []
    for count in (1_000, 10_000, 100_000):
        found += medians([heap(count) for _ in range(chosen.rounds)])
    with folder() as place:
        template = place / "template"
        with Service(template):
            asyncio.run(make_templates(template))
        for size in sizes:
            shutil.copytree(template, place / str(size))
            fill(place / str(size), DAILY, size, later)
        rounds: list[list[Measure]] = [[] for _ in range(chosen.rounds)]
        for found_now in rounds:
            for size in sizes:
                found_now.extend(stored(place / str(size), size, place / "copy"))
                shutil.rmtree(place / "copy")
            for count, cache_size, spread_over in bursts:
                found_now.extend(burst(template, count, place / "copy", cache_size, spread_over))
                shutil.rmtree(place / "copy")
        return found + medians(rounds)


if __name__ == "__main__":
    OPTIONS = options(__doc__)
    sys.exit(publish("The near horizon", measure(OPTIONS), OPTIONS))
