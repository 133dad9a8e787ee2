"""Health and figures of a running service: the last minutes, what survives, alerts and their end, OpenMetrics."""

from typing import Any

from prometheus_client.openmetrics.parser import text_string_to_metric_families as parsed

from aico_sched.host import HostSample
from aico_sched.metrics import render
from aico_sched.testing import Simulation
from aico_sched.topics import names
from tests.integration.time.conftest import Simulate, simulate
from tests.support.simulated import HOUR, events

__all__ = ["simulate"]

WINDOW = 120.0
SOON = {"play": 1.0, "scheduler__health_window": WINDOW}


async def failing(simulation: Simulation, task_id: str, runs: int, kind: str = "permanent") -> None:
    config = {"times": 9, "kind": kind}
    await simulation.client.create(task_id, "interval:1", task_class="demo.fail", config=config, max_runs=runs)


async def alerts(simulation: Simulation, key: str) -> list[dict[str, Any]]:
    return [event for event in await events(simulation, names.ALERT) if event["key"] == key]


async def test_failures_degrade_for_as_long_as_they_are_recent_and_are_told_of_once(simulate: Simulate) -> None:
    async with simulate(**SOON) as simulation:
        assert (await simulation.client.health()).status == "healthy"
        await simulation.client.create("user.fine", "interval:1", task_class="demo.echo", max_runs=40)
        await simulation.clock.advance(30)
        await failing(simulation, "user.bad", 8)
        await simulation.clock.advance(20)
        health = await simulation.client.health()
        assert health.status == "degraded"
        assert "17% of the attempts failed" in health.reasons[0]
        assert health.checks["failures"]["ok"] is False
        recent = (await simulation.client.stats()).recent
        assert recent["failures"] == {"aico_sched.tasks.base.PermanentError": 8}
        assert recent["executions"]["failure_rate"] > 0.15
        assert recent["lateness_ms"]["count"] >= 48
        await simulation.clock.advance(2 * WINDOW)
        assert (await simulation.client.health()).status == "healthy"
        told = await alerts(simulation, "health")
        assert [(alert["severity"], alert["resolved"]) for alert in told] == [("warning", False), ("info", True)]
        assert "attempts failed" in told[0]["message"]


async def test_when_half_of_all_fails_it_is_critical(simulate: Simulate) -> None:
    async with simulate(**SOON) as simulation:
        await failing(simulation, "user.bad", 12)
        await simulation.clock.advance(30)
        assert (await simulation.client.health()).status == "critical"
        assert (await alerts(simulation, "health"))[-1]["severity"] == "critical"


async def test_totals_and_peaks_survive_a_restart_and_an_open_alert_is_closed(simulate: Simulate) -> None:
    async with simulate(**SOON) as simulation:
        await failing(simulation, "user.bad", 12)
        await simulation.client.create("user.fine", "interval:1", task_class="demo.echo", max_runs=20)
        await simulation.clock.advance(50)
        before = await simulation.client.stats()
        assert before.totals["dead"] == 12
        assert before.totals["succeeded"] >= 20
        assert before.peaks["executions_per_second"] > 0
        await simulation.restart(down=60)
        after = await simulation.client.stats()
        assert after.executions["ended"] <= 1
        assert after.totals["dead"] == 12
        assert after.totals["succeeded"] >= before.totals["succeeded"]
        assert after.peaks["executions_per_second"] >= before.peaks["executions_per_second"]
        assert (await alerts(simulation, "health"))[-1]["resolved"] is False
        await simulation.clock.advance(30)
        assert (await alerts(simulation, "health"))[-1]["resolved"] is True


async def test_totals_count_every_event_of_an_execution(simulate: Simulate) -> None:
    async with simulate() as simulation:
        await simulation.client.create("user.x", "interval:5", task_class="demo.echo")
        await simulation.clock.advance(21)
        await simulation.restart(down=HOUR)
        await simulation.clock.advance(21)
        totals = (await simulation.client.stats()).totals
        for topic in (names.EXECUTION_STARTED, names.EXECUTION_SUCCEEDED, names.EXECUTION_MISSED):
            seen = sum(event.get("count") or 1 for event in await events(simulation, topic))
            assert totals[topic.removeprefix(names.EXECUTION_EVENTS)] == seen
        assert totals["missed"] > 700


async def test_incidents_are_counted_by_resource(simulate: Simulate) -> None:
    async with simulate(scheduler__resource_check_interval=10, **SOON) as simulation:
        for sample in (HostSample(99, 0, False), HostSample(0, 0, False), HostSample(0, 99, False)):
            simulation.host.sample_now = sample
            await simulation.clock.advance(11)
        recent = (await simulation.client.stats()).recent
        assert recent["resource_incidents"] == {"cpu": 1, "memory": 1}
        assert recent["memory_percent"]["max"] == 99


async def test_the_figures_of_a_service_are_openmetrics(simulate: Simulate) -> None:
    async with simulate(**SOON) as simulation:
        await failing(simulation, "user.bad", 2)
        await simulation.clock.advance(10)
        stats, health = await simulation.client.stats(), await simulation.client.health()
        text = render(stats.model_dump(), health.model_dump())
        families = {family.name: family for family in parsed(text.decode())}
        assert families["aico_sched_failures"].samples[0].value == 2
        assert len(families) > 30


async def test_the_load_of_the_last_hour_is_there_for_who_comes_later(simulate: Simulate) -> None:
    async with simulate(**SOON) as simulation:
        await simulation.client.create("user.often", "interval:5", task_class="demo.echo")
        await simulation.clock.advance(600)
        samples = (await simulation.client.stats_history()).samples
        assert 30 <= len(samples) <= 42
        assert samples[-1].ended_per_second > 0.1
        assert samples[0].at < samples[-1].at
