"""Changes that tasks make to tables in the scheduler's database: one short statement at a time."""

from typing import Any

from aico_sched.store.connection import Database
from aico_sched.store.errors import StoreError
from aico_sched.store.statements import Refused, check_tables, check_write, tables_touched


def apply(database: Database, sql: str, parameters: list[Any], *, may_touch_ours: bool) -> dict[str, Any]:
    """Run the statement inside the open transaction. Returns `{changed}`, `{refused}` or `{failed}`; a statement that
    failed has changed nothing."""
    try:
        check_write(sql, parameters)
        tables = tables_touched(database.plan(sql, parameters), database.roots())
        check_tables(tables, may_touch_ours=may_touch_ours)
        return {"changed": database.run_text(sql, parameters)}
    except Refused as error:
        return {"refused": str(error)}
    except StoreError as error:
        if error.of_database:
            raise
        return {"failed": str(error)}
