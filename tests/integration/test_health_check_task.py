"""The health check in a real service: a row through the store and back, and runs that hang."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from aico_sched.actors import bridge
from aico_sched.bus.round_trip import back
from aico_sched.client import SchedulerClient
from aico_sched.data.source import Change, Table
from aico_sched.service import SchedulerService
from aico_sched.wiring import open_data
from tests.integration.conftest import Start
from tests.integration.support.running import settings_for

LONG_AGO = "2020-01-01T00:00:00.000000Z"
STUCK = {
    "task_id": "maintenance.log_cleanup",
    "execution_id": "stuck-1",
    "started_at": LONG_AGO,
    "status": "running",
    "trigger": "manual",
    "scheduled_for": LONG_AGO,
}


async def health(client: SchedulerClient) -> dict[str, Any]:
    started = await client.trigger("maintenance.health_check")
    run = await client.wait(started.execution_id)
    assert run.result is not None, run
    checks: dict[str, Any] = run.result["data"]["checks"]
    return checks


async def test_the_database_is_written_and_read_and_what_hangs_is_found(tmp_path: Path) -> None:
    settings = settings_for(tmp_path, tasks__maintenance__health_check__min_free_mb=0)
    async with SchedulerService(settings), SchedulerClient.discover(tmp_path, timeout=60) as client:
        checks = await health(client)
        assert checks["database"]["ok"] and checks["database"]["write_seconds"] > 0
        assert checks["stuck_executions"] == {"measured": True, "ok": True, "stuck": []}
        assert 0 < checks["message_bus"]["round_trip_seconds"] < 60 and checks["message_bus"]["measured"]
        assert checks["keys"]["measured"] and checks["keys"]["keys"] >= 2
        async with open_data(settings) as data:
            await data.write([Change(Table("task_executions", dict.fromkeys(STUCK, "TEXT")), [STUCK])])
        hanging = (await health(client))["stuck_executions"]
        assert hanging["stuck"] == ["stuck-1"] and "1 runs hang" in hanging["error"]
        alerts = (await client.event_list("scheduler.event.alert", limit=100)).events
        assert "maintenance.health_check:stuck_executions" in [event.payload["key"] for event in alerts]


async def test_a_message_goes_through_broker_and_bridge_and_one_that_is_lost_is_critical(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    once = {"retry": {"max_attempts": 1}}
    run = await start(tasks__maintenance__health_check={"min_free_mb": 0, "bus_timeout": 5, **once})
    sent_back: list[str] = []

    def seen(topic: str, name: str) -> str:
        sent_back.append(topic)
        return back(topic, name)

    monkeypatch.setattr(bridge, "back", seen)
    assert (await health(run.client))["message_bus"]["ok"]
    assert len(sent_back) == 1
    monkeypatch.setattr(bridge, "back", lambda topic, name: "scheduler.reply.nobody")
    await run.client.update("maintenance.health_check", config={"min_free_mb": 0, "bus_timeout": 0.5})
    await run.client.trigger("maintenance.health_check")
    bus = "maintenance.health_check:message_bus"
    alert = await run.events.first("scheduler.event.alert", key=bus)
    assert alert.payload["severity"] == "critical" and not alert.payload["resolved"]
    await run.events.first("scheduler.event.execution.dead")
    monkeypatch.setattr(bridge, "back", back)
    await run.client.trigger("maintenance.health_check")
    await run.events.first("scheduler.event.alert", key=bus, resolved=True)


async def test_a_run_within_the_services_own_timeout_does_not_hang(start: Start) -> None:
    run = await start(
        tasks__maintenance__health_check={"min_free_mb": 0, "stuck_after": 0.001},
        tasks__maintenance__log_cleanup={"max_duration": None},
        scheduler__default_timeout=2_000_000,
    )
    started = (datetime.now(UTC) - timedelta(days=10)).strftime("%Y-%m-%dT%H:%M:%S.000000Z")
    await run.client.create("user.patient", "@yearly", task_class="demo.echo")
    row = STUCK | {"task_id": "user.patient", "started_at": started}
    async with open_data(run.settings) as data:
        await data.write([Change(Table("task_executions", dict.fromkeys(row, "TEXT")), [row])])
    assert (await health(run.client))["stuck_executions"]["stuck"] == []
