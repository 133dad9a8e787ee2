"""What libSQL says, as types: by its real words."""

from typing import Any

import libsql_experimental as libsql
import pytest

from aico_sched.store.errors import ConstraintViolated, StoreCorrupt, StoreError, StoreMisused, translate


@pytest.fixture
def connection() -> Any:
    made = libsql.connect(":memory:", isolation_level=None)
    made.execute("CREATE TABLE t (a TEXT NOT NULL)")
    made.execute("INSERT INTO t VALUES (cast(x'ff41' AS TEXT))")
    return made


@pytest.mark.parametrize(
    ("sql", "kind", "of_database"),
    [
        ("SELECT json('{x')", StoreMisused, False),
        ("SELECT json_extract('no', '$.a')", StoreMisused, False),
        ("SELEC 1", StoreMisused, False),
        ("INSERT INTO t VALUES (NULL)", ConstraintViolated, False),
        ("SELECT a FROM t", StoreCorrupt, True),
    ],
)
def test_a_statement_is_to_blame_or_the_database(
    connection: Any, sql: str, kind: type[StoreError], of_database: bool
) -> None:
    with pytest.raises(BaseException) as raised:
        connection.execute(sql).fetchall()
    error = translate(raised.value)
    assert type(error) is kind, raised.value
    assert error.of_database is of_database
