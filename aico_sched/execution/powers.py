"""What a run in the service's process may do, carried out: reads in a reader process, writes by the store, computing in
a child process."""

import asyncio
import sys
import uuid
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from aico_sched.clock import Clock
from aico_sched.execution.queries import Queries
from aico_sched.security import permissions
from aico_sched.store.statements import Refused, check_read, check_write
from aico_sched.tasks.plain import plain_copy
from aico_sched.tasks.powers import DatabaseFailed, DatabaseRefused, Function
from aico_sched.topics import names
from aico_sched.topics.errors import ErrorCode
from aico_sched.topics.internal import AttemptStart, Audit, AuditLines, TaskWrite

WRITE_TIMEOUT = 30.0
"""Seconds until the store must have answered."""

Replies = dict[str, "asyncio.Future[dict[str, Any]]"]
Post = Callable[[str, tuple[Any, ...]], None]


class Calculator(Protocol):
    """Calls functions in processes of their own."""

    async def call(self, module: str, attribute: str, path: str | None, arguments: list[Any]) -> Any:
        """What the function returns; raises `RemoteFailure` with what it raised."""


class ServicePowers:
    """The `Powers` of one attempt. `replies` is where the executor puts the store's answers."""

    def __init__(
        self,
        start: AttemptStart,
        replies: Replies,
        post: Post,
        clock: Clock,
        queries: Queries | None,
        calculator: Calculator,
        *,
        network: bool,
    ) -> None:
        self._start, self._replies, self._post, self._clock = start, replies, post, clock
        self._queries, self._calculator = queries, calculator
        granted = permissions.capabilities(start.task_id, start.task_class)
        self.capabilities: frozenset[str] = granted | ({"http"} if network else set())

    @property
    def _system(self) -> bool:
        return "database.system" in self.capabilities

    def refused(self, what: str) -> None:
        """One line in the audit trail."""
        start = self._start
        detail = f"{start.execution_id}: the task may not {what}"
        line = Audit(
            self._clock.now_us(),
            start.creator,
            start.role,
            "task.use",
            start.task_id,
            ErrorCode.PERMISSION_DENIED,
            detail,
        )
        self._post(names.AUDIT, AuditLines([line], may_wait=False))

    async def query(self, sql: str, parameters: Sequence[Any], timeout: float) -> list[dict[str, Any]]:
        """See `Powers`. The task's own `limits.query_seconds` counts where it is shorter."""
        if self._queries is None:
            raise DatabaseFailed("the database of this service is somebody else's: tasks cannot read it")
        longest = (self._start.limits or {}).get("query_seconds")
        deadline = timeout if longest is None else min(timeout, longest)
        try:
            check_read(sql, parameters)
            return await self._queries.query(sql, parameters, deadline, may_touch_ours=self._system)
        except (Refused, DatabaseRefused) as error:
            self.refused(f"run this query: {error}")
            raise DatabaseRefused(str(error)) from error

    async def execute(self, sql: str, parameters: Sequence[Any]) -> int:
        """See `Powers`. The change is durable when this returns."""
        start, call_id = self._start, str(uuid.uuid4())
        try:
            check_write(sql, parameters)
        except Refused as error:
            self.refused(f"make this change: {error}")
            raise DatabaseRefused(str(error)) from error
        reply: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._replies[call_id] = reply
        try:
            wanted = TaskWrite(start.execution_id, call_id, sql, list(parameters), self._system)
            self._post(names.TASK_WRITE, wanted)
            async with asyncio.timeout(WRITE_TIMEOUT):
                answer = await reply
        finally:
            del self._replies[call_id]
        if answer.get("refused"):
            self.refused(f"make this change: {answer['refused']}")
            raise DatabaseRefused(answer["refused"])
        if answer.get("failed"):
            raise DatabaseFailed(answer["failed"])
        return int(answer["changed"])

    async def run_cpu(self, function: Function, arguments: Sequence[Any], timeout: float | None) -> Any:
        """See `Powers`. Raises ValueError for what cannot be named, or arguments that are no plain data."""
        module, attribute, path = _named(function)
        plain = plain_copy({"arguments": list(arguments)})["arguments"]
        async with asyncio.timeout(timeout):
            return await self._calculator.call(module, attribute, path, plain)


def _named(function: Function) -> tuple[str, str, str | None]:
    """Where the function is found again: its module, its name there, and the file of a user task's module."""
    module, name = getattr(function, "__module__", None), getattr(function, "__qualname__", "<lambda>")
    home: Any = sys.modules.get(module or "")
    found: Any = home
    for part in name.split("."):
        found = getattr(found, part, None)
    if module is None or found is not function:
        raise ValueError(f"run_cpu takes a function at the top level of a module, not {name}")
    is_user_code = module.startswith("aico_sched_user.")
    return module, name, str(home.__spec__.origin) if is_user_code else None
