"""A month of the real service with a made-up user: heavy work lands where the user is not."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from aico_sched.testing import MemorySource, Simulation
from tests.support.people import Habit, active_hours, events, night_shift, office
from tests.support.simulated import DAY, executions

START = datetime(2026, 3, 2, tzinfo=UTC)
HEAVY = {
    "user.index": "0 12 * * *",
    "user.train": "0 19 * * 1",
    "user.backup": "0 21 * * *",
    "user.digest": "30 8 * * *",
    "user.weekly": "0 20 * * SUN",
    "user.rebuild": "0 3 * * *",
}
RUN = {"seconds": 1_200, "steps": 1}


async def share_in_quiet_hours(folder: Path, habit: Habit, before: int, days: int, learning: bool) -> tuple[float, int]:
    """How many of the heavy runs of `days` days began and ended in hours without the user, of how many; `before` days
    of recorded activity lie behind."""
    rows = events(habit, START - timedelta(days=before), before + days, seed=11)
    busy = active_hours(rows)
    source = MemorySource(events=rows[:0], task_executions=[])
    future = iter([{"id": number, **row} for number, row in enumerate(rows, 1)])
    upcoming = next(future, None)
    settings = {
        "scheduler__timezone": "UTC",
        "tasks__agency__background_learning__schedule": "10 */6 * * *",
        "tasks__maintenance__health_check__enabled": False,
    }
    async with Simulation(folder, start=START, data=source, **settings) as simulation:
        if not learning:
            await simulation.client.disable("agency.background_learning")
        for task_id, schedule in HEAVY.items():
            await simulation.client.create(
                task_id, schedule, task_class="demo.sleep", config=RUN, low_activity=True, timeout=3_600
            )
        for _ in range(days * 4):
            now = simulation.clock.now
            while upcoming is not None and datetime.fromisoformat(upcoming["timestamp"]) < now:
                source.tables["events"].append(upcoming)
                upcoming = next(future, None)
            await simulation.clock.advance(DAY / 4)
        runs = [run for task_id in HEAVY for run in await executions(simulation, task_id, "succeeded")]
    undisturbed = 0
    for run in runs:
        began, ended = (datetime.fromisoformat(str(at)) for at in (run.started_at, run.completed_at))
        hours = {at.replace(minute=0, second=0, microsecond=0) for at in (began, ended)}
        undisturbed += not hours & busy
    return undisturbed / len(runs), len(runs)


@pytest.mark.parametrize(("habit", "before"), [(office, 0), (night_shift, 28)])
async def test_nine_of_ten_heavy_runs_fall_into_quiet_hours(tmp_path: Path, habit: Habit, before: int) -> None:
    share, count = await share_in_quiet_hours(tmp_path, habit, before, 31, learning=True)
    print(f"{habit.__name__}: {share:.1%} of {count} heavy runs in quiet hours")
    assert count > 110
    assert share >= 0.9


async def test_the_default_window_alone_is_wrong_for_a_night_worker(tmp_path: Path) -> None:
    share, _ = await share_in_quiet_hours(tmp_path, night_shift, 28, 14, learning=False)
    print(f"default window: {share:.1%}")
    assert share < 0.7
