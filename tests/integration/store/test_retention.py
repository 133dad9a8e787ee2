"""What is forgotten of the past, and what stays."""

import json
from pathlib import Path
from typing import Any

import pytest

from aico_sched.planning import Defaults
from aico_sched.schedule import format_rfc3339
from aico_sched.store.connection import Database
from aico_sched.store.retention import DAY_US, HistoryLimits, Retention
from aico_sched.store.unit import Unit
from tests.integration.conftest import Start

NOW = 1_800_000_000_000_000
KEY = "r" * 32
EVERYTHING = {"days": 10_000.0, "rows": 1_000_000, "megabytes": 10_000, "keep": 3}


def made(tmp_path: Path, **limits: Any) -> tuple[Unit, Retention]:
    database = Database.open(tmp_path / "s.db", KEY, "normal")
    unit = Unit(database, Defaults("UTC", 300.0, 4, 60.0, 3600.0), "boot", 100)
    return unit, Retention(unit, HistoryLimits(**(EVERYTHING | limits)))


def add(unit: Unit, task_id: str, ages: list[float], status: str = "succeeded") -> list[str]:
    """An ended execution for each age in days."""
    unit.begin(NOW)
    unit.database._raw(
        "INSERT OR IGNORE INTO scheduled_tasks (task_id, task_class, schedule, created_at, updated_at, timezone, "
        "anchor, priority, created_by, created_role) VALUES (?, 'x', '@daily', '', '', 'UTC', '', 0, 'a', 'admin')",
        (task_id,),
    )
    names = []
    for age in ages:
        at = format_rfc3339(NOW - int(age * DAY_US))
        names.append(f"{task_id}-{status}-{age}")
        row = (task_id, names[-1], at, at, status, "schedule", at, json.dumps("x" * 2_000))
        unit.database._raw(
            "INSERT INTO task_executions (task_id, execution_id, started_at, completed_at, status, trigger, "
            "scheduled_for, result) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            row,
        )
        unit.database._raw("INSERT INTO task_attempts (execution_id, attempt, outcome, started_at, completed_at) "
                           "VALUES (?, 1, ?, ?, ?)", (names[-1], status, at, at))  # fmt: skip
    unit.database.commit()
    return names


def sweep(unit: Unit, retention: Retention) -> list[str]:
    """Everything that is left."""
    unit.begin(NOW)
    while retention.step():
        unit.database.commit()
        unit.begin(NOW)
    unit.database.commit()
    left = [row[0] for row in unit.database._raw("SELECT execution_id FROM task_executions ORDER BY id")]
    attempts = {row[0] for row in unit.database._raw("SELECT execution_id FROM task_attempts")}
    assert attempts == set(left)
    unit.database.close()
    return left


def test_age(tmp_path: Path) -> None:
    unit, retention = made(tmp_path, days=30.0, keep=0)
    names = add(unit, "user.a", [float(age) for age in range(60, 0, -1)])
    assert sweep(unit, retention) == names[-30:]


def test_each_tasks_newest_rows_stay_however_old(tmp_path: Path) -> None:
    unit, retention = made(tmp_path, days=1.0)
    rare = add(unit, "user.rare", [400.0, 300.0, 200.0, 100.0, 50.0])
    skipped = add(unit, "user.skipped", [90.0, 80.0, 70.0, 60.0], "skipped")
    assert sweep(unit, retention) == [*rare[-3:], *skipped[-3:]]


def test_number(tmp_path: Path) -> None:
    unit, retention = made(tmp_path, rows=500)
    names = add(unit, "user.a", [float(age) for age in range(1_200, 0, -1)])
    assert sweep(unit, retention) == names[-500:]


def test_size(tmp_path: Path) -> None:
    unit, retention = made(tmp_path, megabytes=1)
    names = add(unit, "user.a", [float(age) for age in range(900, 0, -1)])
    left = sweep(unit, retention)
    assert left == names[-len(left) :]
    assert 3 <= len(left) < 500


