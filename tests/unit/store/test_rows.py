"""Rows are read with `SELECT *`: the columns of the newest schema stand in the order in which the models have them."""

from pathlib import Path

import pytest

from aico_sched.store.connection import Database
from aico_sched.store.records import AttemptRow, ExecutionRow, TaskRow


@pytest.mark.parametrize(
    ("table", "row"),
    [
        ("scheduled_tasks", TaskRow),
        ("task_executions", ExecutionRow),
        ("task_attempts", AttemptRow),
    ],
)
def test_the_columns_stand_in_the_model_s_order(tmp_path: Path, table: str, row: type[tuple[object, ...]]) -> None:
    database = Database.open(tmp_path / "x.db", "k" * 32, "normal")
    try:
        columns = [info[1] for info in database._raw(f"PRAGMA table_info({table})")]
    finally:
        database.close()
    assert columns == list(row._fields)  # type: ignore[attr-defined]
