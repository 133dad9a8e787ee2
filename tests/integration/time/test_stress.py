"""Under lasting load frequent tasks run less often, and the service says so."""

from aico_sched.host import HostSample
from aico_sched.testing import Simulation
from aico_sched.topics import names
from tests.integration.time.conftest import Simulate
from tests.support.simulated import MINUTE, events, executions

BUSY, CALM = HostSample(99.0, 10.0, False), HostSample(30.0, 10.0, False)
OFTEN = {"play": 1.0, "scheduler__resource_check_interval": 10}


async def create(simulation: Simulation) -> None:
    for task_id in ("user.often", "maintenance.often"):
        await simulation.client.create(task_id, "interval:10", task_class="demo.echo")
    await simulation.client.create("user.cron", "* * * * *", task_class="demo.echo")


async def ran_and_skipped(simulation: Simulation, task_id: str, minutes: float) -> tuple[int, int]:
    """How many of the slots of the next minutes run, and how many are left out."""
    before = {row.execution_id for row in await executions(simulation, task_id)}
    await simulation.clock.advance(minutes * MINUTE)
    rows = [row for row in await executions(simulation, task_id) if row.execution_id not in before]
    return tuple(sum(row.status == status for row in rows) for status in ("succeeded", "skipped"))  # type: ignore[return-value]


async def test_lasting_load_lowers_the_frequency_of_what_is_not_critical(simulate: Simulate) -> None:
    async with simulate(scheduler__stress_after=3, scheduler__stress_stretch=4, **OFTEN) as simulation:
        await create(simulation)
        assert await ran_and_skipped(simulation, "user.often", 5) == (30, 0)
        simulation.host.sample_now = BUSY
        await simulation.clock.advance(70)
        assert (await simulation.client.stats()).host["stretch"] == 4
        # The load has fallen, but whether that lasts is to be seen: no burst of all that is due.
        simulation.host.sample_now = CALM
        await simulation.clock.advance(11)
        simulation.host.sample_now = BUSY
        await simulation.clock.advance(11)
        told = [alert for alert in await events(simulation, names.ALERT) if alert["key"] == "stress"]
        assert [(alert["resolved"], alert["severity"]) for alert in told] == [(False, "warning")]
        assert "CPU" in told[0]["message"]
        simulation.host.sample_now = CALM
        # The one that was put off runs first; of those that come due from then on, every fourth or second.
        await simulation.clock.advance(11)
        ran, skipped = await ran_and_skipped(simulation, "user.often", 40 / 60)
        assert ran <= 2 <= skipped
        row = (await executions(simulation, "user.often", "skipped"))[-1]
        assert "the machine is under load: one slot in" in str(row.reason)
        await simulation.clock.advance(2 * MINUTE)
        told = [alert for alert in await events(simulation, names.ALERT) if alert["key"] == "stress"]
        assert [alert["resolved"] for alert in told] == [False, True]
        assert await ran_and_skipped(simulation, "user.often", 5) == (30, 0)
        assert await executions(simulation, "maintenance.often", "skipped") == []


async def test_a_stretch_of_one_leaves_all_slots(simulate: Simulate) -> None:
    async with simulate(scheduler__stress_after=1, scheduler__stress_stretch=1, **OFTEN) as simulation:
        await create(simulation)
        simulation.host.sample_now = BUSY
        await simulation.clock.advance(60)
        simulation.host.sample_now = CALM
        await simulation.clock.advance(60)
        assert await executions(simulation, "user.often", "skipped") == []
