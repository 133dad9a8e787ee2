"""By the machine's own clock: an edit wakes the loop, nothing starts early, and a kill loses no slot."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from aico_sched.client import SchedulerClient
from aico_sched.schedule import format_rfc3339, parse_rfc3339
from aico_sched.service import SchedulerService
from aico_sched.settings import Settings
from aico_sched.testing import MemoryBus, Simulation
from aico_sched.testing.simulation import CalmHost

VICTIM = Path(__file__).with_name("victim.py")


async def test_an_edit_with_a_nearer_time_wakes_the_loop(tmp_path: Path) -> None:
    settings = Settings.load(
        environ={"AICO_SCHED_DATA_DIR": str(tmp_path)}, scheduler__scheduler_interval=30.0, scheduler__timezone="UTC"
    )
    bus = MemoryBus()
    async with (
        asyncio.timeout(30),
        SchedulerService(settings, bus=bus, sampler=CalmHost()),
        SchedulerClient(bus.endpoint("admin")) as client,
    ):
        late = []
        for number in range(5):
            name = f"user.t{number}"
            await client.create(name, "interval:86400", task_class="demo.echo")
            due = time.time_ns() // 1_000 + 150_000
            done = client.events("scheduler.event.execution.succeeded")
            await client.update(name, schedule=f"at:{format_rfc3339(due)}")
            async for event in done:
                late.append(parse_rfc3339(str(event.payload["started_at"])) - due)
                break
    print(f"edit to a nearer time: started {min(late) / 1_000:.1f} to {max(late) / 1_000:.1f} ms after it was due")
    assert all(0 <= value < 100_000 for value in late)


@pytest.mark.parametrize("when", ["claimed", "running"])
@pytest.mark.parametrize("schedule", ["at", "interval"])
def test_a_kill_between_claim_and_end_runs_the_slot_once_more_and_no_lock_is_left(
    tmp_path: Path, when: str, schedule: str
) -> None:
    """The process kills itself with SIGKILL, either after the claim is durable and before the run begins, or in it."""
    killed = run_victim(tmp_path, when, schedule)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    again = run_victim(tmp_path, "survive", schedule)
    assert again.returncode == 0, again.stderr
    rows = json.loads(again.stdout.splitlines()[-1])
    first = rows[0]
    assert (first["status"], first["attempt"]) == ("succeeded", 2)
    assert len({row["scheduled_for"] for row in rows}) == len(rows)
    if schedule == "at":
        assert len(rows) == 1
    else:
        # The lock of the run that was killed has gone with it: later slots run.
        assert sum(row["status"] == "succeeded" for row in rows) >= 3


def run_victim(folder: Path, when: str, schedule: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, str(VICTIM), str(folder), when, schedule]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, env=dict(os.environ), check=False)


async def test_the_services_own_checks_end_well_in_simulated_time(tmp_path: Path) -> None:
    async with Simulation(tmp_path, system_tasks=True) as simulation:
        await simulation.clock.advance(3_600)
        page = await simulation.client.executions(task_id="maintenance.health_check")
        assert {run.status for run in page.executions} == {"succeeded"}
        assert len(page.executions) == 12
