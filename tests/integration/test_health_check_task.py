"""The health check in a real service: a row through the store and back, and runs that hang."""

from pathlib import Path
from typing import Any

from aico_sched.client import SchedulerClient
from aico_sched.data.source import Change, Table
from aico_sched.service import SchedulerService
from aico_sched.wiring import open_data
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
        assert checks["keys"]["measured"] and checks["keys"]["keys"] >= 2
        async with open_data(settings) as data:
            await data.write([Change(Table("task_executions", dict.fromkeys(STUCK, "TEXT")), [STUCK])])
        hanging = (await health(client))["stuck_executions"]
        assert hanging["stuck"] == ["stuck-1"] and "1 runs hang" in hanging["error"]
        alerts = (await client.event_list("scheduler.event.alert", limit=100)).events
        assert "maintenance.health_check:stuck_executions" in [event.payload["key"] for event in alerts]
