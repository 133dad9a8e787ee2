"""Fixtures for pytest, there as soon as aico-sched is installed. Nothing of the scheduler is imported before a test
asks for one."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from aico_sched.testing.clock import VirtualClock
    from aico_sched.testing.simulation import Simulation


@pytest.fixture
def scheduler_simulation(tmp_path: Path) -> "Callable[..., Simulation]":
    """Makes services in virtual time, each with its database in the test's own folder.

    Takes the arguments of `Simulation` but the folder:

    >>> async def test_reports(scheduler_simulation):
    ...     async with scheduler_simulation(scheduler__timezone="Europe/Berlin") as simulation:
    ...         await simulation.client.create("user.report", "0 7 * * *", task_class="demo.echo")
    """
    from aico_sched.testing.simulation import Simulation

    made = 0

    def make(**arguments: Any) -> "Simulation":
        nonlocal made
        made += 1
        return Simulation(tmp_path / f"scheduler-{made}", **arguments)

    return make


@pytest.fixture
def virtual_clock() -> "VirtualClock":
    """A clock that jumps from timer to timer; `run_task(MyTask, clock=virtual_clock)`."""
    from aico_sched.testing.clock import VirtualClock

    return VirtualClock()
