"""What counts against `max_runs`, and the last slot of a task whose end it is."""

from aico_sched.testing import Simulation
from tests.support.simulated import DAY, HOUR, executions, task


async def test_the_attempts_of_a_run_count_once_against_max_runs(simulation: Simulation) -> None:
    for name, times in (("once", 1), ("for_good", 9)):
        await simulation.client.create(
            f"user.{name}", "interval:600", task_class="demo.fail", config={"times": times}, max_runs=2,
            retry={"max_attempts": 3, "delay": 10},
        )  # fmt: skip
    # In the middle of the first run's retries, the count is kept over a restart.
    await simulation.clock.advance(605)
    assert (await task(simulation, "user.for_good")).run_count == 1
    await simulation.restart()
    await simulation.clock.advance(3 * HOUR)
    once, for_good = await executions(simulation, "user.once"), await executions(simulation, "user.for_good")
    assert [(row.status, row.attempt) for row in once] == [("succeeded", 2)] * 2
    assert [(row.status, row.attempt) for row in for_good] == [("dead", 3)] * 2
    for name in ("once", "for_good"):
        view = await task(simulation, f"user.{name}")
        assert (view.state, view.run_count, view.next_run) == ("finished", 2, None)


async def test_a_slot_at_the_very_end_is_caught_up_with_and_none_after_it(simulation: Simulation) -> None:
    """The service is off while the end comes."""
    for name, misfire in (("x", "latest"), ("all", "all")):
        await simulation.client.create(
            f"user.{name}", "0 * * * *", task_class="demo.echo", end_at="2026-01-01T05:00:00Z", misfire=misfire,
            catchup_window=DAY,
        )  # fmt: skip
    await simulation.clock.advance(3.5 * HOUR)
    await simulation.restart(down=4 * HOUR)
    await simulation.clock.advance(DAY)
    for name in ("x", "all"):
        rows = await executions(simulation, f"user.{name}", "succeeded")
        expected = ["01:00", "02:00", "03:00", *(["04:00"] if name == "all" else []), "05:00"]
        assert (name, [row.scheduled_for[11:16] for row in rows]) == (name, expected)
        assert (await task(simulation, f"user.{name}")).state == "finished"
