"""Retries: each task's own policy, also across a restart; what failed for good, inspected and run again."""

from typing import Any

import pytest

from aico_sched.client.errors import InvalidMessage
from aico_sched.schedule import parse_rfc3339
from aico_sched.testing import Simulation
from aico_sched.topics import names
from tests.integration.support.running import TASK_MODULE
from tests.integration.time.conftest import Simulate, simulate
from tests.support.simulated import HOUR, events, executions

__all__ = ["simulate"]

FAR = "interval:86400"


async def failing(simulation: Simulation, task_id: str = "user.x", **options: Any) -> str:
    config = {"times": 9, "kind": "transient"}
    await simulation.client.create(task_id, FAR, task_class="demo.fail", config=config, **options)
    return (await simulation.client.trigger(task_id)).execution_id


async def starts(simulation: Simulation, execution_id: str) -> list[float]:
    """When its attempts began, seconds after the first."""
    page = await simulation.client.executions(execution_id=execution_id, attempts=True)
    times = [parse_rfc3339(each.started_at) for each in page.executions[0].attempts or []]
    return [(moment - times[0]) / 1_000_000 for moment in times]


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        (None, [0, 60, 180, 420]),
        ({"max_attempts": 1}, [0]),
        ({"max_attempts": 4, "delay": 10, "multiplier": 3, "max_delay": 40}, [0, 10, 40, 80]),
        ({"delay": 0}, [0, 0, 0, 0]),
    ],
)
async def test_each_task_has_its_own_policy(
    simulate: Simulate, policy: dict[str, Any] | None, expected: list[float]
) -> None:
    async with simulate() as simulation:
        execution_id = await failing(simulation, **({} if policy is None else {"retry": policy}))
        await simulation.clock.advance(HOUR)
        assert [round(start) for start in await starts(simulation, execution_id)] == expected


async def test_full_jitter_spreads_the_retries_of_many(simulate: Simulate) -> None:
    async with simulate() as simulation:
        policy = {"max_attempts": 2, "delay": 100, "jitter": "full"}
        ids = [await failing(simulation, f"user.x{number}", retry=policy) for number in range(40)]
        await simulation.clock.advance(HOUR)
        delays = [(await starts(simulation, execution_id))[1] for execution_id in ids]
    assert all(0 <= delay <= 101 for delay in delays)
    assert min(delays) < 33 and max(delays) > 66
    assert len({round(delay, 3) for delay in delays}) > 35


async def test_a_pending_retry_survives_a_restart_with_its_time_and_its_count(simulate: Simulate) -> None:
    async with simulate(play=1.0) as simulation:
        execution_id = await failing(simulation, retry={"max_attempts": 3, "delay": 600, "multiplier": 1})
        await simulation.clock.advance(60)
        await simulation.restart(down=120)
        await simulation.clock.advance(300)
        assert len(await starts(simulation, execution_id)) == 1
        # The second comes due while the service is off and runs as soon as it is back.
        await simulation.restart(down=600)
        await simulation.clock.advance(HOUR)
        _, second, third = await starts(simulation, execution_id)
        assert 1_080 <= second < 1_085
        assert 600 <= third - second < 605
        assert [row.status for row in await executions(simulation, "user.x")] == ["dead"]
        retrying = await events(simulation, names.EXECUTION_RETRYING)
        assert [event["attempt"] for event in retrying] == [1, 2]


async def test_errors_that_a_task_declares_transient_are_retried(simulate: Simulate) -> None:
    async with simulate(scheduler__task_modules=[TASK_MODULE]) as simulation:
        for kind, attempts in (("ValueError", 1), ("UnicodeError", 2), ("KeyError", 1), ("RuntimeError", 2)):
            await simulation.client.create(
                f"user.{kind}", FAR, task_class="user.raises", config={"kind": kind}, retry={"max_attempts": 2}
            )
            execution_id = (await simulation.client.trigger(f"user.{kind}")).execution_id
            await simulation.clock.advance(HOUR)
            assert len(await starts(simulation, execution_id)) == attempts, kind


async def test_a_dead_letter_tells_all_and_runs_again_as_its_task_is_now(simulate: Simulate) -> None:
    async with simulate() as simulation:
        execution_id = await failing(simulation, retry={"max_attempts": 2, "delay": 1})
        other = await failing(simulation, "user.y", retry={"max_attempts": 1})
        await simulation.clock.advance(60)
        letter = (await simulation.client.dead_list(execution_id=execution_id)).dead[0]
        assert (letter.execution_id, letter.task_class, letter.trigger) == (execution_id, "demo.fail", "manual")
        assert letter.config == {"times": 9, "kind": "transient"}
        assert [each.error_type for each in letter.attempts] == ["aico_sched.tasks.base.TransientError"] * 2
        assert all("Traceback" in str(each.traceback) for each in letter.attempts)
        await simulation.client.update("user.x", config={"times": 2, "kind": "transient"})
        await simulation.client.dead_requeue(execution_id)
        await simulation.clock.advance(60)
        rows = await executions(simulation, "user.x")
        assert [(row.status, row.attempt) for row in rows] == [("succeeded", 3)]
        assert [letter.execution_id for letter in (await simulation.client.dead_list()).dead] == [other]
        assert (await simulation.client.dead_list(execution_id="none")).dead == []
        with pytest.raises(InvalidMessage):
            await simulation.client.request(names.DEAD_LIST, {"execution_id": ""})
