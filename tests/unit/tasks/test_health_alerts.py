"""The health check's warnings, alerts, and the word that it is over."""

import os
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from aico_sched.tasks.maintenance import health_check
from aico_sched.tasks.maintenance.health_check import HealthCheck
from aico_sched.testing import TaskRun, VirtualClock, run_task


async def check(folder: Path, clock: VirtualClock | None = None, **config: Any) -> TaskRun:
    """A check that follows one by which all was well."""
    note = folder / "task_data" / "health" / "state.json"
    if not note.exists():
        note.parent.mkdir(parents=True, exist_ok=True)
        note.write_text('{"bad": []}')
    settings = {"min_free_mb": 0, "check_database": False, **config}
    run = await run_task(HealthCheck, settings, clock, data_dir=folder / "task_data" / "health")
    assert run.result is not None, run.error
    return run


async def test_trouble_is_told_and_so_is_its_end(tmp_path: Path) -> None:
    bad = await check(tmp_path, min_free_mb=10**12)
    assert bad.alerts == [("disk_space", "critical", False)] and bad.result is not None and not bad.result.success
    unknown = await check(tmp_path, check_disk_space=False)
    assert unknown.alerts == []
    good = await check(tmp_path)
    assert good.alerts == [("disk_space", "info", True)]
    assert (await check(tmp_path)).alerts == []


async def test_a_warning_does_not_fail_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Full:
        def sample(self) -> Any:
            return type("Sample", (), {"memory_percent": 99.0})()

    monkeypatch.setattr(health_check, "PsutilSampler", Full)
    run = await check(tmp_path)
    assert run.result is not None and run.result.success and "memory: 99 % in use" in run.result.message
    assert run.alerts == [("memory", "warning", False)]


async def test_a_clock_that_was_set_shows_once(tmp_path: Path) -> None:
    clock = VirtualClock()
    for step, alerts in (
        (0.0, []),
        (0.0, []),
        (-3_600.0, [("clock", "warning", False)]),
        (0.0, [("clock", "info", True)]),
    ):
        await clock.advance(300)
        clock.set_wall(clock.now + timedelta(seconds=step))
        run = await clock.until(check(tmp_path, clock))
        assert run.alerts == alerts


async def test_old_keys_are_told_of(tmp_path: Path) -> None:
    key = tmp_path / "keys" / "secrets" / "admin.key_secret"
    key.parent.mkdir(parents=True)
    key.touch()
    run = await check(tmp_path)
    assert run.result is not None and run.result.data["checks"]["keys"]["keys"] == 1
    os.utime(key, (0, 0))
    old = await check(tmp_path)
    assert old.alerts == [("keys", "warning", False)]
    assert old.result is not None and "admin.key_secret" in old.result.message
    assert old.result.data["checks"]["keys"]["age_days"]["secrets/admin.key_secret"] > 365


@pytest.mark.parametrize("damage", ["unlink", "not json", "[]"])
async def test_where_nobody_knows_what_was_told_all_that_is_well_is_said_to_be(tmp_path: Path, damage: str) -> None:
    await check(tmp_path, min_free_mb=10**12)
    note = tmp_path / "task_data" / "health" / "state.json"
    note.unlink()
    if damage != "unlink":
        note.write_text(damage)
    run = await run_task(HealthCheck, {"min_free_mb": 0, "check_database": False}, data_dir=note.parent)
    assert ("disk_space", "info", True) in run.alerts
    # What could not be measured stays open.
    assert (await check(tmp_path)).alerts == [("clock", "info", True)]
    assert (await check(tmp_path)).alerts == []


async def test_a_note_that_cannot_be_kept_does_not_keep_the_end_from_being_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await check(tmp_path)

    def full(*arguments: Any, **options: Any) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_text", full)
        patch.setattr(Path, "write_bytes", full)
        bad = await check(tmp_path)
    assert ("data_folder", "critical", False) in bad.alerts
    folder = tmp_path / "task_data" / "health"
    good = await run_task(HealthCheck, {"min_free_mb": 0, "check_database": False}, data_dir=folder)
    assert ("data_folder", "info", True) in good.alerts
