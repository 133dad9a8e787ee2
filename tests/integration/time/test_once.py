"""A one-time task that has run is over, whatever is done to it while its catch-up window is still open."""

from datetime import timedelta

from aico_sched.testing import Simulation
from tests.support.simulated import executions

WINDOW = 7_200


async def test_it_does_not_run_again(simulation: Simulation) -> None:
    client, clock = simulation.client, simulation.clock
    at = (simulation.clock.now + timedelta(seconds=60)).isoformat()
    await client.create("user.once", f"at:{at}", task_class="demo.echo", catchup_window=WINDOW)
    await clock.advance(90)
    assert [row.status for row in await executions(simulation, "user.once")] == ["succeeded"]
    await client.pause("user.once")
    await clock.advance(30)
    await client.resume("user.once")
    await clock.advance(30)
    await client.disable("user.once")
    await client.enable("user.once")
    await clock.advance(30)
    await client.update("user.once", config={"again": True})
    await client.update("user.once", priority=70)
    await simulation.restart(down=60)
    await simulation.clock.advance(600)
    assert [row.status for row in await executions(simulation, "user.once")] == ["succeeded"]
    view = (await simulation.client.status("user.once")).task
    assert (view.next_run, view.state) == (None, "finished")
