"""An alert is told once while its trouble lasts, and again when that goes on for long or comes back."""

from typing import Any

from aico_sched.testing import Simulation
from aico_sched.topics import names
from aico_sched.topics.internal import AlertRaise
from tests.integration.time.conftest import Simulate
from tests.support.simulated import events

SLOWLY = {"play": 1.0}
"""The clock moves on between two alerts by as much as the test says."""


async def raised(simulation: Simulation, key: str, severity: str = "warning", **more: Any) -> list[tuple[str, str]]:
    """Raise an alert as an actor does; returns every one that has been told of those keys, the oldest first."""
    supervisor = simulation.service._supervisor
    assert supervisor is not None
    supervisor.tell("store", names.ALERT_RAISE, AlertRaise(key, severity, "as it was raised", None, {}, **more))
    await simulation.client.stats()
    found = await events(simulation, names.ALERT)
    return [(event["key"], event["severity"]) for event in found if event["key"] in ("disk", "network")]


async def test_the_same_alert_is_told_once_in_five_minutes(simulate: Simulate) -> None:
    async with simulate(**SLOWLY) as simulation:
        for _ in range(3):
            assert await raised(simulation, "disk") == [("disk", "warning")]
            await simulation.clock.advance(99)
        await simulation.clock.advance(10)
        assert await raised(simulation, "disk") == [("disk", "warning")] * 2


async def test_another_key_and_a_worse_degree_are_told_at_once(simulate: Simulate) -> None:
    async with simulate(**SLOWLY) as simulation:
        told = [("disk", "warning"), ("network", "warning"), ("disk", "critical")]
        for count, (key, severity) in enumerate(told, 1):
            assert await raised(simulation, key, severity) == told[:count]
        for key, severity in told:
            assert await raised(simulation, key, severity) == told


async def test_what_is_over_and_comes_back_is_told_at_once_and_its_end_once(simulate: Simulate) -> None:
    async with simulate(**SLOWLY) as simulation:
        began, over = ("disk", "warning"), ("disk", "info")
        assert await raised(simulation, "disk", "info", resolved=True) == [], "there was none"
        assert await raised(simulation, "disk", lasting=True) == [began]
        await simulation.restart()
        assert await raised(simulation, "disk", "info", resolved=True) == [began, over], "an earlier boot told of it"
        assert await raised(simulation, "disk", "info", resolved=True) == [began, over]
        assert await raised(simulation, "disk", lasting=True) == [began, over, began]
