"""What a due slot does while the task is still at it."""

from typing import Any

from aico_sched.testing import Simulation
from tests.support.simulated import executions, task

SLOW = {"task_class": "demo.sleep", "config": {"seconds": 90, "steps": 1}}
FAILS_ONCE: dict[str, Any] = {
    "task_class": "demo.fail",
    "config": {"times": 1},
    "retry": {"max_attempts": 2, "delay": 150},
}


def minutes(moment: str | None) -> float:
    """Minutes and seconds of a time within the first hour, as minutes."""
    assert moment is not None
    return int(moment[14:16]) + float(moment[17:26]) / 60


async def statuses(simulation: Simulation, task_id: str = "user.x") -> list[str]:
    return [row.status for row in await executions(simulation, task_id)]


async def test_skip(simulation: Simulation) -> None:
    await simulation.client.create("user.x", "* * * * *", **SLOW)
    await simulation.clock.advance(4 * 60 + 1)
    rows = await executions(simulation, "user.x")
    assert [row.status for row in rows] == ["succeeded", "skipped", "running", "skipped"]
    assert rows[0].execution_id in (rows[1].reason or "")


async def test_queue(simulation: Simulation) -> None:
    await simulation.client.create("user.x", "* * * * *", overlap="queue", **SLOW)
    await simulation.clock.advance(4 * 60 + 1)
    rows = await executions(simulation, "user.x")
    assert [row.status for row in rows] == ["succeeded", "succeeded", "running", "queued"]
    assert [minutes(row.started_at) for row in rows[:3]] == [1, 2.5, 4]
    await simulation.client.pause("user.x")
    await simulation.clock.advance(300)
    assert await statuses(simulation) == ["succeeded"] * 4


async def test_cancel_previous(simulation: Simulation) -> None:
    await simulation.client.create("user.x", "* * * * *", overlap="cancel_previous", **SLOW)
    await simulation.clock.advance(3 * 60 + 1)
    rows = await executions(simulation, "user.x")
    assert [row.status for row in rows] == ["cancelled", "cancelled", "running"]
    assert [minutes(row.started_at) for row in rows] == [1, 2, 3]
    assert "is due" in (rows[0].reason or "")


async def test_allow(simulation: Simulation) -> None:
    await simulation.client.create("user.x", "* * * * *", overlap="allow", **SLOW)
    await simulation.clock.advance(3 * 60 + 1)
    rows = await executions(simulation, "user.x")
    assert [row.status for row in rows] == ["succeeded", "running", "running"]
    assert [minutes(row.started_at) for row in rows] == [1, 2, 3]


async def test_a_pending_retry_counts_as_running(simulation: Simulation) -> None:
    await simulation.client.create("user.x", "* * * * *", **FAILS_ONCE)
    await simulation.clock.advance(3 * 60 + 45)
    assert await statuses(simulation) == ["succeeded", "skipped", "skipped"]


async def test_a_pending_retry_is_waited_for(simulation: Simulation) -> None:
    await simulation.client.create("user.x", "* * * * *", overlap="queue", **FAILS_ONCE)
    await simulation.clock.advance(3 * 60 + 20)
    assert await statuses(simulation) == ["retrying", "queued", "queued"]
    await simulation.clock.advance(11)
    assert await statuses(simulation) == ["succeeded", "retrying", "queued"]


async def test_a_pending_retry_is_cancelled_for_the_next_slot(simulation: Simulation) -> None:
    await simulation.client.create("user.x", "* * * * *", overlap="cancel_previous", **FAILS_ONCE)
    await simulation.clock.advance(3 * 60 + 1)
    assert await statuses(simulation) == ["cancelled", "cancelled", "retrying"]


async def test_a_pending_retry_allows_what_is_allowed(simulation: Simulation) -> None:
    await simulation.client.create("user.x", "* * * * *", overlap="allow", **FAILS_ONCE)
    await simulation.clock.advance(2 * 60 + 1)
    assert await statuses(simulation) == ["retrying", "retrying"]


async def test_a_manual_run_is_an_overlap_too_and_waits_itself(simulation: Simulation) -> None:
    await simulation.client.create("user.x", "0 * * * *", **SLOW)
    first = await simulation.client.trigger("user.x")
    second = await simulation.client.trigger("user.x")
    await simulation.clock.advance(60)
    assert await statuses(simulation) == ["running", "queued"]
    await simulation.clock.advance(40)
    rows = await executions(simulation, "user.x")
    assert [(row.execution_id, row.status) for row in rows] == [
        (first.execution_id, "succeeded"),
        (second.execution_id, "running"),
    ]


async def test_a_stop_in_the_middle_leaves_no_lock(simulation: Simulation) -> None:
    for overlap in ("skip", "queue", "cancel_previous", "allow"):
        await simulation.client.create(f"user.{overlap}", "* * * * *", overlap=overlap, **SLOW)
    await simulation.clock.advance(2 * 60 + 30)
    await simulation.restart(down=3_600)
    await simulation.clock.advance(10 * 60)
    for overlap in ("skip", "queue", "cancel_previous", "allow"):
        newest = (await executions(simulation, f"user.{overlap}"))[-12:]
        assert any(row.status in ("succeeded", "running") for row in newest), overlap
        assert (await task(simulation, f"user.{overlap}")).state == "active"
