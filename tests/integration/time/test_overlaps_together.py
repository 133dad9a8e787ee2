"""Many tasks due at once are claimed together: for each of them what is under way counts as it does alone."""

from typing import Any

import pytest

from tests.integration.time.conftest import Simulate
from tests.support.simulated import executions

TOGETHER = 8
"""More than `store.bulk_claim.FEWEST`, so that they are claimed in one statement."""
FAILS_ONCE: dict[str, Any] = {
    "task_class": "demo.fail",
    "config": {"times": 1},
    "retry": {"max_attempts": 2, "delay": 150},
}
SLOW: dict[str, Any] = {"task_class": "demo.sleep", "config": {"seconds": 150, "steps": 1}}


@pytest.mark.parametrize(
    ("what", "overlap", "after", "expected"),
    [
        (FAILS_ONCE, "skip", 3 * 60 + 45, ["succeeded", "skipped", "skipped"]),
        (FAILS_ONCE, "queue", 3 * 60 + 20, ["retrying", "queued", "queued"]),
        (FAILS_ONCE, "cancel_previous", 3 * 60 + 1, ["cancelled", "cancelled", "retrying"]),
        (FAILS_ONCE, "allow", 2 * 60 + 1, ["retrying", "retrying"]),
        (SLOW, "skip", 3 * 60 + 1, ["running", "skipped", "skipped"]),
        (SLOW, "queue", 3 * 60 + 1, ["running", "queued", "queued"]),
        (SLOW, "cancel_previous", 3 * 60 + 1, ["cancelled", "cancelled", "running"]),
        (SLOW, "allow", 3 * 60 + 1, ["running", "running", "running"]),
    ],
)
async def test_each_by_its_own_rule(
    simulate: Simulate, what: dict[str, Any], overlap: str, after: float, expected: list[str]
) -> None:
    async with simulate(scheduler__max_concurrent_tasks=100) as simulation:
        for number in range(TOGETHER):
            await simulation.client.create(f"user.t{number}", "* * * * *", overlap=overlap, **what)
        await simulation.clock.advance(after)
        for number in range(TOGETHER):
            assert [row.status for row in await executions(simulation, f"user.t{number}")] == expected
