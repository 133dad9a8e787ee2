"""Putting stored times right after the clock was set back, chunk by chunk and over a crash."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from aico_sched.planning import Defaults
from aico_sched.schedule import format_rfc3339, parse_rfc3339
from aico_sched.settings import Settings
from aico_sched.store.clock_step import CHUNK, ClockStep
from aico_sched.store.connection import Database
from aico_sched.store.tasks import Sender, TaskCommands
from aico_sched.store.unit import Unit
from aico_sched.wiring import database_keys, open_database

NOW = parse_rfc3339("2026-05-04T10:00:00Z")
YEAR = 365 * 86_400 * 1_000_000
COUNT = 2 * CHUNK + 50


class AnyClass:
    def check(self, task_class: str, config: Mapping[str, Any]) -> dict[str, Any]:
        return dict(config)

    def options_of(self, task_class: str) -> Mapping[str, Any]:
        return {}

    def known(self, task_class: str) -> bool:
        return True

    def may_register(self, role: str, task_id: str, task_class: str) -> None:
        return None


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    settings = Settings.load(environ={"AICO_SCHED_DATA_DIR": str(tmp_path)})
    opened = open_database(settings, database_keys(settings))
    yield opened
    opened.close()


def unit_of(database: Database, boot: str) -> tuple[Unit, TaskCommands]:
    unit = Unit(database, Defaults("UTC", 300, 4, 60, 3_600), boot, 100)
    return unit, TaskCommands(unit, AnyClass())


def ahead(database: Database) -> int:
    """How many tasks wait for a time more than an hour off."""
    rows = database.run("tasks_after", ("", 10_000))
    return sum(row[8] > format_rfc3339(NOW - YEAR + 3_600_000_000) for row in rows)


def test_a_crash_in_the_middle_is_taken_up_where_it_was(database: Database) -> None:
    unit, tasks = unit_of(database, "first")
    unit.begin(NOW)
    for number in range(COUNT):
        schedule = "30 * * * *" if number % 2 else "interval:600"
        tasks.create({"task_id": f"user.t{number:04}", "schedule": schedule}, Sender("me", "admin"))
    unit.announce()
    database.commit()
    step = ClockStep(unit, tasks)
    unit.begin(NOW - YEAR)
    step.begin(YEAR)
    step.advance()
    unit.announce()
    database.commit()
    assert ahead(database) == COUNT - CHUNK
    # A turn that was undone, as when the disk is full, is done again.
    unit.begin(NOW - YEAR)
    step.advance()
    database.rollback()
    unit.reset()
    step.reset()
    assert ahead(database) == COUNT - CHUNK
    # The next instance knows nothing but the database.
    unit, tasks = unit_of(database, "second")
    step = ClockStep(unit, tasks)
    turns = 0
    while step.under_way:
        unit.begin(NOW - YEAR)
        step.advance()
        said, _ = unit.announce()
        database.commit()
        turns += 1
        assert len(said.due_tasks) <= CHUNK
    assert (turns, ahead(database)) == (2, 0)
    assert not ClockStep(unit, tasks).under_way


def test_a_start_looks_whether_the_clock_went_back(database: Database) -> None:
    unit, tasks = unit_of(database, "first")
    unit.begin(NOW)
    tasks.create({"task_id": "user.x", "schedule": "* * * * *"}, Sender("me", "admin"))
    unit.announce()
    database.commit()
    for now, under_way in ((NOW + 1, False), (NOW - 500_000, False), (NOW - 2_000_000, True)):
        unit, tasks = unit_of(database, "next")
        step = ClockStep(unit, tasks)
        unit.begin(now)
        step.look_back()
        assert step.under_way is under_way
        database.rollback()
