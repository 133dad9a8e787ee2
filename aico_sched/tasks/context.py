"""What a running task is given: its identity, its configuration, and the few ways it may reach outside."""

import asyncio
import math
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from pydantic import BaseModel
from pydantic_core import to_jsonable_python
from structlog.typing import FilteringBoundLogger

from aico_sched.clock import Timer
from aico_sched.data.source import DataSource
from aico_sched.json_text import compact
from aico_sched.quiet import QuietHours
from aico_sched.tasks.http import TaskHttp
from aico_sched.tasks.plain import plain_copy
from aico_sched.tasks.ports import Ports
from aico_sched.tasks.powers import NotPermitted, Powers
from aico_sched.tasks.run_log import run_logger
from aico_sched.tasks.session_keys import SessionKeys
from aico_sched.topics import limits, names
from aico_sched.topics.envelope import check_portable

if TYPE_CHECKING:
    import anyio

PROGRESS_INTERVAL = 0.1
"""Seconds between two progress reports of one run; what comes faster is coalesced."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MAX_MESSAGE_CHARS = 2_000
_MAX_PAYLOAD_BYTES = limits.MAX_FRAME_BYTES - 16 * 1024
_LEVELS = limits.MAX_NESTING - 5

ConfigT = TypeVar("ConfigT", bound=BaseModel)
Item = TypeVar("Item")


def public_topic(topic: str) -> str:
    """`topic` itself if a task may publish on it; raises ValueError otherwise.

    The scheduler's own subtree is closed to tasks: a scheduled message must never act as a command or an event.
    """
    if not topic or not topic.isprintable() or " " in topic or len(topic.encode()) > limits.MAX_TOPIC_BYTES:
        raise ValueError(f"a topic has 1 to {limits.MAX_TOPIC_BYTES} bytes, printable and without spaces")
    if f"{topic}.".startswith(names.ROOT):
        raise ValueError(f"tasks cannot use the scheduler's own topics ({names.ROOT}*)")
    return topic


class TaskContext(Generic[ConfigT]):
    """One run's view of the world. Made by the executor for each attempt, used on the event loop's thread only.

    `config` is the run's own validated copy. `attempt` counts from 1. `trigger` says what started the run
    (`topics.views.Trigger`). `cause` is the run that this one follows, of tasks scheduled `after:` or `failure:`
    another: `{task_id, execution_id, status, result | reason}`; None of all others.
    """

    __slots__ = (
        "_folder",
        "_log",
        "_pending",
        "_ports",
        "_reported_at",
        "_scheduled_for_us",
        "_timer",
        "attempt",
        "cause",
        "config",
        "execution_id",
        "task_id",
        "trigger",
    )

    def __init__(
        self,
        *,
        task_id: str,
        execution_id: str,
        attempt: int,
        scheduled_for_us: int,
        trigger: str,
        config: ConfigT,
        data_dir: Path | str,
        ports: Ports,
        cause: dict[str, Any] | None = None,
    ) -> None:
        self.task_id = task_id
        self.execution_id = execution_id
        self.attempt = attempt
        self.trigger = trigger
        self.cause = cause
        self.config = config
        self._scheduled_for_us = scheduled_for_us
        self._folder = data_dir
        self._ports = ports
        self._log: FilteringBoundLogger | None = None
        self._reported_at = -math.inf
        self._pending: dict[str, Any] | None = None
        self._timer: Timer | None = None

    @property
    def scheduled_for(self) -> datetime:
        """The slot this run fills (the moment asked for, of a manual run), UTC."""
        return _EPOCH + timedelta(microseconds=self._scheduled_for_us)

    def now(self) -> datetime:
        """The wall time of the service's clock, UTC."""
        return _EPOCH + timedelta(microseconds=self._ports.clock.now_us())

    @property
    def data_dir(self) -> Path:
        """The task's own folder, kept between runs; made with mode 0700 when first asked for.

        Raises OSError if something else, a symbolic link included, stands in its place.
        """
        folder = Path(self._folder)
        if folder.is_symlink():
            raise NotADirectoryError(f"{folder} is a symbolic link")
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return folder

    @property
    def log(self) -> FilteringBoundLogger:
        """A structured logger that carries the task's id, the execution's id and the attempt.

        Its lines go into the service's log; the newest from `info` on are kept with the attempt, too, at most 100,
        without the values of fields that are named like secrets.
        """
        if self._log is None:
            ports = self._ports
            self._log = run_logger(
                ports.log_line,
                ports.clock.now_us,
                task_id=self.task_id,
                execution_id=self.execution_id,
                attempt=self.attempt,
            )
        return self._log

    async def checkpoint(self) -> None:
        """Let others run. Raises CancelledError in a cancelled run, every time; waits while the run is paused."""
        await asyncio.sleep(0)
        self._raise_if_cancelled()
        await self._ports.hold()

    async def held(self) -> None:
        """Wait while the run is paused; for runs whose cancellation somebody else looks after."""
        await self._ports.hold()

    async def pause(self, seconds: float) -> None:
        """As `sleep`, for runs whose cancellation somebody else looks after."""
        await self._ports.clock.sleep(seconds)
        await self._ports.hold()

    def _raise_if_cancelled(self) -> None:
        # A cancel is delivered once and can be swallowed by an `except` in the task; the count stays.
        current = asyncio.current_task()
        if current is not None and current.cancelling():
            raise asyncio.CancelledError

    def batches(
        self, items: Iterable[Item] | AsyncIterable[Item], size: int = 100, budget: float = 0.01
    ) -> AsyncIterator[list[Item]]:
        """`items` as lists of at most `size`, in order, the loop getting its turn in between.

        A checkpoint is passed after every batch, and whenever `budget` seconds have gone by since the last one,
        in the middle of collecting a batch too. Raises ValueError for a size under 1 or a budget not above 0.
        """
        if size < 1 or not budget > 0:
            raise ValueError(f"size must be at least 1 and budget above 0, not {size} and {budget}")
        if isinstance(items, AsyncIterable):
            return self._batches(items, size, budget)
        return self._batches(_as_async(items), size, budget)

    async def _batches(self, items: AsyncIterable[Item], size: int, budget: float) -> AsyncIterator[list[Item]]:
        monotonic = self._ports.clock.monotonic
        deadline = monotonic() + budget
        batch: list[Item] = []
        async for item in items:
            batch.append(item)
            if len(batch) >= size:
                yield batch
                batch = []
            elif monotonic() < deadline:
                continue
            await self.checkpoint()
            deadline = monotonic() + budget
        if batch:
            yield batch
            await self.checkpoint()

    async def progress(self, fraction: float | None, message: str = "", **data: Any) -> None:
        """Say how far the run is: `fraction` from 0 to 1 (None where it cannot be told), and anything JSON can hold.

        Cheap to call often: the first report and 1.0 go out at once, of those within a tenth of a second only the
        newest. It is no checkpoint. Raises ValueError for a fraction outside 0..1, and for data that is not JSON-able
        or more than an event can carry.
        """
        if fraction is not None and not 0.0 <= fraction <= 1.0:
            raise ValueError(f"fraction must be from 0 to 1, not {fraction}")
        self._pending = {
            "fraction": fraction,
            "message": message[:_MAX_MESSAGE_CHARS],
            # A snapshot: the report may leave later, and the task goes on changing its own objects.
            "data": _sendable(to_jsonable_python(data), limits.MAX_RESULT_BYTES) if data else {},
        }
        due = self._reported_at + PROGRESS_INTERVAL
        if fraction == 1.0 or self._ports.clock.monotonic() >= due:
            self.flush_progress()
        elif self._timer is None:
            self._timer = self._ports.clock.call_at(due, self.flush_progress)

    def flush_progress(self) -> None:
        """Send the report that is held back, if any. The executor calls it when the run has ended: none follows."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._pending is not None:
            report, self._pending = self._pending, None
            self._reported_at = self._ports.clock.monotonic()
            self._ports.report_progress(report)

    async def publish(self, topic: str, payload: dict[str, Any]) -> None:
        """Publish a message on the bus with the role of the task's creator. Returns when it is handed over.

        The payload is copied. Raises ValueError for a topic that is malformed or the scheduler's own, and for a
        payload that JSON cannot hold.
        """
        await self._ports.publish(public_topic(topic), _sendable(plain_copy(payload), _MAX_PAYLOAD_BYTES), {})

    async def request(self, topic: str, payload: dict[str, Any], timeout: float) -> dict[str, Any]:
        """Publish a request and return the payload of its reply.

        Raises TimeoutError when none came within `timeout` seconds, ValueError as `publish` does.
        """
        return await self._ports.request(
            public_topic(topic), _sendable(plain_copy(payload), _MAX_PAYLOAD_BYTES), timeout
        )

    async def probe_database(self) -> dict[str, Any] | None:
        """What a write and a read of the service's database measured; None where the run has no database."""
        return None if self._ports.probe_database is None else await self._ports.probe_database()

    async def probe_bus(self, timeout: float) -> float | None:
        """Seconds that a message took from here over the bus and back through the service's own door; None where that
        cannot be measured. Raises TimeoutError when it has not come back within `timeout` seconds, OSError when there
        is no bus to reach."""
        return None if self._ports.probe_bus is None else await self._ports.probe_bus(timeout)

    @property
    def default_timeout(self) -> float:
        """Seconds an attempt may take of a task that names no timeout."""
        return self._ports.default_timeout

    def overdue(self) -> dict[str, float]:
        """Every execution that is under way in this service, and the seconds by which it has exceeded its timeout: 0
        for one within it, or that pauses."""
        return self._ports.overdue()

    def data(self) -> AbstractAsyncContextManager[DataSource]:
        """AICO's data, open for the length of an `async with` block (`aico_sched.data.source.DataSource`).

        Raises PermissionError for a task that is neither a system nor an agency task. Entering the block raises
        `SourceError` if the data cannot be opened.
        """
        if self._ports.open_data is None:
            raise PermissionError(f"{self.task_id} may not read AICO's data")
        return self._ports.open_data()

    def tell_quiet_hours(self, quiet: QuietHours | None) -> None:
        """Tell the scheduler when the user is usually away; None: nothing is known, the default window applies.

        Raises PermissionError for a task that is not of the agency.
        """
        if self._ports.tell_quiet_hours is None:
            raise PermissionError(f"{self.task_id} may not tell the scheduler when the user is away")
        self._ports.tell_quiet_hours(quiet)

    def alert(
        self, key: str, severity: str, message: str, details: dict[str, Any] | None = None, *, resolved: bool = False
    ) -> None:
        """Tell people of lasting trouble, or, with `resolved`, that it is over. `key` names the trouble, `severity` is
        `info`, `warning` or `critical`. Raises PermissionError for a task that is not a system task."""
        if self._ports.alert is None:
            raise PermissionError(f"{self.task_id} may not raise alerts")
        self._ports.alert(key, severity, message, plain_copy(details or {}), resolved)

    def monotonic(self) -> float:
        """Seconds on the service's clock that never go back; only differences mean something."""
        return self._ports.clock.monotonic()

    def _require(self, capability: str, what: str) -> Powers:
        powers = self._ports.powers
        if powers is None or capability not in powers.capabilities:
            self.refused(what)
            raise NotPermitted(self.task_id, what)
        return powers

    def refused(self, what: str) -> None:
        """Write into the audit trail that the run tried `what` and was refused."""
        if self._ports.powers is not None:
            self._ports.powers.refused(str(what)[:_MAX_MESSAGE_CHARS])

    async def query(self, sql: str, parameters: Sequence[Any] = (), timeout: float = 10.0) -> list[dict[str, Any]]:
        """The rows of one SELECT on the service's database, by column name; at most 10,000.

        It is answered by another process, which is ended after `timeout` seconds: TimeoutError. For system tasks, and
        for tasks of the agency on tables that are not the scheduler's own. Raises `NotPermitted`, `DatabaseRefused`,
        `TooMuchData`, and `DatabaseFailed` for what SQLite refuses.
        """
        return await self._require("database.read", "read the database").query(sql, parameters, timeout)

    async def execute(self, sql: str, parameters: Sequence[Any] = ()) -> int:
        """Change rows of one table of the service's database (INSERT, REPLACE, UPDATE, DELETE) and say how many;
        durable when it returns. Short by what is allowed: no SELECT in it. Permissions and errors as of `query`."""
        return await self._require("database.write", "change the database").execute(sql, parameters)

    async def run_cpu(self, function: Callable[..., Any], *arguments: Any, timeout: float | None = None) -> Any:
        """What a function returns, worked out in a process of its own, which ends after `timeout` seconds:
        TimeoutError.

        The function stands at the top level of a module and takes and returns plain data (what JSON can hold). What it
        raises arrives as `RemoteFailure`. In a run that has a process to itself it is called in a thread there.
        """
        if self._ports.powers is None:
            async with asyncio.timeout(timeout):
                return await asyncio.to_thread(function, *arguments)
        return await self._ports.powers.run_cpu(function, arguments, timeout)

    @property
    def http(self) -> TaskHttp:
        """HTTP requests with a deadline and a largest answer; `NotPermitted` for tasks without the right to it."""
        return TaskHttp(lambda: self._require("http", "use the network"))

    @property
    def files(self) -> "anyio.Path":
        """The task's own folder, `data_dir`, with methods to be awaited (`anyio.Path`)."""
        import anyio  # noqa: PLC0415

        return anyio.Path(self.data_dir)

    async def open(self, name: str | Path, mode: str = "r", **options: Any) -> Any:
        """A file as `anyio.open_file` opens it, for `async with await context.open(…)`; relative names lie in the
        task's own folder. Raises `NotPermitted` for one outside it, unless the task is a system task."""
        import anyio  # noqa: PLC0415

        path = (self.data_dir / name).resolve()
        if not path.is_relative_to(self.data_dir.resolve()):
            self._require("files.system", f"open {path}")
        return await anyio.open_file(path, mode, **options)  # type: ignore[call-overload]

    async def maintain(self, kind: str, **options: Any) -> dict[str, Any]:
        """Have the store work on the whole database (`vacuum`, `check`, `backup`, `rekey`); returns what the command of
        that name does. Raises PermissionError for a task that is no system task."""
        if self._ports.maintain is None:
            raise PermissionError(f"{self.task_id} may not work on the service's database")
        return await self._ports.maintain(kind, options)

    def session_keys(self) -> SessionKeys | None:
        """The keys of the bus's clients; None where the bus has none of its own, or there is no service. Raises
        `NotPermitted` for a task that is no system task."""
        if self._ports.powers is not None:
            self._require("database.system", "rotate the keys of the bus")
        return self._ports.session_keys

    async def sleep(self, seconds: float) -> None:
        """Wait on the service's clock. A checkpoint too."""
        await self._ports.clock.sleep(seconds)
        self._raise_if_cancelled()
        await self._ports.hold()


def _sendable(data: dict[str, Any], max_bytes: int) -> dict[str, Any]:
    """`data` itself if a message can carry it and every reader decode it; raises ValueError otherwise."""
    size = len(compact(data).encode(errors="backslashreplace"))
    if size > max_bytes:
        raise ValueError(
            f"{size} bytes are more than the {max_bytes} a message may carry; hand over a file's name instead"
        )
    check_portable(data, _LEVELS)
    return data


async def _as_async(items: Iterable[Item]) -> AsyncIterator[Item]:
    for item in items:
        yield item
