"""One statement for many rows does what a statement for each would do, in whichever of its forms."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aico_sched.store.connection import Database
from aico_sched.store.errors import StoreError
from aico_sched.store.many_rows import statements
from aico_sched.store.named_sql import queries

KEY = "k" * 32
ROW = "INSERT INTO kept (a, b, c) VALUES (?, ?, ?)"
READ = "SELECT a, b, c, typeof(a), typeof(b), typeof(c) FROM kept ORDER BY rowid"

# libSQL takes larger ones for floats when they are bound; where a column is declared INTEGER they become whole again.
NUMBERS = st.integers(-(2**31), 2**31 - 1)
VALUES = st.one_of(
    st.none(),
    NUMBERS,
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=12),
    st.binary(max_size=80),
    st.sampled_from(["\0", "a\0b", "\\u0000", '{"a":"\\u0000"}', '"', "null", "[1]", "1e3", "\ufffe", "\U0001f600"]),
)
COLUMNS = (st.none(), NUMBERS, st.text(max_size=12), st.binary(max_size=64), VALUES)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = Database.open(tmp_path / "tasks.db", KEY)
    # Columns without a type: nothing is converted.
    database.run_text("CREATE TABLE kept (a, b, c)", ())
    database._sql = {**database._sql, "keep": ROW, "kept": READ}
    yield database
    database.close()


def kept(database: Database) -> list[tuple[Any, ...]]:
    rows = database.run("kept")
    database.run_text("DELETE FROM kept", ())
    return rows


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_the_rows_are_those_of_a_statement_each(database: Database, data: st.DataObject) -> None:
    columns = [data.draw(st.sampled_from(COLUMNS)) for _ in range(3)]
    rows = data.draw(st.lists(st.tuples(*columns), min_size=4, max_size=30))
    database.insert("keep", rows)
    together = kept(database)
    for row in rows:
        database.run("keep", row)
    assert together == kept(database)


def forms(rows: list[tuple[Any, ...]], name: str = "") -> list[str]:
    return ["json" if "json_each" in sql else "values" for sql, _ in statements(queries()[name] if name else ROW, rows)]


def test_which_form_is_taken() -> None:
    assert forms([(n, "same", str(n)) for n in range(250)]) == ["json"] * 3
    assert forms([(n, "same", bytes([n])) for n in range(100)]) == ["json"]
    assert forms([(n, "same", "same") for n in range(3)]) == ["values"]
    assert forms([("same", "same", "same")] * 5) == ["values"]
    for odd in (0.5, True, bytes(65), "a\0b", "\ud800", "x" * 1_000_001):
        assert forms([(n, "same", odd if n else "") for n in range(5)]) == ["values"], odd


def test_what_tasks_share_is_bound_once() -> None:
    columns = queries()["insert_task"].count("?")
    rows = [tuple("same" if column else f"user.{n}" for column in range(columns)) for n in range(100)]
    ((_, parameters),) = statements(queries()["insert_task"], rows)
    assert len(parameters) == columns


@pytest.mark.parametrize("second", ["\ud800", "x\ud800y"])
def test_half_a_surrogate_pair_is_an_error_of_the_store(database: Database, second: str) -> None:
    with pytest.raises(StoreError):
        database.insert("keep", [(n, "same", second if n == 2 else "") for n in range(5)])


def test_a_row_that_is_refused_takes_the_others_with_it(database: Database) -> None:
    lines = [(n, "2026", "admin", "admin", "x", f"user.{n}", "ok", "", bytes(32)) for n in range(1, 9)]
    assert forms(lines, "insert_audit") == ["json"]
    database.begin()
    for refused in (lines[3], (10, *lines[3][1:5], None, *lines[3][6:])):
        database.savepoint()
        with pytest.raises(StoreError) as caught:
            database.insert("insert_audit", [*lines, refused])
        assert not caught.value.of_database
        database.undo()
        assert database.one("newest_audit") == (0,)
    database.insert("insert_audit", lines)
    assert database.one("newest_audit") == (8,)
    database.rollback()
