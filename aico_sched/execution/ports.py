"""What a run in the service's process may reach. Each call is a message of the executor's.

An attempt has one small object here: thousands may begin at once, and most use nothing of it.
"""

import asyncio
import uuid
from collections.abc import Callable, Iterable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any

from aico_sched.clock import Clock
from aico_sched.data.source import DataSource
from aico_sched.execution.attempt import Attempt
from aico_sched.execution.guard import CheckpointGate
from aico_sched.execution.live_logs import LiveLogs
from aico_sched.execution.maintenance import maintainer
from aico_sched.execution.pauses import Pauses
from aico_sched.execution.powers import Post, Replies
from aico_sched.execution.session_keys import AuditedKeys
from aico_sched.quiet import QuietHours
from aico_sched.security import permissions
from aico_sched.tasks.base import PermanentError
from aico_sched.tasks.ports import Alert, LogLine, Maintain, OpenData, ProbeBus, TellQuietHours
from aico_sched.tasks.powers import Powers
from aico_sched.tasks.session_keys import SessionKeys
from aico_sched.topics import names
from aico_sched.topics.internal import (
    AlertRaise,
    AttemptProgress,
    AttemptStart,
    BusPublish,
    BusRequest,
    Empty,
    QuietHoursLearned,
)
from aico_sched.tracing import ATTRIBUTE

MakePowers = Callable[[AttemptStart, Replies, Post], Powers]


@dataclass(frozen=True, slots=True)
class Outside:
    """What the ports of all attempts have in common; it outlives restarts of the executor."""

    clock: Clock
    post: Post
    live_logs: LiveLogs
    gate: CheckpointGate
    pauses: Pauses
    may_publish: Callable[[str, str, str], bool]
    open_data: Callable[[], AbstractAsyncContextManager[DataSource]] | None = None
    make_powers: MakePowers | None = None
    session_keys: SessionKeys | None = None
    probe_bus: ProbeBus | None = None
    default_timeout: float = 300.0
    attempts: Callable[[], Iterable[Attempt]] = tuple


class AttemptPorts:
    """The `Ports` of one attempt."""

    __slots__ = ("_attempt", "_outside")

    probe_database = None

    def __init__(self, outside: Outside, attempt: Attempt) -> None:
        self._outside, self._attempt = outside, attempt
        attempt.logs.reader = self

    @property
    def clock(self) -> Clock:
        return self._outside.clock

    def report_progress(self, progress: dict[str, Any]) -> None:
        """Keep and publish it."""
        start, now = self._attempt.start, self.clock.now_us()
        told = AttemptProgress(start.execution_id, start.task_id, start.attempt, progress, now)
        self._outside.post(names.ATTEMPT_PROGRESS, told)

    async def publish(self, topic: str, payload: dict[str, Any], attributes: dict[str, str]) -> None:
        """Raises PermanentError if the task's creator may not publish there."""
        self._check(topic)
        self._outside.post(names.BUS_PUBLISH, self._message(topic, payload, attributes))

    async def request(self, topic: str, payload: dict[str, Any], timeout: float) -> dict[str, Any]:
        """As `publish`; raises TimeoutError too."""
        self._check(topic)
        correlation_id, replies = str(uuid.uuid4()), self._attempt.replies
        reply: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        replies[correlation_id] = reply
        try:
            message = self._message(topic, payload, {})
            asked = BusRequest(self._attempt.start.execution_id, correlation_id, message)
            self._outside.post(names.BUS_REQUEST, asked)
            async with self.clock.timeout(timeout):
                return await reply
        finally:
            del replies[correlation_id]

    async def hold(self) -> None:
        """Runs that do not harm the loop pass its gate."""
        attempt, outside = self._attempt, self._outside
        if not outside.gate.is_open and attempt.start.environment in ("auto", "loop"):
            with outside.pauses.uncharged(attempt):
                await outside.gate.passed()
        if attempt.start.idle_only:
            await outside.pauses.passed(attempt, self._paused)

    def _paused(self) -> None:
        self._outside.post(names.ATTEMPT_PAUSED, Empty())

    @property
    def probe_bus(self) -> ProbeBus | None:
        return self._outside.probe_bus if self._may("database.system") else None

    @property
    def default_timeout(self) -> float:
        return self._outside.default_timeout

    def overdue(self) -> dict[str, float]:
        """See `tasks.ports.Ports`."""
        return {
            attempt.start.execution_id: 0.0 if attempt.deadline is None else attempt.deadline.overdue()
            for attempt in self._outside.attempts()
        }

    @property
    def open_data(self) -> OpenData | None:
        return self._outside.open_data if self._may("database.system", "memory") else None

    @property
    def tell_quiet_hours(self) -> TellQuietHours | None:
        return self._tell_quiet_hours if self._may("learning") else None

    def _tell_quiet_hours(self, quiet: QuietHours | None) -> None:
        self._outside.post(names.QUIET_HOURS, QuietHoursLearned({} if quiet is None else quiet.plain()))

    @property
    def alert(self) -> Alert | None:
        return self._alert if self._may("database.system") else None

    def _alert(self, key: str, severity: str, message: str, details: dict[str, Any], resolved: bool) -> None:
        task_id = self._attempt.start.task_id
        key = f"{task_id}:{key}"
        told = AlertRaise(key, severity, message, task_id, details, lasting=not resolved, resolved=resolved)
        self._outside.post(names.ALERT_RAISE, told)

    @property
    def maintain(self) -> Maintain | None:
        if not self._may("database.system"):
            return None
        return maintainer(self._attempt.start, self._attempt.replies, self._outside.post)

    @property
    def session_keys(self) -> SessionKeys | None:
        outside, keys = self._outside, self._outside.session_keys
        if keys is None or not self._may("database.system"):
            return None
        return AuditedKeys(keys, self._attempt.start, outside.post, outside.clock)

    @property
    def log_line(self) -> LogLine | None:
        return self._attempt.logs.add

    def logged(self) -> None:
        """For the attempt's lines: there are new ones."""
        self._outside.live_logs.noted(self._attempt)

    @property
    def powers(self) -> Powers | None:
        outside, attempt = self._outside, self._attempt
        return (
            None if outside.make_powers is None else outside.make_powers(attempt.start, attempt.replies, outside.post)
        )

    def _may(self, *capabilities: str) -> bool:
        start = self._attempt.start
        return not permissions.capabilities(start.task_id, start.task_class).isdisjoint(capabilities)

    def _message(self, topic: str, payload: dict[str, Any], attributes: dict[str, str]) -> BusPublish:
        start = self._attempt.start
        if self._attempt.traceparent:
            attributes = {**attributes, ATTRIBUTE: self._attempt.traceparent}
        return BusPublish(topic, payload, start.creator, start.role, attributes)

    def _check(self, topic: str) -> None:
        start = self._attempt.start
        if not self._outside.may_publish(start.role, start.creator, topic):
            message = f"{start.creator}, who created this task, may not publish on {topic} (role {start.role})"
            raise PermanentError(message)
