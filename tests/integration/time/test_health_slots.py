"""The health check over time: a slot is one look, lasting trouble one dead letter, and who pauses does not hang."""

from typing import Any

import pytest

from tests.integration.time.conftest import Simulate
from tests.integration.time.test_pauses import PACES, SETTINGS, user_is_there
from tests.support.simulated import events, executions

TASK = "maintenance.health_check"
FULL = {"min_free_mb": 10**12}
FINE = {"min_free_mb": 0, "max_memory_percent": 100}
QUICK = {"check_message_bus": False, "check_memory": False, "check_clock": False, "check_keys": False}


async def test_lasting_trouble_takes_no_slot_and_is_one_dead_letter(simulate: Simulate) -> None:
    settings: dict[str, Any] = {"tasks__maintenance__health_check": {**QUICK, **FULL, "check_database": False}}
    async with simulate(**settings) as simulation:
        await simulation.clock.advance(3_601)
        looked = await executions(simulation, TASK)
        assert [run.status for run in looked] == ["dead"] + ["succeeded"] * 11
        assert {run.attempt for run in looked} == {1}
        assert all("disk_space: " in (run.result or {}).get("message", "") for run in looked[1:])
        assert len((await simulation.client.dead_list(task_id=TASK)).dead) == 1
        fine = {**QUICK, **FINE, "check_database": False}
        await simulation.client.update(TASK, config=fine)
        await simulation.clock.advance(300)
        await simulation.client.update(TASK, config=fine | FULL)
        await simulation.clock.advance(300)
        looked = await executions(simulation, TASK)
        assert [run.status for run in looked[12:]] == ["succeeded", "dead"]
        told = [event["resolved"] for event in await events(simulation, "scheduler.event.alert")
                if event["key"] == f"{TASK}:disk_space"]  # fmt: skip
        assert told[0] is False and told.count(True) == 1 and told[-1] is False


async def test_who_asks_for_a_check_is_told_of_all_that_is_wrong_each_time(simulate: Simulate) -> None:
    settings: dict[str, Any] = {"tasks__maintenance__health_check": {**QUICK, **FULL, "check_database": False}}
    async with simulate(**settings) as simulation:
        for _ in range(2):
            await simulation.client.trigger(TASK)
            await simulation.clock.advance(5)
        assert [run.status for run in await executions(simulation, TASK)] == ["dead", "dead"]


@pytest.mark.parametrize("timeout", [40, 3_000])
async def test_a_run_that_pauses_for_the_user_does_not_hang(simulate: Simulate, timeout: int) -> None:
    settings = {key: value for key, value in SETTINGS.items() if not key.startswith("tasks__")}
    settings["tasks__maintenance__health_check"] = {**QUICK, **FINE, "stuck_after": 60, "schedule": "0 12 * * *"}
    async with simulate(**settings) as simulation:
        config = {"steps": 20}
        await simulation.client.create("user.paced", "interval:86400", config=config, timeout=timeout, **PACES)
        await simulation.client.trigger("user.paced")
        await simulation.clock.advance(10)
        await user_is_there(simulation, 600)
        assert (await simulation.client.stats()).actors["executor"]["paused"] == 1
        await simulation.client.trigger(TASK)
        await user_is_there(simulation, 10)
        (looked,) = await executions(simulation, TASK)
        assert looked.result is not None
        assert looked.result["data"]["checks"]["stuck_executions"] == {"measured": True, "ok": True, "stuck": []}