@pytest.mark.parametrize("status", ["queued", "running", "retrying"])
def test_what_is_not_over_stays(tmp_path: Path, status: str) -> None:
    unit, retention = made(tmp_path, days=1.0, keep=0)
    waiting = add(unit, "user.a", [100.0, 99.0], status)
    assert sweep(unit, retention) == waiting


def test_dead_letters_stay_until_they_are_discarded(tmp_path: Path) -> None:
    unit, retention = made(tmp_path, days=1.0, keep=0)
    dead, _ = add(unit, "user.a", [100.0, 99.0], "dead")
    unit.begin(NOW)
    unit.database.run("insert_dead", (dead, "user.a", "", "", "{}"))
    unit.database.commit()
    assert sweep(unit, retention) == [dead]


async def test_the_service_forgets_by_itself(start: Start) -> None:
    run = await start(store__history_rows=1, store__history_keep=2, store__history_mb=500, store__history_days=1)
    await run.client.create("user.a", "@yearly", task_class="demo.echo")
    await run.service.stop()
    database = Database.open(run.settings.database_path, _key(run.settings.data_dir))
    unit = Unit(database, Defaults("UTC", 300.0, 4, 60.0, 3600.0), "boot", 100)
    add(unit, "user.a", [float(age) for age in range(2_000, 1_990, -1)])
    database.close()
    again = await start(store__history_rows=1, store__history_keep=2)
    page = await again.client.executions(task_id="user.a")
    while len(page.executions) > 2:
        page = await again.client.executions(task_id="user.a")


def _key(folder: Path) -> str:
    return (folder / "keys" / "database.key").read_text().strip()


def deleted(unit: Unit, task_id: str, hours: float) -> None:
    unit.begin(NOW)
    at = format_rfc3339(NOW - int(hours * 3_600_000_000))
    unit.database._raw("UPDATE scheduled_tasks SET deleted_at = ? WHERE task_id = ?", (at, task_id))
    unit.database.commit()


def test_a_deleted_task_goes_with_the_last_of_its_history(tmp_path: Path) -> None:
    unit, retention = made(tmp_path, days=30.0)
    add(unit, "user.live", [])
    add(unit, "user.empty", [])
    add(unit, "user.fresh", [])
    add(unit, "user.old", [90.0, 80.0])
    recent = add(unit, "user.recent", [90.0, 10.0])
    for task_id, hours in (("user.empty", 2.0), ("user.fresh", 0.5), ("user.old", 2.0), ("user.recent", 2.0)):
        deleted(unit, task_id, hours)
    unit.begin(NOW)
    while retention.step():
        pass
    left = [row[0] for row in unit.database._raw("SELECT task_id FROM scheduled_tasks ORDER BY task_id")]
    assert left == ["user.fresh", "user.live", "user.recent"]
    unit.database.commit()
    assert sweep(unit, retention) == recent[1:]


def test_many_deleted_tasks_go_a_window_at_a_time(tmp_path: Path) -> None:
    unit, retention = made(tmp_path)
    for number in range(1_000):
        add(unit, f"user.{number}", [])
        deleted(unit, f"user.{number}", 2.0 + number / 1_000)
    unit.begin(NOW)
    steps = 0
    while retention.step():
        steps += 1
    assert unit.database._raw("SELECT count(*) FROM scheduled_tasks")[0][0] == 0
    assert steps >= 5
    unit.database.commit()
    unit.database.close()


def test_a_sweep_comes_early_when_much_is_new(tmp_path: Path) -> None:
    unit, retention = made(tmp_path, rows=4_000)
    add(unit, "user.a", [float(age) for age in range(10, 0, -1)])
    sweep_once(unit, retention)
    unit.begin(NOW)
    assert not retention.step()
    for _ in range(4_000 // 20 + 1):
        unit.new_execution_id()
    assert retention.step()
    unit.database.rollback()
    unit.database.close()


def sweep_once(unit: Unit, retention: Retention) -> None:
    unit.begin(NOW)
    while retention.step():
        pass
    unit.database.commit()
