"""Running tasks: how late they start and how many a second, starts and ends durable and all events published.

Run `python tests/benchmarks/bench_executions.py [--quick] [--json] [--rounds N]`.

- burst: 1,000 and 10,000 daily tasks due at one instant, with a concurrency limit that does not bind. The start delay
  is the moment the task's code began minus the moment it was due, as the events tell, which a third process reads.
- end to end: executions of the burst divided by the time from due to the last `succeeded` event read.
- uncrowded: 20 runs a second, one at a time.
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from harness import (
    Listener,
    Measure,
    Service,
    due_at,
    fill,
    folder,
    gaps,
    medians,
    options,
    percentile,
    publish,
    rfc3339,
    spread,
    succeeded,
    tomorrow,
)

from aico_sched.client import SchedulerClient
from aico_sched.topics import names

DAILY, EVERY = "bench.daily", "bench.every"
"""Not `user.*` or `custom.*`: those run in a process of their own, and it is the scheduler that is measured."""

LEAD = 10.0
"""Seconds from filling the database to the instant: the service and the listener must be there by then."""

QUIET = 0.5
"""Seconds before the instant from which on the service's processor time is counted."""

GOALS = {1_000: {"p99": 100.0, "max": 25.0}, 10_000: {"max": 250.0}}
RUNNERS = 20


async def make_template(data_dir: Path) -> None:
    """A database that holds one task of each kind, not due for a long time."""
    async with SchedulerClient.discover(data_dir) as client:
        await client.create(DAILY, "interval:86400", task_class="demo.echo", start_at=tomorrow())
        await client.create(EVERY, "interval:1", task_class="demo.echo", start_at=tomorrow())


def delay(event: dict[str, Any]) -> float:
    """Seconds from when the run was due to when its code began."""
    started, due = (datetime.fromisoformat(event[name]) for name in ("started_at", "scheduled_for"))
    return (started - due).total_seconds()


def of(topic: str, events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The events of one topic about the copies."""
    return [event for event in events if event["topic"] == topic and event["task_id"].startswith((DAILY, EVERY))]


def burst(template: Path, count: int, data_dir: Path) -> list[Measure]:
    """`count` tasks, due at one instant."""
    shutil.copytree(template, data_dir)
    due = datetime.now(UTC) + timedelta(seconds=LEAD + count / 5_000)
    columns = {"anchor": rfc3339(due - timedelta(days=1)), "options": "{}", **due_at(due)}
    fill(data_dir, DAILY, count, lambda number: columns)
    with Service(data_dir) as service, Listener(data_dir, names.EXECUTION_EVENTS) as listener:
        if datetime.now(UTC) > due:
            raise RuntimeError("the machine is too slow: the instant passed before the service was there")
        time.sleep(max(0.0, due.timestamp() - time.time() - QUIET))
        used = -service.cpu_seconds
        events = listener.collect(names.EXECUTION_SUCCEEDED, count, LEAD + 30 + count / 500)
        used += service.cpu_seconds
        memory = service.megabytes
    stored = succeeded(data_dir)
    started, ended = of(names.EXECUTION_STARTED, events), of(names.EXECUTION_SUCCEEDED, events)
    last = max((event["arrived"] for event in ended), default=float("nan"))
    label = f"{count:,} due at once"
    return [
        *spread(f"{label}, start delay", [delay(event) for event in ended], GOALS.get(count)),
        Measure(f"{label}, executions end to end", len(ended) / (last - due.timestamp()), "/s", 4_000, ">"),
        Measure(f"{label}, the service's processor time for one", used / count * 1e6, "µs", 250.0),
        Measure(f"{label}, ends in the database", stored, "", count, ">"),
        Measure(f"{label}, started and succeeded events", len(started) + len(ended), "", 2 * count, ">"),
        Measure(f"{label}, events lost (gaps in seq)", gaps(events), "", 0),
        Measure(f"{label}, memory afterwards", memory, "MB"),
    ]


def uncrowded(template: Path, seconds: float, data_dir: Path) -> list[Measure]:
    """Interval tasks whose runs are spread evenly over each second."""
    shutil.copytree(template, data_dir)
    first = datetime.now(UTC) + timedelta(seconds=LEAD)

    def changes(number: int) -> dict[str, str]:
        moment = first + timedelta(seconds=number / RUNNERS)
        return {"anchor": rfc3339(moment - timedelta(seconds=1)), "options": "{}", **due_at(moment)}

    fill(data_dir, EVERY, RUNNERS, changes)
    count = int(RUNNERS * seconds)
    with Service(data_dir), Listener(data_dir, names.EXECUTION_EVENTS) as listener:
        events = listener.collect(names.EXECUTION_SUCCEEDED, count, LEAD + seconds + 30)
    late = [delay(event) for event in of(names.EXECUTION_SUCCEEDED, events)]
    ended = [event for event in events if event["completed_at"]]
    visible = [event["arrived"] - datetime.fromisoformat(event["completed_at"]).timestamp() for event in ended]
    goals = {"p50": 0.4, "p99": 1.0}
    return [
        *spread("uncrowded, start delay", late, goals),
        Measure("uncrowded, end to event read, p50", percentile(visible, 0.5) * 1_000, "ms"),
    ]


def measure(chosen: argparse.Namespace) -> list[Measure]:
    """All measures; each burst has a database of its own."""
    sizes, seconds = ((1_000,), 5.0) if chosen.quick else ((1_000, 10_000), 15.0)
    with folder() as place:
        template = place / "template"
        with Service(template):
            asyncio.run(make_template(template))
        found: list[Measure] = []
        for size in sizes:
            found += medians([burst(template, size, place / f"{size}.{each}") for each in range(chosen.rounds)])
        return found + uncrowded(template, seconds, place / "uncrowded")


if __name__ == "__main__":
    OPTIONS = options(__doc__)
    sys.exit(publish("Executions", measure(OPTIONS), OPTIONS))
