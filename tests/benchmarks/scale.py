"""How the cost of this project grows: with tasks stored, runs due at once, history kept and subscribers listening.

Run as part of `make bench`, or `python tests/benchmarks/scale.py [--quick] [--out FOLDER] [--images FOLDER] [PART…]`.
Prints a table, writes `scale.json` and draws the plots of docs/scale.md. One figure a size unless said otherwise: it is
the slope that counts. Rows are written into the database in bulk, because that is not what is measured.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import shutil
import statistics
import sys
import time
import uuid
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from bench_creates import EACH_WITHIN, one_by_one, payloads
from chart import Plot, Series, draw_plots
from harness import ROOT, Listener, Service, folder, opened, rfc3339
from ours import LEAD, TASKS, Ours, heard

from aico_sched.client import SchedulerClient
from aico_sched.topics import names

ROUNDS = 3
ASKED = 100
SETTLE, IDLE = 3.0, 10.0

Figures = dict[int, dict[str, float]]


def tasks(ours: Ours, quick: bool) -> Figures:
    """What stored tasks cost that are not due: start, memory, idle processor time."""
    found: Figures = {}
    for count in (1_000, 10_000) if quick else (1_000, 10_000, 100_000, 1_000_000):
        starts = [ours.overdue(count) for _ in range(1 if quick else ROUNDS)]
        idle = ours.idle(count, 1.0, 4.0) if quick else ours.idle(count, SETTLE, IDLE)
        found[count] = {
            "start to overdue run, ms": statistics.median(each["from_start"] for each in starts) * 1e3,
            "idle CPU in 10 s, ms": idle["cpu"] * 1e3,
            "memory, MB": statistics.median(each["megabytes"] for each in starts),
        }
        say("tasks", count, found[count])
    return found


def runs(ours: Ours, quick: bool) -> Figures:
    """What a run costs in a burst."""
    found: Figures = {}
    for count in (100, 1_000) if quick else (100, 1_000, 10_000):
        rounds = [ours.due(count) for _ in range(1 if quick else ROUNDS)]
        found[count] = {
            "CPU for one run, µs": statistics.median(each["cpu_each"] for each in rounds) * 1e6,
            "all started after, ms": statistics.median(each["max"] for each in rounds) * 1e3,
            "runs a second": statistics.median(each["rate"] for each in rounds),
        }
        say("runs", count, found[count])
    return found


def history(ours: Ours, quick: bool) -> Figures:
    """How long commands take beside old executions."""
    found: Figures = {}
    for count in (0, 10_000) if quick else (0, 10_000, 100_000, 1_000_000):
        data_dir = ours.place / f"history{count}"
        shutil.copytree(ours.template, data_dir)
        remember(data_dir, count)
        with Service(data_dir, **TASKS):
            found[count] = asyncio.run(asked(data_dir))
        shutil.rmtree(data_dir)
        say("history", count, found[count])
    return found


async def asked(data_dir: Path) -> dict[str, float]:
    """Median milliseconds of a durable create, and of questions about the history."""
    async with SchedulerClient.discover(data_dir, timeout=EACH_WITHIN) as client:
        await one_by_one(client, payloads("warm"), ASKED)
        created = await one_by_one(client, payloads("history"), ASKED)
        return {
            "create, ms": statistics.median(created) * 1e3,
            "newest 100 executions, ms": await median_ms(lambda: client.executions(limit=100)),
            "status of a task, ms": await median_ms(lambda: client.status("bench.daily")),
        }


async def median_ms(ask: Callable[[], Awaitable[Any]]) -> float:
    """The median of `ASKED` answers, one after the other."""
    took = []
    for _ in range(ASKED):
        started = time.perf_counter()
        await ask()
        took.append(time.perf_counter() - started)
    return statistics.median(took) * 1e3


def remember(data_dir: Path, count: int) -> None:
    """So many old executions with their attempts: copies of a real one."""
    with Service(data_dir, **TASKS):
        asyncio.run(_one_run(data_dir))
    with opened(data_dir) as connection:
        connection.execute("BEGIN")
        ids = [uuid.uuid4().hex for _ in range(count)]
        moments = [rfc3339(datetime.now(UTC) - timedelta(days=30, seconds=number)) for number in range(count)]
        for table in ("task_executions", "task_attempts"):
            columns = [row[1] for row in connection.execute(f"PRAGMA table_info({table})").fetchall()]
            if not columns:
                raise RuntimeError(f"there is no table {table}")
            row = connection.execute(f"SELECT * FROM {table} LIMIT 1").fetchone()
            original = dict(zip(columns, row, strict=True))
            insert = f"INSERT INTO {table} VALUES ({', '.join('?' * len(columns))})"
            copies = ({**original, "execution_id": each, **_instants(original, at)} for each, at in zip(ids, moments))  # noqa: B905
            connection.executemany(insert, [tuple(copy[column] for column in columns) for copy in copies])
        connection.execute("COMMIT")


def _instants(original: dict[str, Any], moment: str) -> dict[str, Any]:
    """The columns of a copy that hold when it was, and its number, which the database gives."""
    named = ("scheduled_for", "due_at", "started_at", "completed_at", "created_at")
    changed: dict[str, Any] = {name: moment for name in named if original.get(name)}
    return changed | ({"id": None} if "id" in original else {})


async def _one_run(data_dir: Path) -> None:
    async with SchedulerClient.discover(data_dir) as client:
        await client.wait((await client.trigger("bench.daily")).execution_id, EACH_WITHIN)


def subscribers(ours: Ours, quick: bool) -> Figures:
    """What a run costs with so many others that hear all events of executions."""
    found: Figures = {}
    burst = 500 if quick else 2_000
    for count in (1, 4) if quick else (1, 4, 16):
        used = [_heard(ours, count, burst) for _ in range(1 if quick else ROUNDS)]
        found[count] = {"CPU for one run, µs": statistics.median(used) * 1e6}
        say("subscribers", count, found[count])
    return found


def _heard(ours: Ours, listeners: int, burst: int) -> float:
    data_dir = ours.copy()
    due = ours.daily(data_dir, burst)
    with Service(data_dir, **TASKS) as service, ExitStack() as stack:
        all_of_them = [stack.enter_context(Listener(data_dir, names.EXECUTION_EVENTS)) for _ in range(listeners)]
        time.sleep(max(0.0, due.timestamp() - time.time() - 0.3))
        before = service.cpu_seconds
        for listener in all_of_them:
            heard(listener, burst, LEAD + 60)
        return (service.cpu_seconds - before) / burst


PARTS: dict[str, tuple[Callable[[Ours, bool], Figures], str]] = {
    "tasks": (tasks, "tasks stored, not due"),
    "runs": (runs, "runs due at one instant"),
    "history": (history, "executions in the history"),
    "subscribers": (subscribers, "subscribers to all events of executions"),
}

PLOTS = {
    "scale-tasks": (
        "tasks",
        "Starting and idling, by tasks stored",
        "ms",
        ("start to overdue run, ms", "idle CPU in 10 s, ms"),
    ),
    "scale-memory": ("tasks", "Memory of the service, by tasks stored", "MB", ("memory, MB",)),
    "scale-runs": ("runs", "Processor time of a run, by runs due at once", "µs", ("CPU for one run, µs",)),
    "scale-history": (
        "history",
        "Commands, by executions kept",
        "ms",
        ("create, ms", "newest 100 executions, ms", "status of a task, ms"),
    ),
    "scale-subscribers": ("subscribers", "Processor time of a run, by subscribers", "µs", ("CPU for one run, µs",)),
}  # fmt: skip


def say(part: str, size: int, figures: dict[str, float]) -> None:
    """A line of the table, as soon as it is known."""
    cells = "  ".join(f"{name} {value:,.4g}" for name, value in figures.items())
    print(f"{part:12}{size:>10,}  {cells}", flush=True)


def plots(found: dict[str, Figures]) -> list[Plot]:
    """What is drawn of it."""
    drawn = []
    for name, (part, title, unit, wanted) in PLOTS.items():
        if part in found:
            series = [
                Series(which.rpartition(",")[0], [(max(size, 1), row[which]) for size, row in found[part].items()])
                for which in wanted
            ]
            drawn.append(Plot(name, title, PARTS[part][1], unit, series))
    return drawn


def main() -> int:
    """Measure, print, write, draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="small sizes")
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "bench")
    parser.add_argument("--images", type=Path, help="where to draw; docs/images, and with --quick as --out")
    parser.add_argument("parts", nargs="*", metavar="PART", choices=[*PARTS, []], help="these only")
    chosen = parser.parse_args()
    print("\nHow costs grow", flush=True)
    with folder() as place:
        ours = Ours(place)
        ours.prepare()
        found = {name: PARTS[name][0](ours, chosen.quick) for name in chosen.parts or PARTS}
    chosen.out.mkdir(parents=True, exist_ok=True)
    (chosen.out / "scale.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    draw_plots(plots(found), chosen.images or (chosen.out if chosen.quick else ROOT / "docs" / "images"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
