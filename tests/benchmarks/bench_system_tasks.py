"""The system tasks in a running service with a large database: how late its loop is while each runs.

Run `python tests/benchmarks/bench_system_tasks.py [--quick] [--json] [--megabytes N]`. The database is vacuumed in
small steps and as a whole, health is checked, and the keys are rotated, the database's among them. Each is one run of
the task, observed as in `bench_maintenance.py`: "of the service's own" is without the time in which the machine was
busy with others. A vacuum of the whole needs as much free memory as the database holds.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from pathlib import Path
from typing import Any

from bench_maintenance import WITHIN, fill, observed, settle
from harness import Measure, environment, folder, opened, options, publish

from aico_sched.client import SchedulerClient
from aico_sched.process import spare_the_collector
from aico_sched.service import SchedulerService
from aico_sched.settings import Settings

LAG_GOAL_MS = 20.0
VACUUM, ROTATION, HEALTH = "maintenance.database_vacuum", "security.key_rotation", "maintenance.health_check"
MEGABYTE = 1024 * 1024


async def ran(client: SchedulerClient, task: str, **config: Any) -> dict[str, Any]:
    """One run of the task; its result's data. Raises RuntimeError if it did not succeed."""
    await client.update(task, config=config)
    ended = await client.wait((await client.trigger(task)).execution_id)
    if ended.status != "succeeded" or ended.result is None:
        raise RuntimeError(f"{task} {ended.status}: {ended.error_message}")
    found: dict[str, Any] = ended.result["data"]
    return found


async def measured(
    client: SchedulerClient, label: str, task: str, **config: Any
) -> tuple[list[Measure], dict[str, Any]]:
    """The figures of one run, the lag by this issue's goal, and the run's own data."""
    found: dict[str, Any] = {}

    async def work() -> None:
        found.update(await ran(client, task, **config))

    figures = await observed(client, label.replace(" ", "-"), work())
    return [one._replace(goal=LAG_GOAL_MS) if one.name.endswith("p99") else one for one in figures], found


def sizes(label: str, found: dict[str, Any]) -> list[Measure]:
    """Before and after, as the task says."""
    return [Measure(f"{label}, bytes {when}", found[f"bytes_{when}"] / MEGABYTE, "MiB") for when in ("before", "after")]


async def served(data_dir: Path, *, whole: bool) -> list[Measure]:
    """A vacuum, in small steps unless of the `whole`, and after that of the whole everything else."""
    settings = Settings.load(environ=environment(data_dir))
    async with SchedulerService(settings), SchedulerClient.discover(data_dir, timeout=WITHIN) as client:
        spare_the_collector()
        mode = "full" if whole else "incremental"
        figures, found = await measured(client, f"{mode} vacuum", VACUUM, mode="auto", threshold=0.25)
        if found["mode"] != mode:
            raise RuntimeError(f"a {found['mode']} vacuum instead of the {mode} one")
        figures += sizes(f"{mode} vacuum", found)
        if not whole:
            return figures
        for label, task, config in (
            ("health check", HEALTH, {"min_free_mb": 0}),
            ("key rotation", ROTATION, {"rotate_database_keys": True}),
        ):
            figures += (await measured(client, label, task, **config))[0]
        # All that was asked is answered after it, as before.
        for number in range(20):
            await client.create(f"user.after.{number}", "@yearly", task_class="demo.echo")
        figures.append(Measure("commands answered after it all", 20, "", 20, ">"))
        return figures


def measure(chosen: argparse.Namespace) -> list[Measure]:
    """Everything, once: a round takes long enough."""
    with folder() as place:
        fill(place, 40 if chosen.quick else chosen.megabytes)
        figures = asyncio.run(served(place, whole=False))
        with opened(place) as connection:
            connection.execute(
                "DELETE FROM scheduler_seen_messages WHERE message_id LIKE 'filler/%1' OR message_id LIKE 'filler/%2' "
                "OR message_id LIKE 'filler/%3' OR message_id LIKE 'filler/%4'", ()
            )  # fmt: skip
        settle(place)
        return figures + asyncio.run(served(place, whole=True))


if __name__ == "__main__":
    OPTIONS = options(__doc__, megabytes=500)
    sys.exit(publish("System tasks on a large database", measure(OPTIONS), OPTIONS))
