"""What a run may do beyond its own code: the database, the network, the processors. Each use is checked, each refusal
written into the audit trail."""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

Function = Callable[..., Any]


class NotPermitted(PermissionError):
    """The task's permissions do not cover this. They follow from its id's and its class's namespace."""

    def __init__(self, task_id: str, what: str) -> None:
        super().__init__(f"{task_id} may not {what}")
        self.task_id, self.what = task_id, what


class DatabaseRefused(ValueError):
    """The statement is none a task may run; the message says what is allowed."""


class DatabaseFailed(Exception):
    """The statement failed, or the database cannot be reached now."""


class NoDatabase(DatabaseFailed):
    """There is none yet, so it is no use to wait for it."""


class TooMuchData(ValueError):
    """A query returns more than a task may have at once. Use LIMIT, or several queries."""


class Powers(Protocol):
    """For one run. The methods do not look at `capabilities`; `TaskContext` does, before it calls them."""

    @property
    def capabilities(self) -> frozenset[str]:
        """As `security.permissions.capabilities` names them."""

    def refused(self, what: str) -> None:
        """Note that the run tried `what` and was refused."""

    async def query(self, sql: str, parameters: Sequence[Any], timeout: float) -> list[dict[str, Any]]:
        """The rows of a SELECT. Raises TimeoutError, and the errors of this module."""

    async def execute(self, sql: str, parameters: Sequence[Any]) -> int:
        """Change rows, and say how many. Raises the errors of this module."""

    async def run_cpu(self, function: Function, arguments: Sequence[Any], timeout: float | None) -> Any:
        """What a module-level function returns, worked out off the loop. Raises TimeoutError, or what it raised."""
