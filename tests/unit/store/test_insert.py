"""Many rows in few statements: every row arrives, in order, and only new ones are told of."""

from pathlib import Path

import pytest

from aico_sched.store.connection import Database
from aico_sched.store.errors import StoreError

KEY = "k" * 32


@pytest.mark.parametrize("count", [0, 1, 49, 50, 51, 250])
def test_every_row_arrives(tmp_path: Path, count: int) -> None:
    database = Database.open(tmp_path / "tasks.db", KEY)
    try:
        database.begin()
        rows = [(f"admin/{number}", number, bytes([number])) for number in range(count)]
        assert database.insert("remember_message", rows) == []
        database.commit()
        assert [database.one("seen_message", (row[0],)) for row in rows] == [(row[2],) for row in rows]
    finally:
        database.close()


def test_a_row_that_is_refused_is_an_error_of_the_store(tmp_path: Path) -> None:
    database = Database.open(tmp_path / "tasks.db", KEY)
    try:
        event = (1, "scheduler.event.task.created", 1, "id", "2026-01-01T00:00:00.000000Z", b"")
        database.begin()
        with pytest.raises(StoreError):
            database.insert("insert_event", [event, event])
        database.rollback()
        assert database.run("events_after", (0, 10)) == []
    finally:
        database.close()
