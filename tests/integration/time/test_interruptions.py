"""What the end of the service interrupts runs again, whatever its task says of failures; but not for ever."""

from aico_sched.store.attempts import MOST_INTERRUPTIONS
from tests.integration.time.conftest import Simulate
from tests.support.simulated import executions


async def test_interruptions_do_not_use_up_the_attempts_of_a_task(simulate: Simulate) -> None:
    async with simulate(play=10, scheduler__shutdown_grace=1) as simulation:
        await simulation.client.create(
            "user.long",
            "0 0 1 1 *",
            task_class="demo.sleep",
            config={"seconds": 3_000},
            timeout=3_600,
            retry={"max_attempts": 1},
        )
        await simulation.client.trigger("user.long")
        for count in range(1, MOST_INTERRUPTIONS + 1):
            await simulation.clock.advance(5)
            (run,) = await executions(simulation, "user.long")
            assert (run.status, run.attempt) == ("running", count)
            await simulation.restart(down=5)
        (run,) = await executions(simulation, "user.long")
        assert run.status == "dead"
        (letter,) = (await simulation.client.dead_list()).dead
        assert [attempt.outcome for attempt in letter.attempts] == ["interrupted"] * MOST_INTERRUPTIONS


async def test_an_interrupted_run_still_ends_well(simulate: Simulate) -> None:
    async with simulate(play=10, scheduler__shutdown_grace=1) as simulation:
        await simulation.client.create(
            "user.long", "0 0 1 1 *", task_class="demo.sleep", config={"seconds": 30}, retry={"max_attempts": 1}
        )
        await simulation.client.trigger("user.long")
        for _ in range(5):
            await simulation.clock.advance(5)
            await simulation.restart(down=5)
        await simulation.clock.advance(60)
        (run,) = await executions(simulation, "user.long")
        assert (run.status, run.attempt) == ("succeeded", 6)
