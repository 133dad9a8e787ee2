"""What the agency's tasks that read a database cost, and how little they hold up the loop meanwhile.

Run `python tests/benchmarks/bench_tasks.py [--quick] [--json] [--rounds N]`. Each runs on a real encrypted database
with 20,000 samples of emotions, 50,000 interactions and half a year of activity. "loop" is the processor time that
the loop's thread used between two looks, "wall" what went by, which other programs lengthen.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

from harness import ROOT, Measure, options, publish

# The tests' own generators.
sys.path.insert(0, str(ROOT))

from aico_sched.data.database import open_database
from aico_sched.tasks.agency.background_learning import BackgroundLearning
from aico_sched.tasks.agency.emotion_training import EmotionTraining
from aico_sched.tasks.agency.personality_evolution import PersonalityEvolution
from aico_sched.testing import run_task
from tests.integration.agency.agency_data import KEY, make_database
from tests.support.lag import measured_lag, p99

GOAL = 20.0
JUNE = datetime(2026, 6, 1, 3, tzinfo=UTC)


async def measure(folder: Path, quick: bool) -> list[Measure]:
    """Seconds and lag of each task."""
    path, part = folder / "aico.db", 20 if quick else 1
    make_database(path, samples=20_000 // part, interactions=50_000 // part, hours=24 * 180 // part)
    found = []
    for task in (BackgroundLearning, EmotionTraining, PersonalityEvolution):
        async with measured_lag() as lag, open_database(path, lambda: KEY) as source:
            began = time.perf_counter()
            run = await run_task(task, data=source, data_dir=folder / task.name, scheduled_for=JUNE, deadline=900)
            seconds = time.perf_counter() - began
        if run.result is None or not run.result.success or run.result.skipped:
            raise RuntimeError(f"{task.name}: {run.error or run.result}")
        found.append(Measure(f"{task.name}: a run", seconds, "s"))
        found.append(Measure(f"{task.name}: loop, p99", p99(lag.own) * 1_000, "ms", GOAL))
        found.append(Measure(f"{task.name}: wall, p99", p99(lag.wall) * 1_000, "ms", GOAL))
    return found


def main(chosen: argparse.Namespace) -> int:
    """Measure once: a task that learns does not learn the same twice."""
    with tempfile.TemporaryDirectory() as folder:
        return publish("The agency's tasks", asyncio.run(measure(Path(folder), chosen.quick)), chosen)


if __name__ == "__main__":
    sys.exit(main(options(__doc__)))
