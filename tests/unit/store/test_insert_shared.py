"""What rows share is bound once: the database has what was given, of the type it was given as, all the same."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aico_sched.store.connection import Database

KEY = "k" * 32
QUERY = "INSERT INTO kept (a, b, c) VALUES (?, ?, ?) RETURNING a, b, c, typeof(a), typeof(b), typeof(c);"
TYPES = {int: "integer", float: "real", str: "text", bytes: "blob", type(None): "null"}

# Few different values, and equal ones of different types, so that columns are often shared, or almost.
VALUES = st.sampled_from([None, 0, 0.0, 1, 1.0, "", "1", "one", b"", b"one"])


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    folder: Path = tmp_path_factory.mktemp("shared")
    database = Database.open(folder / "tasks.db", KEY)
    # Columns without a type: nothing is converted.
    database.run_text("CREATE TABLE kept (a, b, c)", ())
    database._sql = {**database._sql, "keep": QUERY}
    yield database
    database.close()


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.one_of(
        st.lists(st.tuples(VALUES, VALUES, VALUES), max_size=120),
        st.builds(
            lambda count, one, two, last: [(one, number, two) for number in range(count)] + last,
            st.integers(0, 110),
            VALUES,
            VALUES,
            st.lists(st.tuples(VALUES, VALUES, VALUES), max_size=1),
        ),
    )
)
def test_every_value_arrives_as_it_is(database: Database, rows: list[tuple[Any, ...]]) -> None:
    kept = database.insert("keep", rows)
    assert [row[:3] for row in kept] == rows
    assert [row[3:] for row in kept] == [tuple(TYPES[type(value)] for value in row) for row in rows]


def test_rows_that_are_all_the_same(database: Database) -> None:
    assert [row[:3] for row in database.insert("keep", [("same", 1, None)] * 51)] == [("same", 1, None)] * 51
