"""`run_task` gives a task the powers its names give it, with the test's own database."""

from typing import Any

from aico_sched.tasks import BaseTask, DatabaseRefused, NotPermitted
from aico_sched.testing import run_task


def double(number: int) -> int:
    return 2 * number


class Reads(BaseTask):
    name = "agency.reads"

    async def execute(self, context: Any) -> dict[str, Any]:
        rows = await context.query("SELECT a FROM t WHERE b = ?", [1])
        changed = await context.execute("DELETE FROM t")
        return {"rows": rows, "changed": changed, "cpu": await context.run_cpu(double, 4)}


class Tries(BaseTask):
    name = "user.tries"

    async def execute(self, context: Any) -> None:
        await context.query("SELECT 1")


class Wrong(BaseTask):
    name = "agency.wrong"

    async def execute(self, context: Any) -> None:
        await context.execute("DROP TABLE t")


async def test_the_database_is_the_tests() -> None:
    asked: list[Any] = []

    def answer(sql: str, parameters: Any) -> Any:
        asked.append((sql.split(maxsplit=1)[0], list(parameters)))
        return [{"a": 7}] if sql.startswith("SELECT") else 3

    run = await run_task(Reads, database=answer)
    assert run.error is None
    assert run.result is not None
    assert run.result.data == {"rows": [{"a": 7}], "changed": 3, "cpu": 8}
    assert asked == [("SELECT", [1]), ("DELETE", [])]


async def test_permissions_are_the_real_ones() -> None:
    run = await run_task(Tries)
    assert isinstance(run.error, NotPermitted)
    assert run.refused == ["read the database"]
    assert isinstance((await run_task(Wrong)).error, DatabaseRefused)
