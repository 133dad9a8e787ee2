"""What a task is: the class users derive from, what a run returns, and how it says that retrying is pointless."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict

from aico_sched.tasks.context import TaskContext
from aico_sched.topics.commands import Environment


class PermanentError(Exception):
    """Raised by a task whose next attempt would fail the same way: the run goes straight to the dead letters."""


class TransientError(Exception):
    """Raised by a task that may succeed later: the run is retried as its retry policy says."""


class EmptyConfig(BaseModel):
    """The configuration of a task that takes none; any key is refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


@dataclass(frozen=True, slots=True)
class TaskResult:
    """What became of a run that ended by itself.

    `data` is kept with the execution as JSON and published with its event. `skipped` says that there was nothing
    to do; a skipped run is no failure. A result with `success=False` is a failed attempt like a raised exception.
    """

    success: bool = True
    message: str = ""
    data: dict[str, Any] = field(default_factory=dict)
    skipped: bool = False

    @classmethod
    def ok(cls, message: str = "", /, **data: Any) -> "TaskResult":
        """The work is done."""
        return cls(True, message, data)

    @classmethod
    def failed(cls, message: str, /, **data: Any) -> "TaskResult":
        """The work could not be done; `message` says why."""
        return cls(False, message, data)

    @classmethod
    def skip(cls, message: str, /, **data: Any) -> "TaskResult":
        """There was nothing to do, or what the work needs is not here; `message` says which."""
        return cls(True, message, data, skipped=True)

    @classmethod
    def of(cls, returned: object) -> "TaskResult":
        """What `execute` returned, as a result: a dict becomes its data, None an empty success.

        Raises TypeError for anything else.
        """
        if isinstance(returned, cls):
            return returned
        if returned is None:
            return cls()
        if isinstance(returned, dict):
            return cls(data=returned)
        raise TypeError(f"execute must return a TaskResult, a dict or None, not {type(returned).__name__}")


class BaseTask(ABC):
    """A kind of work the scheduler can run. Each run gets a fresh instance, made without arguments.

    `name` must be a literal string: the registry reads it from the source, so that a task's code is imported only
    when the task runs.
    """

    name: ClassVar[str]
    """Dot-separated, characters as in `topics.commands.TaskId`; the first part is the category."""

    description: ClassVar[str] = ""
    """One line for lists; the first line of the class's docstring where it is empty."""

    Config: ClassVar[type[BaseModel]] = EmptyConfig
    """Validates a task's configuration when it is created or updated, and again before each run."""

    default_schedule: ClassVar[str | None] = None
    """Where set, a built-in class (or one in a system category) is scheduled by itself as a protected system task."""

    permanent_errors: ClassVar[tuple[type[BaseException], ...]] = ()
    """Exceptions after which retrying is pointless, besides ValueError, TypeError and `PermanentError`."""

    transient_errors: ClassVar[tuple[type[BaseException], ...]] = ()
    """Exceptions after which the run is retried although they are a kind of ValueError, TypeError or `PermanentError`,
    such as `json.JSONDecodeError` of a server's half answer. Of two that fit, the one closer to the error's own class
    counts."""

    default_options: ClassVar[Mapping[str, Any]] = MappingProxyType({})
    """Defaults for this class's tasks, fields of `topics.commands.TaskOptions`: `timeout`, `idle_only`, …"""

    environment: ClassVar[Environment] = "auto"
    """Where the code runs unless the task's own option says so: `loop`; `thread`, with a loop of its own; `process`;
    `cluster`. `auto` is the loop, and a thread for a `BlockingTask`."""

    @abstractmethod
    async def execute(self, context: TaskContext[Any]) -> TaskResult | dict[str, Any] | None:
        """Do the work once. Runs on the service's event loop: await, or call `context.checkpoint()`, at least every
        few milliseconds. Any exception is a failed attempt; CancelledError must pass through."""
