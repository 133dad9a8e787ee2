from pathlib import Path
from typing import Any

import pytest

from aico_sched.tasks import TaskResult
from aico_sched.tasks.maintenance.health_check import PROBE_TOPIC, HealthCheck
from aico_sched.testing import run_task


def checks(result: TaskResult | None) -> dict[str, Any]:
    assert result is not None
    found: dict[str, Any] = result.data["checks"]
    return found


def nothing_runs(sql: str, parameters: Any) -> list[dict[str, Any]]:
    return []


async def test_what_can_be_measured_is_measured(tmp_path: Path) -> None:
    run = await run_task(
        HealthCheck,
        {"min_free_mb": 0},
        data_dir=tmp_path,
        probe_database={"write_seconds": 0.001},
        database=nothing_runs,
    )
    assert run.result is not None and run.result.success
    found = checks(run.result)
    assert {name: check["ok"] for name, check in found.items() if check["measured"]} == {
        "disk_space": True,
        "data_folder": True,
        "message_bus": True,
        "database": True,
        "stuck_executions": True,
        "memory": True,
    }
    assert found["database"]["write_seconds"] == 0.001
    assert found["disk_space"]["total_mb"] >= found["disk_space"]["free_mb"] > 0
    assert [topic for topic, _ in run.published] == [PROBE_TOPIC]
    assert [path.name for path in tmp_path.iterdir()] == ["state.json"]


async def test_what_cannot_be_measured_is_not_claimed() -> None:
    run = await run_task(HealthCheck, {"min_free_mb": 0}, task_id="user.may_not")
    assert run.result is not None and run.result.success
    assert checks(run.result)["database"] == {"measured": False}
    assert "database" not in run.result.message


@pytest.mark.parametrize(
    ("switch", "gone"),
    [
        ("check_database", {"database"}),
        ("check_message_bus", {"message_bus"}),
        ("check_disk_space", {"disk_space", "data_folder"}),
    ],
)
async def test_each_check_can_be_switched_off(switch: str, gone: set[str]) -> None:
    run = await run_task(HealthCheck, {switch: False, "min_free_mb": 0}, probe_database={})
    assert {"disk_space", "data_folder", "message_bus", "database"} - checks(run.result).keys() == gone
    assert bool(run.published) == (switch != "check_message_bus")


async def test_too_little_space_fails_the_run() -> None:
    run = await run_task(HealthCheck, {"min_free_mb": 10**12})
    assert run.result is not None and not run.result.success
    assert "disk_space: " in run.result.message
    assert checks(run.result)["data_folder"]["ok"]


async def test_a_check_that_raises_is_a_finding_and_the_others_go_on(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file where the folder should be")
    run = await run_task(HealthCheck, data_dir=tmp_path / "data")
    assert run.result is not None and not run.result.success
    assert checks(run.result)["data_folder"]["error"].startswith("FileExistsError")
    assert checks(run.result)["message_bus"]["ok"]


async def test_a_database_that_is_not_well_fails_the_run() -> None:
    run = await run_task(
        HealthCheck, {"min_free_mb": 0}, probe_database={"ok": False, "error": "it is locked"}, database=nothing_runs
    )
    assert run.result == TaskResult.failed("database: it is locked", checks=checks(run.result))
