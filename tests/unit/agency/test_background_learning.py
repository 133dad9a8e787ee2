"""`agency.background_learning` alone: incremental, resumable, harmless to repeat, and frugal."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from aico_sched.tasks.agency.background_learning import QUIET_FILE, BackgroundLearning
from aico_sched.testing import MemorySource, TaskRun, VirtualClock, run_task
from tests.support.people import events, office

START = datetime(2026, 1, 5, tzinfo=UTC)
RUNS = [
    {"task_id": "user.heavy", "status": "succeeded", "started_at": "2026-01-05T01:00:00Z", "duration_seconds": 100.0},
    {"task_id": "user.heavy", "status": "running", "started_at": "2026-02-15T23:50:00Z", "duration_seconds": None},
    {"task_id": "user.heavy", "status": "succeeded", "started_at": "2026-01-06T01:00:00Z", "duration_seconds": 140.0},
]


def source(days: int = 42) -> MemorySource:
    return MemorySource(events=events(office, START, days, seed=5), task_executions=[dict(run) for run in RUNS])


async def learn(data: MemorySource, folder: Path, at: datetime, **config: Any) -> TaskRun:
    clock = VirtualClock(at)
    running = run_task(BackgroundLearning, {"timezone": "UTC", **config}, clock, data=data, data_dir=folder)
    return await clock.until(running)


async def test_it_learns_and_tells_the_scheduler(tmp_path: Path) -> None:
    run = await learn(source(), tmp_path, START + timedelta(days=42))
    assert run.result is not None, run.error
    data = run.result.data
    assert data["model"] == "hour_of_week" and data["executions"] == 2
    assert data["held_out_brier"]["hour_of_week"] < data["held_out_brier"]["hour_of_day"]
    quiet = run.quiet_hours[-1]
    assert quiet is not None and quiet.seconds["user.heavy"] > 120
    assert (tmp_path / QUIET_FILE).is_file()


async def test_in_pieces_it_learns_what_it_learns_at_once(tmp_path: Path) -> None:
    rows = events(office, START, 42, seed=5)
    whole = await learn(MemorySource(events=rows, task_executions=[]), tmp_path / "a", START + timedelta(days=42))
    for day in range(1, 43, 3):
        now = START + timedelta(days=day + 2)
        seen = [row for row in rows if datetime.fromisoformat(row["timestamp"]) < now]
        part = await learn(MemorySource(events=seen, task_executions=[]), tmp_path / "b", now)
    part = await learn(MemorySource(events=rows, task_executions=[]), tmp_path / "b", START + timedelta(days=42))
    assert part.quiet_hours[-1] == whole.quiet_hours[-1] is not None


async def test_again_it_learns_nothing_twice_and_a_run_that_ended_late_is_not_missed(tmp_path: Path) -> None:
    data, end = source(), START + timedelta(days=42)
    first = await learn(data, tmp_path, end)
    again = await learn(data, tmp_path, end)
    assert first.result is not None and again.result is not None
    assert (again.result.data["activity_rows"], again.result.data["executions"]) == (0, 0)
    assert again.quiet_hours == first.quiet_hours
    data.tables["task_executions"][1].update(status="succeeded", duration_seconds=900.0)
    late = await learn(data, tmp_path, end)
    assert late.result is not None and late.result.data["executions"] == 1


async def test_dry_run_keeps_nothing(tmp_path: Path) -> None:
    run = await learn(source(), tmp_path, START + timedelta(days=42), dry_run=True)
    assert run.result is not None and run.result.data["model"] == "hour_of_week"
    assert run.quiet_hours == [] and list(tmp_path.iterdir()) == []


async def test_too_little_leaves_the_default_and_takes_back_what_was_said(tmp_path: Path) -> None:
    await learn(source(), tmp_path, START + timedelta(days=42))
    (tmp_path / "profile.json").write_text("{broken")
    run = await learn(source(7), tmp_path, START + timedelta(days=7))
    assert run.result is not None and run.result.data["model"] == "default"
    assert run.quiet_hours == [None] and not (tmp_path / QUIET_FILE).exists()


async def test_without_the_table_it_says_so(tmp_path: Path) -> None:
    run = await learn(MemorySource(), tmp_path, START)
    assert run.result is not None and run.result.skipped and "events" in run.result.message


async def test_it_rests_four_times_as_long_as_it_works(tmp_path: Path) -> None:
    clock = VirtualClock(START + timedelta(days=42))
    running = run_task(BackgroundLearning, {"timezone": "UTC"}, clock, data=source(), data_dir=tmp_path)
    await clock.until(running)
    assert clock.monotonic() > 0
    busy = VirtualClock(START + timedelta(days=42))
    await busy.until(run_task(BackgroundLearning, {"cpu_share": 1.0}, busy, data=source(), data_dir=tmp_path / "other"))
    assert busy.monotonic() == 0
