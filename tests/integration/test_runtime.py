"""The runtime under the whole service: what it holds is released, what ran is recorded, and a crash changes nothing."""

import asyncio
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from aico_sched.client import SchedulerClient
from aico_sched.runtime.supervisor import RestartBudgetSpent, StartFailed
from aico_sched.service import SchedulerService
from aico_sched.settings import Settings

TASK_MODULE = '''
import asyncio
from collections import Counter
from aico_sched.tasks import BaseTask

STARTED = Counter()

class Waits(BaseTask):
    """Waits until it is told to end."""
    name = "user.waits"

    async def execute(self, context):
        STARTED[context.task_id] += 1
        await asyncio.Event().wait()

class Odd(BaseTask):
    """Ends in a way that is hard to write down."""
    name = "user.odd"

    async def execute(self, context):
        STARTED[context.task_id] += 1
        if context.task_id.endswith("number"):
            return {"n": 2**70}
        if context.task_id.endswith("name"):
            raise FileNotFoundError("no such file: \\udcff")
        raise BaseExceptionGroup("several", [SystemExit(1)])
'''


@pytest.fixture
def started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often each task of the module has been started."""
    (tmp_path / "runtime_tasks.py").write_text(TASK_MODULE)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "runtime_tasks", raising=False)
    import runtime_tasks  # type: ignore[import-not-found]

    counter: Counter[str] = runtime_tasks.STARTED
    return counter


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings.load(
        sandbox__enabled=False,
        environ={"AICO_SCHED_DATA_DIR": str(tmp_path / "data")},
        scheduler__max_cpu_percent=100,
        scheduler__max_memory_percent=100,
        scheduler__task_modules=["runtime_tasks"],
        scheduler__shutdown_grace=0.1,
        scheduler__resource_check_interval=1,
        bus__publish_port=0,
        bus__subscribe_port=0,
    )


async def test_a_failed_start_frees_the_database_for_the_next(
    settings: Settings, started: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from aico_sched.actors.bridge import BridgeActor

    async def fail(self: BridgeActor) -> None:
        raise OSError("no bus")

    async with asyncio.timeout(30):
        with monkeypatch.context() as patch, pytest.raises(StartFailed, match="bridge"):
            patch.setattr(BridgeActor, "on_start", fail)
            await SchedulerService(settings).start()
        async with SchedulerService(settings) as service:
            assert service.running


async def test_a_service_past_saving_says_why_and_frees_the_database(settings: Settings, started: Counter[str]) -> None:
    def fault(actor: str, phase: str, topic: str) -> None:
        if actor == "health" and armed:
            raise RuntimeError("health is ill")

    armed: list[bool] = []
    async with asyncio.timeout(60):
        async with SchedulerService(settings, fault=fault) as service:
            armed.append(True)
            with pytest.raises(RestartBudgetSpent, match="the health actor crashed"):
                await service.wait()
        async with SchedulerService(settings):
            pass


async def test_what_runs_at_the_stop_is_interrupted_and_goes_again(settings: Settings, started: Counter[str]) -> None:
    async with asyncio.timeout(60):
        async with SchedulerService(settings), SchedulerClient.discover(settings.data_dir) as client:
            await client.create("user.w", "interval:3600", task_class="user.waits")
            triggered = await client.trigger("user.w")
            while not started["user.w"]:
                await client.health()
        assert started["user.w"] == 1
        async with SchedulerService(settings), SchedulerClient.discover(settings.data_dir) as client:
            while started["user.w"] < 2:
                await client.health()
            page = await client.executions(execution_id=triggered.execution_id, attempts=True)
            attempts = page.executions[0].attempts or []
            assert [attempt.outcome for attempt in attempts] == ["interrupted"]


@pytest.mark.parametrize(
    ("name", "status", "text"),
    [("number", "succeeded", None), ("name", "dead", "\\udcff"), ("group", "dead", "several")],
)
async def test_odd_ends_are_recorded_and_harm_nobody(
    settings: Settings, started: Counter[str], name: str, status: str, text: str | None
) -> None:
    async with (
        asyncio.timeout(60),
        SchedulerService(settings),
        SchedulerClient.discover(settings.data_dir) as client,
    ):
        await client.create(f"user.{name}", "interval:3600", task_class="user.odd", retry={"max_attempts": 1})
        triggered = await client.trigger(f"user.{name}")
        row: Any = None
        while row is None or row.status in ("queued", "running"):
            row = (await client.executions(execution_id=triggered.execution_id)).executions[0]
        stats = await client.stats()
    assert row.status == status
    assert (text or "") in (row.error_message or "")
    assert all(actor["restarts"] == actor["dropped"] == 0 for actor in stats.actors.values())


async def test_start_and_cancel_of_one_moment_leave_nothing_running(settings: Settings, started: Counter[str]) -> None:
    async with (
        asyncio.timeout(60),
        SchedulerService(settings),
        SchedulerClient.discover(settings.data_dir) as client,
    ):
        for number in range(20):
            await client.create(f"user.w{number}", "interval:3600", task_class="user.waits", retry={"max_attempts": 1})
        for number in range(20):
            run = await client.trigger(f"user.w{number}")
            await client.cancel(run.execution_id)
        while (await client.stats()).actors["executor"]["running"]:
            pass
        page = await client.executions(limit=100)
    assert Counter(row.status for row in page.executions) == {"cancelled": 20}
