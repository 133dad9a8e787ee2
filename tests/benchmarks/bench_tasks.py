"""What the tasks on AICO's data cost, and how little they hold up the loop meanwhile.

Run `python tests/benchmarks/bench_tasks.py [--quick] [--json] [--rounds N]`. Each runs on a real encrypted database
with 1,000,000 log rows, 20,000 samples of emotions, 50,000 interactions and half a year of activity, or on a ChromaDB
folder with 50,000 vectors, half of them deleted, and one with 3,000 memories. "loop" is the processor time that the
loop's thread used between two looks, "wall" what went by, which other programs lengthen: "busy with others" is what
those had of the machine, and under 10 % the wall counts. What works on the service's own database:
`bench_system_tasks.py`.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from harness import ROOT, Measure, options, publish
from others import Others

# The tests' own generators.
sys.path.insert(0, str(ROOT))

from aico_sched.clock import SystemClock
from aico_sched.data.database import open_database
from aico_sched.process import spare_the_collector
from aico_sched.tasks.agency.background_learning import BackgroundLearning
from aico_sched.tasks.agency.emotion_training import EmotionTraining
from aico_sched.tasks.agency.memory_consolidation import MemoryConsolidation
from aico_sched.tasks.agency.personality_evolution import PersonalityEvolution
from aico_sched.tasks.base import BaseTask
from aico_sched.tasks.maintenance.log_cleanup import LogCleanup
from aico_sched.tasks.maintenance.vector_optimization import VectorOptimization
from aico_sched.testing import run_task
from aico_sched.worker.worker import Worker
from tests.integration.agency.agency_data import KEY, connect, make_database
from tests.integration.data.test_log_rows import fill
from tests.support.lag import measured_lag, p99

GOAL = 20.0
JUNE = datetime(2026, 6, 1, 3, tzinfo=UTC)


async def measure(folder: Path, quick: bool) -> list[Measure]:
    """Seconds and lag of each task."""
    path, part = folder / "aico.db", 20 if quick else 1
    make_database(path, samples=20_000 // part, interactions=50_000 // part, hours=24 * 180 // part)
    fill_logs(path, 1_000_000 // part)
    found = []
    for task, config in (
        (LogCleanup, {"log_folder": str(folder), "max_size_mb": 50 // part}),
        (BackgroundLearning, {}),
        (EmotionTraining, {}),
        (PersonalityEvolution, {}),
    ):
        async with open_database(path, lambda: KEY) as source:
            found += await measured(task, config, data=source, data_dir=folder / task.name, scheduled_for=JUNE)
    shelf, memories = folder / "vectors", folder / "memories"
    async with Worker.open("tests.integration.vectors.shelf:Shelf", path=str(shelf)) as made:
        await made.call("fill", name="holes", count=50_000 // part, delete=25_000 // part, space="cosine")
    async with Worker.open("tests.integration.memory.remembered:Remembered", path=str(memories)) as made:
        await made.call("fill", count=2_000 // part, seed=4)
    found += await measured(VectorOptimization, {"path": str(shelf)}, data_dir=folder / "o")
    return found + await measured(MemoryConsolidation, {"path": str(memories)}, data_dir=folder / "c")


async def measured(task: type[BaseTask], config: dict[str, Any], **given: Any) -> list[Measure]:
    """The figures of one run. Raises RuntimeError if it did not do its work."""
    # As in a service: what there is already (here the million rows that were made up) is not looked through again.
    spare_the_collector()
    async with measured_lag() as lag:
        others = Others()
        began = time.perf_counter()
        run = await run_task(task, config, VirtualNow(), deadline=1_100, **given)
        seconds, busy = time.perf_counter() - began, others.percent
    if run.result is None or not run.result.success or run.result.skipped:
        raise RuntimeError(f"{task.name}: {run.error or run.result}")
    print(f"{task.name}: {run.result.message}", file=sys.stderr, flush=True)
    return [
        Measure(f"{task.name}: a run", seconds, "s"),
        Measure(f"{task.name}: loop, p99", p99(lag.own) * 1_000, "ms", GOAL),
        Measure(f"{task.name}: loop, max", max(lag.own) * 1_000, "ms"),
        Measure(f"{task.name}: wall, p99", p99(lag.wall) * 1_000, "ms", GOAL),
        Measure(f"{task.name}: wall, max", max(lag.wall) * 1_000, "ms"),
        Measure(f"{task.name}: machine busy with others", busy, "%"),
    ]


class VirtualNow(SystemClock):
    """Real time, counted from the day after which the made-up data end."""

    def __init__(self) -> None:
        super().__init__()
        self._offset = round(JUNE.timestamp() * 1_000_000) - super().now_us()

    def now_us(self) -> int:
        return super().now_us() + self._offset


def fill_logs(path: Path, count: int) -> None:
    """Rows of AICO's columns over sixty days."""

    def sql(text: str, parameters: tuple[Any, ...] = ()) -> list[Any]:
        rows: list[Any] = connection.execute(text, parameters).fetchall() or []
        return rows

    connection = connect(path)
    fill(sql, count)
    connection.close()


def main(chosen: argparse.Namespace) -> int:
    """Measure once: a task that learns does not learn the same twice."""
    with tempfile.TemporaryDirectory() as folder:
        return publish("Tasks on AICO's data", asyncio.run(measure(Path(folder), chosen.quick)), chosen)


if __name__ == "__main__":
    sys.exit(main(options(__doc__)))
