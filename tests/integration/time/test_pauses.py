"""Runs for idle hours make way at a checkpoint when the user comes back, and go on afterwards."""

from typing import Any

from aico_sched.testing import Simulation
from tests.integration.support.running import TASK_MODULE
from tests.integration.time.conftest import Simulate
from tests.integration.time.test_idle import user_does
from tests.support.simulated import executions

PACES = {"task_class": "user.paces", "idle_only": True}
SETTINGS: dict[str, Any] = {
    "play": 1.0, "scheduler__task_modules": [TASK_MODULE], "scheduler__user_idle_after": 60,
    "tasks__maintenance__health_check__enabled": False,
}  # fmt: skip


async def steps(simulation: Simulation, task_id: str) -> int:
    """How far its newest run is."""
    progress = (await executions(simulation, task_id))[-1].progress
    return 0 if progress is None else int(progress["message"])  # type: ignore[call-overload,index]


async def status(simulation: Simulation, task_id: str) -> str:
    return (await executions(simulation, task_id))[-1].status


async def user_is_there(simulation: Simulation, seconds: int) -> None:
    for _ in range(seconds // 10):
        user_does(simulation)
        await simulation.clock.advance(10)


async def test_a_run_pauses_at_its_checkpoint_and_goes_on(simulate: Simulate) -> None:
    async with simulate(**SETTINGS) as simulation:
        config = {"steps": 20}
        await simulation.client.create("user.paced", "interval:86400", config=config, timeout=40, **PACES)
        await simulation.client.trigger("user.paced")
        await simulation.clock.advance(10)
        assert await steps(simulation, "user.paced") in (9, 10)
        await user_is_there(simulation, 120)
        paused_at = await steps(simulation, "user.paced")
        assert paused_at <= 12
        assert (await simulation.client.stats()).actors["executor"]["paused"] == 1
        await user_is_there(simulation, 120)
        assert await steps(simulation, "user.paced") == paused_at
        await simulation.clock.advance(65)
        # It has taken 20 s of its own; the four minutes in between are not charged to its timeout of 40 s.
        await simulation.clock.advance(15)
        assert await status(simulation, "user.paced") == "succeeded"
        assert (await simulation.client.stats()).actors["executor"]["paused"] == 0


async def test_a_paused_run_gives_its_place_to_others_and_gets_one_again(simulate: Simulate) -> None:
    async with simulate(scheduler__max_concurrent_tasks=1, **SETTINGS) as simulation:
        await simulation.client.create("user.paced", "interval:86400", config={"steps": 20}, **PACES)
        await simulation.client.create("user.other", "interval:86400", task_class="demo.sleep", config={"seconds": 100})
        await simulation.client.trigger("user.paced")
        await simulation.clock.advance(5)
        await user_is_there(simulation, 20)
        await simulation.client.trigger("user.other")
        await simulation.clock.advance(1)
        assert await status(simulation, "user.other") == "running"
        # The user is away again, but the only place is taken.
        await simulation.clock.advance(80)
        at = await steps(simulation, "user.paced")
        assert at < 10
        await simulation.clock.advance(60)
        assert await status(simulation, "user.other") == "succeeded"
        assert await status(simulation, "user.paced") == "succeeded"


async def test_a_pause_is_charged_when_it_is_longer_than_the_longest(simulate: Simulate) -> None:
    async with simulate(scheduler__longest_pause=100, **SETTINGS) as simulation:
        await simulation.client.create(
            "user.paced", "interval:86400", config={"steps": 20}, timeout=40, retry={"max_attempts": 1}, **PACES
        )
        await simulation.client.trigger("user.paced")
        await simulation.clock.advance(10)
        await user_is_there(simulation, 120)
        assert await status(simulation, "user.paced") == "running"
        await user_is_there(simulation, 40)
        row = (await executions(simulation, "user.paced"))[-1]
        assert (row.status, row.attempt) == ("dead", 1)
        assert (await simulation.client.stats()).actors["executor"]["running"] == 0


async def test_a_paused_run_can_be_cancelled_and_does_not_hold_up_a_stop(simulate: Simulate) -> None:
    async with simulate(**SETTINGS) as simulation:
        for name in ("a", "b"):
            await simulation.client.create(f"user.{name}", "interval:86400", config={"steps": 20}, **PACES)
        first = await simulation.client.trigger("user.a")
        await simulation.client.trigger("user.b")
        await simulation.clock.advance(5)
        await user_is_there(simulation, 20)
        await simulation.client.cancel(first.execution_id)
        await simulation.clock.advance(1)
        assert await status(simulation, "user.a") == "cancelled"
        await simulation.restart(down=120)
        await simulation.clock.advance(30)
        assert await status(simulation, "user.b") == "succeeded"


async def test_what_is_not_for_idle_hours_does_not_pause(simulate: Simulate) -> None:
    async with simulate(**SETTINGS) as simulation:
        await simulation.client.create("user.paced", "interval:86400", task_class="user.paces", config={"steps": 20})
        await simulation.client.trigger("user.paced")
        await user_is_there(simulation, 30)
        assert await status(simulation, "user.paced") == "succeeded"
