"""How late the service's event loop is while its large database is worked on, and whether a command is lost.

Run `python tests/benchmarks/bench_maintenance.py [--quick] [--json] [--megabytes N]`. The service runs in this process,
a ticker in its loop is due every 5 ms; a tick that was due while the loop stood still counts with its own lateness; "of
the service's own" is without the time in which the thread was ready and the kernel ran other processes, and "busy with
others" is what those had of the machine: on a quiet one, under 10 %, the raw figures count. A client gives 20 creates
a second all the while. A vacuum needs as much free memory as the database holds.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections.abc import Coroutine
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from harness import Measure, Service, environment, folder, opened, options, percentile, publish
from others import Others

from aico_sched.client import SchedulerClient
from aico_sched.durable import sync_file
from aico_sched.process import spare_the_collector
from aico_sched.service import SchedulerService
from aico_sched.settings import Settings
from aico_sched.topics import names

TICK = 0.005
LAG_GOAL_MS = 50.0
PACE = 0.05
ROW = 3_500
WITHIN = 900.0
SMALL = 20.0
"""Megabytes up to which only the commands are of interest."""

FILL = """INSERT INTO scheduler_seen_messages
WITH RECURSIVE n (i) AS (SELECT ?1 UNION ALL SELECT i + 1 FROM n WHERE i < ?2 - 1)
SELECT 'filler/' || i, ?3, randomblob(?4) FROM n"""


def fill(data_dir: Path, megabytes: int) -> None:
    """Make a database of that size, a fifth of which is free."""
    with Service(data_dir):
        pass
    rows, chunk = megabytes * 1_000_000 // (ROW + 596), 10_000
    now = int(datetime.now(UTC).timestamp() * 1_000_000)
    with opened(data_dir) as connection:
        for first in range(0, rows, chunk):
            connection.execute(FILL, (first, min(first + chunk, rows), now, ROW))
        connection.execute("DELETE FROM scheduler_seen_messages WHERE message_id LIKE 'filler/%5' OR "
                           "message_id LIKE 'filler/%0'", ())  # fmt: skip
    settle(data_dir)


def settle(data_dir: Path) -> None:
    """Wait until what was just written is on the disk: the service's first fsync would wait for it, 0.13 to 0.16 s of
    its loop, as no service meets it whose own commits have written what there is."""
    sync_file(Settings.load(environ=environment(data_dir)).database_path)


def waited_for_processor() -> float:
    """Seconds that this thread was ready to run and the kernel ran others; 0 where it does not tell."""
    try:
        return int(Path("/proc/thread-self/schedstat").read_text().split()[1]) / 1e9
    except OSError:
        return 0.0


class Ticker:
    """How late each tick was, in seconds, on a grid that does not wait for the loop; `own` without the time in which
    the machine was busy with others."""

    def __init__(self) -> None:
        self.late: list[float] = []
        self.own: list[float] = []

    async def run(self) -> None:
        due, waited = time.perf_counter() + TICK, waited_for_processor()
        while True:
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            now, before, waited = time.perf_counter(), waited, waited_for_processor()
            while due <= now:
                self.late.append(now - due)
                self.own.append(max(0.0, now - due - (waited - before)))
                due += TICK


async def create_on(client: SchedulerClient, label: str, over: asyncio.Event) -> tuple[int, float]:
    """Give creates at a steady pace until `over`. How many were given, and the longest wait for an answer."""
    waits: list[float] = []

    async def create(number: int) -> None:
        began = time.perf_counter()
        await client.create(f"user.{label}.{number}", "@yearly", task_class="demo.echo")
        waits.append(time.perf_counter() - began)

    given: list[asyncio.Task[None]] = []
    while not over.is_set():
        given.append(asyncio.create_task(create(len(given))))
        await asyncio.sleep(PACE)
    await asyncio.gather(*given)
    return len(given), max(waits)


async def observed(client: SchedulerClient, label: str, work: Coroutine[Any, Any, Any]) -> list[Measure]:
    """The figures of one piece of work."""
    ticker, over, others = Ticker(), asyncio.Event(), Others()
    ticking = asyncio.create_task(ticker.run())
    creating = asyncio.create_task(create_on(client, label, over))
    began = time.perf_counter()
    try:
        await work
        seconds, busy = time.perf_counter() - began, others.percent
        over.set()
        given, longest = await creating
    finally:
        ticking.cancel()
        await asyncio.gather(ticking, return_exceptions=True)
    stored = 0
    for number in range(given):
        stored += (await client.status(f"user.{label}.{number}")).task.state == "active"
    return [
        Measure(f"{label}, seconds", seconds, "s"),
        Measure(f"{label}, loop lag, p50", percentile(ticker.late, 0.5) * 1_000, "ms"),
        Measure(f"{label}, loop lag, p99", percentile(ticker.late, 0.99) * 1_000, "ms", LAG_GOAL_MS),
        Measure(f"{label}, loop lag, max", max(ticker.late) * 1_000, "ms"),
        Measure(f"{label}, of the service's own, p99", percentile(ticker.own, 0.99) * 1_000, "ms", LAG_GOAL_MS),
        Measure(f"{label}, of the service's own, max", max(ticker.own) * 1_000, "ms"),
        Measure(f"{label}, machine busy with others", busy, "%"),
        Measure(f"{label}, commands given meanwhile", given, ""),
        Measure(f"{label}, commands lost", given - stored, "", 0.0),
        Measure(f"{label}, longest wait for an answer", longest, "s"),
    ]


async def work_on(data_dir: Path) -> list[Measure]:
    """Vacuum, rekey and backup in turn, after two seconds of nothing to compare with."""
    settings = Settings.load(environ=environment(data_dir))
    size = settings.database_path.stat().st_size / 1e6
    async with (
        SchedulerService(settings),
        SchedulerClient.discover(data_dir, timeout=WITHIN) as client,
    ):
        spare_the_collector()
        found = [Measure("database before", size, "MB")]
        found += await observed(client, "nothing", asyncio.sleep(2.0 if size > SMALL else 0.2))
        found += await observed(client, "vacuum", client.request(names.STORE_VACUUM, {"mode": "full"}))
        found += await observed(client, "rekey", client.request(names.STORE_REKEY, {}))
        backup = {"file": str(data_dir / "copy.backup")}
        found += await observed(client, "backup", client.request(names.STORE_BACKUP, backup))
    found.append(Measure("database after", settings.database_path.stat().st_size / 1e6, "MB"))
    return found


def measure(chosen: argparse.Namespace) -> list[Measure]:
    """Everything, once: a round takes long enough."""
    with folder() as place:
        fill(place, 40 if chosen.quick else chosen.megabytes)
        return asyncio.run(work_on(place))


if __name__ == "__main__":
    OPTIONS = options(__doc__, megabytes=500)
    sys.exit(publish("Maintenance", measure(OPTIONS), OPTIONS))
