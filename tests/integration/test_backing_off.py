"""The scheduler's own loop fails again and again: it backs off longer each time, says so, and recovers."""

import itertools
from typing import Any

import pytest
from structlog.testing import capture_logs

from aico_sched.runtime import supervisor
from aico_sched.runtime.supervisor import RestartBudgetSpent
from aico_sched.topics import names
from tests.integration.support.running import Running


class Failing:
    """Makes the scheduler fail at its next `times` claims."""

    def __init__(self) -> None:
        self.times = 0
        self.failed = 0

    def __call__(self, actor: str, when: str, topic: str) -> None:
        if (actor, when, topic) == ("scheduler", "before", names.SLOTS_CLAIM) and self.failed < self.times:
            self.failed += 1
            raise OSError(f"fault {self.failed}")


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses between a crash and the restart, seconds."""
    pauses: list[float] = []
    on_crash = supervisor.Supervisor._on_crash

    async def noted(self: Any, cell: Any, error: BaseException) -> None:
        clock, before = self._clock, self._clock.monotonic()
        await on_crash(self, cell, error)
        pauses.append(clock.monotonic() - before)

    monkeypatch.setattr(supervisor.Supervisor, "_on_crash", noted)
    return pauses


async def test_repeated_errors_are_backed_off_from_reported_and_recovered_from(start: Any, slept: list[float]) -> None:
    failing = Failing()
    run: Running = await start(fault=failing)
    failing.times = 4
    with capture_logs() as logs:
        await run.client.create("user.often", "interval:0.05", task_class="demo.echo")
        await run.events.several(3, names.EXECUTION_SUCCEEDED, task_id="user.often")
    assert failing.failed == 4
    assert len(slept) == 4
    assert all(later > 1.4 * earlier for earlier, later in itertools.pairwise(slept)), slept
    crashes = [line for line in logs if line["event"] == "actor_crashed"]
    assert [line["crashes"] for line in crashes] == [1, 2, 3, 4]
    assert {line["actor"] for line in crashes} == {"scheduler"}
    health = await run.client.health()
    assert health.live
    assert health.checks["actors"]["restarts"] == {"scheduler": 4}
    # Nothing was lost and nothing was run twice.
    page = await run.client.executions(task_id="user.often", limit=500)
    slots = [each.scheduled_for for each in page.executions]
    assert len(slots) == len(set(slots))


async def test_errors_without_end_end_the_service_with_a_reason(start: Any) -> None:
    failing = Failing()
    run: Running = await start(fault=failing, scheduler__restart_budget=2)
    failing.times = 1_000
    await run.client.create("user.often", "interval:0.05", task_class="demo.echo")
    with pytest.raises(RestartBudgetSpent, match=r"the scheduler actor crashed 3 times"):
        await run.service.wait()
