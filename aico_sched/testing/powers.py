"""What a task may do in `run_task`: the permissions are the real ones, the database is the test's."""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from aico_sched.security import permissions
from aico_sched.store.statements import Refused, check_read, check_write
from aico_sched.tasks.powers import DatabaseFailed, DatabaseRefused, Function

Answers = Callable[[str, Sequence[Any]], Any]
"""Takes a statement and its parameters; returns the rows of a query (maps), or how many rows a change changed."""


class TestPowers:
    """The `Powers` of a run without a service. `refusals` is what the run was refused."""

    __test__ = False

    def __init__(self, task_id: str, task_class: str, answers: Answers | None, refusals: list[str]) -> None:
        self.capabilities = permissions.capabilities(task_id, task_class)
        self._answers, self._refusals = answers, refusals

    def refused(self, what: str) -> None:
        """Kept for the test to see."""
        self._refusals.append(what)

    async def query(self, sql: str, parameters: Sequence[Any], timeout: float) -> list[dict[str, Any]]:
        """The rows the test answers with. Raises `DatabaseRefused` as the service would for the statement's form."""
        rows: Iterable[Mapping[str, Any]] = self._answer(check_read, sql, parameters)
        return [dict(row) for row in rows]

    async def execute(self, sql: str, parameters: Sequence[Any]) -> int:
        """The number the test answers with."""
        return int(self._answer(check_write, sql, parameters))

    def _answer(self, check: Callable[[str, Sequence[Any]], None], sql: str, parameters: Sequence[Any]) -> Any:
        try:
            check(sql, parameters)
        except Refused as error:
            self.refused(str(error))
            raise DatabaseRefused(str(error)) from error
        if self._answers is None:
            raise DatabaseFailed("run_task was given no `database` to answer with")
        return self._answers(sql, parameters)

    async def run_cpu(self, function: Function, arguments: Sequence[Any], timeout: float | None) -> Any:
        """In a thread."""
        async with asyncio.timeout(timeout):
            return await asyncio.to_thread(function, *arguments)
