from pathlib import Path
from typing import Any

import pytest

from aico_sched.tasks import TaskResult
from aico_sched.tasks.maintenance.health_check import HealthCheck
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
        probe_bus=0.002,
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
    assert found["message_bus"]["round_trip_seconds"] == 0.002
    assert run.progress[-1]["fraction"] == 1.0
    assert [path.name for path in tmp_path.iterdir()] == ["state.json"]


async def test_what_cannot_be_measured_is_not_claimed() -> None:
    run = await run_task(HealthCheck, {"min_free_mb": 0}, task_id="user.may_not")
    assert run.result is not None and run.result.success
    assert checks(run.result)["database"] == checks(run.result)["message_bus"] == {"measured": False}
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
    run = await run_task(HealthCheck, {switch: False, "min_free_mb": 0}, probe_database={}, probe_bus=0.1)
    assert {"disk_space", "data_folder", "message_bus", "database"} - checks(run.result).keys() == gone


async def test_too_little_space_fails_the_run() -> None:
    run = await run_task(HealthCheck, {"min_free_mb": 10**12})
    assert run.result is not None and not run.result.success
    assert "disk_space: " in run.result.message
    assert checks(run.result)["data_folder"]["ok"]


async def test_a_check_that_raises_is_a_finding_and_the_others_go_on(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file where the folder should be")
    run = await run_task(HealthCheck, data_dir=tmp_path / "data", probe_bus=0.1)
    assert run.result is not None and not run.result.success
    assert checks(run.result)["data_folder"]["error"].startswith("FileExistsError")
    assert checks(run.result)["message_bus"]["ok"]


async def test_a_database_that_is_not_well_fails_the_run() -> None:
    run = await run_task(
        HealthCheck, {"min_free_mb": 0}, probe_database={"ok": False, "error": "it is locked"}, database=nothing_runs
    )
    assert run.result == TaskResult.failed("database: it is locked", checks=checks(run.result))


@pytest.mark.parametrize(
    ("seconds", "severity", "success"), [(0.2, None, True), (1.5, "warning", True), (float("inf"), "critical", False)]
)
async def test_a_slow_bus_is_a_warning_and_a_silent_one_critical(
    seconds: float, severity: str | None, success: bool
) -> None:
    run = await run_task(HealthCheck, {"min_free_mb": 0, "check_database": False}, probe_bus=seconds)
    assert run.result is not None and run.result.success == success
    told = [(key, level) for key, level, resolved in run.alerts if not resolved]
    assert told == ([] if severity is None else [("message_bus", severity)])
    assert ("has not come back within 5 s" in run.result.message) == (not success)


async def test_a_dry_run_only_reads(tmp_path: Path) -> None:
    written: list[str] = []

    def answers(sql: str, parameters: Any) -> list[dict[str, Any]]:
        written.extend([sql] if not sql.startswith("SELECT") else [])
        return []

    run = await run_task(
        HealthCheck,
        {"min_free_mb": 10**12, "dry_run": True},
        data_dir=tmp_path,
        probe_database={},
        probe_bus=0.1,
        database=answers,
    )
    assert run.result is not None and not run.result.success and "disk_space: " in run.result.message
    assert checks(run.result)["database"]["read_seconds"] > 0
    assert (written, run.alerts, run.published, list(tmp_path.iterdir())) == ([], [], [], [])
