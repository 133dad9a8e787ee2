"""The store actor starts anew within a boot."""

import asyncio
from pathlib import Path

from aico_sched.client import SchedulerClient
from aico_sched.service import SchedulerService
from aico_sched.settings import Settings
from aico_sched.topics import names


class OneCrash:
    """The store raises once, at the next event it hands out."""

    armed = False

    def __call__(self, actor: str, phase: str, topic: str) -> None:
        if self.armed and (actor, phase, topic) == ("store", "before", names.EVENTS_COMMITTED):
            self.armed = False
            raise RuntimeError("injected")


async def test_every_run_has_an_id_of_its_own_and_reboot_tasks_run_once(tmp_path: Path) -> None:
    fault = OneCrash()
    settings = Settings.load(
        environ={"AICO_SCHED_DATA_DIR": str(tmp_path)},
        scheduler__max_cpu_percent=100,
        scheduler__max_memory_percent=100,
        bus__publish_port=0,
        bus__subscribe_port=0,
    )
    async with asyncio.timeout(60):
        async with SchedulerService(settings), SchedulerClient.discover(tmp_path) as client:
            await client.create("user.at_boot", "@reboot", task_class="demo.echo")
        async with (
            SchedulerService(settings, fault=fault),
            SchedulerClient.discover(tmp_path) as client,
        ):
            await client.create("user.a", "@yearly", task_class="demo.echo")
            first = await client.trigger("user.a")
            assert (await client.wait(first.execution_id)).status == "succeeded"
            fault.armed = True
            second = await client.trigger("user.a")
            assert (await client.wait(second.execution_id)).status == "succeeded"
            stats = await client.stats()
            boots = await client.executions(task_id="user.at_boot")
            runs = await client.executions(task_id="user.a")
    assert stats.actors["store"]["restarts"] == 1
    assert first.execution_id < second.execution_id
    assert len(runs.executions) == 2
    assert [row.status for row in boots.executions] == ["succeeded"]
