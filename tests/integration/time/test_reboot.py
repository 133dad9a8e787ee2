"""`@reboot`: exactly once at each start of the service, of the tasks that may run then."""

from datetime import timedelta
from typing import Any

from aico_sched.testing import Simulation
from aico_sched.testing.clock import START
from tests.integration.support.running import TASK_MODULE
from tests.integration.time.conftest import Simulate
from tests.support.simulated import DAY, HOUR, executions

ECHO: dict[str, Any] = {"task_class": "demo.echo"}


async def ran(simulation: Simulation, task_id: str) -> int:
    """How often it has run, and that nothing else became of it."""
    rows = await executions(simulation, task_id)
    assert {row.status for row in rows} <= {"succeeded"}
    return len(rows)


async def test_what_may_not_run_at_a_start_does_not_and_runs_at_the_next_one(simulation: Simulation) -> None:
    client = simulation.client
    await client.create("user.disabled", "@reboot", **ECHO, enabled=False)
    for name in ("runs", "paused", "deleted"):
        await client.create(f"user.{name}", "@reboot", **ECHO)
    await client.pause("user.paused")
    await client.delete("user.deleted")
    await simulation.restart()
    await simulation.clock.advance(HOUR)
    assert [await ran(simulation, f"user.{name}") for name in ("runs", "disabled", "paused")] == [1, 0, 0]
    assert not (await simulation.client.executions(task_id="user.deleted")).executions
    # The start is over: to be allowed again is none.
    await simulation.client.enable("user.disabled")
    await simulation.client.resume("user.paused")
    await simulation.clock.advance(DAY)
    assert [await ran(simulation, f"user.{name}") for name in ("runs", "disabled", "paused")] == [1, 0, 0]
    await simulation.restart()
    await simulation.clock.advance(HOUR)
    assert [await ran(simulation, f"user.{name}") for name in ("runs", "disabled", "paused")] == [2, 1, 1]


async def runs_in_a_boot(simulate: Simulate, number: int, task_id: str, **settings: Any) -> int:
    """How often it has run by the end of the service's start of that number; each start has a day of its own."""
    async with simulate(start=START + number * timedelta(days=1), **settings) as simulation:
        await simulation.clock.advance(HOUR)
        return await ran(simulation, task_id)


async def test_a_task_whose_class_is_gone_waits_for_the_start_at_which_it_is_back(simulate: Simulate) -> None:
    known = {"scheduler__task_modules": [TASK_MODULE]}
    async with simulate(**known) as simulation:
        await simulation.client.create("user.x", "@reboot", task_class="user.reports")
    assert [await runs_in_a_boot(simulate, number, "user.x") for number in (1, 2)] == [0, 0]
    assert [await runs_in_a_boot(simulate, number, "user.x", **known) for number in (3, 4)] == [1, 2]


async def test_a_system_task_runs_at_the_very_start_that_makes_it(simulate: Simulate) -> None:
    name = "maintenance.health_check"
    settings = {"tasks__maintenance__health_check__schedule": "@reboot"}
    assert [await runs_in_a_boot(simulate, number, name, **settings) for number in (1, 2)] == [1, 2]
