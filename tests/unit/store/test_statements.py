"""Which SQL a task may run: told from its text, and from what SQLite says it would open."""

import pytest

from aico_sched.store.statements import Refused, check_read, check_tables, check_write, tables_touched


@pytest.mark.parametrize(
    "sql",
    [
        "select 1",
        "  -- words\n SELECT 'a;b' FROM t;",
        "WITH x AS (SELECT 1) SELECT * FROM x",
        "values (1)",
        'SELECT "DELETE" FROM t /* ; DROP */',
    ],
)
def test_what_reads(sql: str) -> None:
    check_read(sql, [1, "a", 1.5, b"x", None, True])


@pytest.mark.parametrize(
    "sql",
    [
        "",
        ";",
        "-- SELECT",
        "DELETE FROM t",
        "PRAGMA x",
        "ATTACH 'a' AS b",
        "SELECT 1; SELECT 2",
        "SELECT 1\0",
        "a" * 70_000,
    ],
)
def test_what_does_not_read_one_thing(sql: str) -> None:
    with pytest.raises(Refused):
        check_read(sql, [])


@pytest.mark.parametrize(
    "sql",
    [
        "INSERT INTO t VALUES (?)",
        "insert or ignore into t (a) values ('SELECT')",
        "UPDATE t SET a = 1",
        "DELETE FROM t",
    ],
)
def test_what_changes_rows_shortly(sql: str) -> None:
    check_write(sql, [1])


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT 1",
        "INSERT INTO t SELECT * FROM u",
        "WITH x AS (SELECT 1) DELETE FROM t",
        "UPDATE t SET a = (SELECT 1)",
        "UPDATE t SET a = u.a FROM u",
        "INSERT OR ROLLBACK INTO t VALUES (1)",
        "DELETE FROM t RETURNING a",
        "CREATE TABLE t (a)",
        "DROP TABLE t",
        "COMMIT",
        "BEGIN",
        "VACUUM",
    ],
)
def test_what_does_more(sql: str) -> None:
    with pytest.raises(Refused):
        check_write(sql, [])


@pytest.mark.parametrize("value", [object(), [1], 2**63, {}])
def test_parameters_that_libsql_would_bend(value: object) -> None:
    with pytest.raises(Refused):
        check_read("SELECT ?", [value])


def test_tables_are_told_from_the_plan() -> None:
    plan = [
        (0, "OpenRead", 0, 2),
        (1, "OpenWrite", 0, 3),
        (2, "Clear", 4, 0),
        (3, "OpenRead", 0, 1),
        (4, "Column", 9, 9),
    ]
    roots = {2: "a", 3: "b", 4: "c"}
    assert tables_touched(plan, roots) == {"a", "b", "c", "sqlite_master"}


@pytest.mark.parametrize(
    "table", ["scheduler_audit", "SCHEDULER_x", "scheduled_tasks", "task_executions", "sqlite_master"]
)
def test_our_tables_are_for_system_tasks(table: str) -> None:
    check_tables(["notes", table], may_touch_ours=True)
    check_tables(["notes", "tasks", "my_scheduler_x"], may_touch_ours=False)
    with pytest.raises(Refused, match=r"only system tasks"):
        check_tables(["notes", table], may_touch_ours=False)
