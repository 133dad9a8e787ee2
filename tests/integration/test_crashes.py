"""Every actor is made to raise before and after each of its sends, one after the other, while tasks run.

The oracle: what was acknowledged happens, and each execution does its work exactly once.
"""

import asyncio
import sys
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from aico_sched.client import SchedulerClient, requests
from aico_sched.schedule import format_rfc3339
from aico_sched.service import STOP_ORDER, SchedulerService
from aico_sched.settings import Settings

TASKS = 40

TASK_MODULE = '''
from collections import Counter
from aico_sched.tasks import BaseTask, EmptyConfig, TaskContext, TaskResult, TransientError

WORK = Counter()

class Works(BaseTask):
    """Counts its runs; every fifth one fails at its first attempt."""
    name = "user.works"

    async def execute(self, context: TaskContext[EmptyConfig]) -> TaskResult:
        await context.progress(0.5, "half")
        await context.checkpoint()
        WORK[context.task_id, context.attempt] += 1
        if context.task_id.endswith("0") and context.attempt == 1:
            raise TransientError("the first attempt fails")
        return TaskResult.ok()
'''


class Faults:
    """Raises once for every actor, topic and side (before, after) of a send."""

    def __init__(self) -> None:
        self.raised: set[tuple[str, str, str]] = set()
        self.armed = False

    def __call__(self, actor: str, phase: str, topic: str) -> None:
        key = (actor, phase, topic)
        if self.armed and key not in self.raised:
            self.raised.add(key)
            raise RuntimeError(f"injected {phase} {actor} sends {topic}")


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Counter[tuple[str, int]]:
    """The counter of the task class in a module of the user's."""
    (tmp_path / "crash_tasks.py").write_text(TASK_MODULE)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "crash_tasks", raising=False)
    import crash_tasks  # type: ignore[import-not-found]

    counter: Counter[tuple[str, int]] = crash_tasks.WORK
    return counter


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Clients that ask again soon: what a crash has swallowed is only seen when it is sent again."""
    monkeypatch.setattr(requests, "RETRY_SECONDS", (0.2,))
    monkeypatch.setattr(requests, "PATIENCE", 1.0)


@pytest.fixture
async def crashing(
    tmp_path: Path, work: Any, impatient: None
) -> AsyncIterator[tuple[SchedulerService, SchedulerClient, Faults]]:
    faults = Faults()
    settings = Settings.load(
        sandbox__enabled=False,
        environ={"AICO_SCHED_DATA_DIR": str(tmp_path / "data")},
        scheduler__max_cpu_percent=100,
        scheduler__max_memory_percent=100,
        scheduler__restart_budget=1000,
        # Crashes are forgotten at once, so that the back-off stays at its shortest.
        scheduler__restart_window=0.001,
        scheduler__task_modules=["crash_tasks"],
        scheduler__heartbeat_interval=0.2,
        bus__publish_port=0,
        bus__subscribe_port=0,
    )
    async with (
        SchedulerService(settings, fault=faults) as service,
        SchedulerClient.discover(settings.data_dir, timeout=30.0) as client,
    ):
        yield service, client, faults


async def finished(client: SchedulerClient, tasks: int) -> list[Any]:
    """All executions once none is under way any more."""
    while True:
        page = await client.executions(limit=1000)
        done = [row for row in page.executions if row.status == "succeeded"]
        if len(done) >= tasks:
            return list(page.executions)
        await client.health()


async def test_no_crash_loses_or_doubles_anything(
    crashing: tuple[SchedulerService, SchedulerClient, Faults], work: Counter[tuple[str, int]]
) -> None:
    service, client, faults = crashing
    async with asyncio.timeout(120):
        faults.armed = True
        views = await asyncio.gather(*(create(client, service, number) for number in range(TASKS)))
        assert [view.task_id for view in views] == [f"user.t{number}" for number in range(TASKS)]
        executions = await finished(client, TASKS)
        stats = await client.stats()
        health = await client.health()
        faults.armed = False

    assert Counter(row.status for row in executions) == {"succeeded": TASKS}
    assert Counter(row.task_id for row in executions) == Counter(view.task_id for view in views)
    expected = {(f"user.t{number}", 1): 1 for number in range(TASKS)}
    expected |= {(f"user.t{number}", 2): 1 for number in range(0, TASKS, 10)}
    assert work == expected
    assert {actor for actor, _, _ in faults.raised} == set(STOP_ORDER)
    assert sum(actor["restarts"] for actor in stats.actors.values()) > 0
    assert all(actor["dropped"] == 0 for actor in stats.actors.values())
    assert health.live


async def create(client: SchedulerClient, service: SchedulerService, number: int) -> Any:
    due = service._clock.now_us() + 1_000_000
    return await client.create(
        f"user.t{number}",
        f"at:{format_rfc3339(due)}",
        task_class="user.works",
        retry={"max_attempts": 3, "delay": 0.05, "max_delay": 0.05},
    )
