"""Who goes first when not all can go: priority, and how long one has waited."""

import pytest

from aico_sched.testing import Simulation
from aico_sched.topics import names
from tests.integration.time.conftest import Simulate
from tests.support.simulated import events


async def started(simulation: Simulation) -> list[str]:
    return [event["task_id"] for event in await events(simulation, names.EXECUTION_STARTED)]


async def test_maintenance_goes_before_agency_before_user_tasks(simulate: Simulate) -> None:
    quiet = {"tasks": {}, "scheduler__max_concurrent_tasks": 1}
    async with simulate(**quiet) as simulation:
        for task_id in ("user.a", "agency.b", "maintenance.c"):
            await simulation.client.create(
                task_id, "interval:10", task_class="demo.sleep", config={"seconds": 1}, max_runs=1
            )
        await simulation.clock.advance(20)
        assert [name for name in await started(simulation) if name != "maintenance.health_check"] == [
            "maintenance.c", "agency.b", "user.a",
        ]  # fmt: skip


@pytest.mark.parametrize(("aging", "turns"), [(1.0, 50), (0.1, 5)])
async def test_nothing_starves_under_a_stream_of_higher_priority(simulate: Simulate, aging: float, turns: int) -> None:
    """One place, and work of priority 80 without end for it: what has 30 gets it after 50 times the aging."""
    async with simulate(scheduler__max_concurrent_tasks=1, scheduler__priority_aging=aging) as simulation:
        sleep = {"task_class": "demo.sleep", "config": {"seconds": 1}}
        for number in range(4):
            await simulation.client.create(
                f"maintenance.m{number}", "interval:1", **sleep, overlap="queue", misfire="all", max_runs=200
            )
        await simulation.client.create("user.patient", "interval:5", **sleep, max_runs=1)
        await simulation.clock.advance(200)
        order = await started(simulation)
        waited = order.index("user.patient") - 5
        assert turns - 3 <= waited <= turns + 5
