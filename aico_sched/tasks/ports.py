"""The outside as a task sees it, so that a task never touches an actor."""

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, Protocol

from aico_sched.clock import Clock
from aico_sched.data.source import DataSource
from aico_sched.quiet import QuietHours
from aico_sched.run_lines import Line
from aico_sched.tasks.powers import Powers
from aico_sched.tasks.session_keys import SessionKeys

ProbeDatabase = Callable[[], Awaitable[dict[str, Any]]]
ProbeBus = Callable[[float], Awaitable[float | None]]
OpenData = Callable[[], AbstractAsyncContextManager[DataSource]]
TellQuietHours = Callable[[QuietHours | None], None]
Alert = Callable[[str, str, str, dict[str, Any], bool], None]
Maintain = Callable[[str, dict[str, Any]], Awaitable[dict[str, Any]]]
LogLine = Callable[[Line], bool]


class Ports(Protocol):
    """What every run has, and what only some have: None for the others.

    `probe_database` writes and reads a row and returns what it measured; None where there is no database.
    `probe_bus` takes the seconds to wait and returns those a message of the service's took over the bus and back, or
    None where the bus has no sockets; TimeoutError or OSError when it did not come back. None for tasks that are not
    the system's. `default_timeout` is that of tasks which name none, in seconds.
    `open_data` opens AICO's data for the length of a block; None for tasks that may not see it. `tell_quiet_hours`
    hands the scheduler a prediction, or None to take it back; None for tasks that may not. `alert` raises or resolves
    an alert (key, severity, message, details, resolved); None for tasks that are not the system's. `powers` are what
    else a run may do; None where there is no service. `maintain` has the store work on the whole database; None for
    tasks that may not. `log_line` takes each line the task logs, from any thread, to keep it, and returns whether it
    is written to the service's log elsewhere. `session_keys` are the bus's; None for tasks that may not, and where the
    bus has none.
    """

    @property
    def clock(self) -> Clock: ...
    @property
    def report_progress(self) -> Callable[[dict[str, Any]], None]:
        """Takes `{fraction: float | None, message: str, data: dict}` and must not block."""

    @property
    def publish(self) -> Callable[[str, dict[str, Any], dict[str, str]], Awaitable[None]]:
        """Topic, payload, attributes."""

    @property
    def request(self) -> Callable[[str, dict[str, Any], float], Awaitable[dict[str, Any]]]:
        """Topic, payload, seconds. Raises TimeoutError when no reply came in time."""

    @property
    def hold(self) -> Callable[[], Awaitable[None]]:
        """Returns at once, or when a paused run may go on."""

    @property
    def probe_database(self) -> ProbeDatabase | None: ...
    @property
    def probe_bus(self) -> ProbeBus | None: ...
    @property
    def default_timeout(self) -> float: ...
    @property
    def overdue(self) -> Callable[[], dict[str, float]]:
        """Every run that is under way here, and the seconds it has gone on beyond its timeout (pauses left out)."""

    @property
    def open_data(self) -> OpenData | None: ...
    @property
    def tell_quiet_hours(self) -> TellQuietHours | None: ...
    @property
    def alert(self) -> Alert | None: ...
    @property
    def powers(self) -> Powers | None: ...
    @property
    def maintain(self) -> Maintain | None: ...
    @property
    def log_line(self) -> LogLine | None: ...
    @property
    def session_keys(self) -> SessionKeys | None: ...


@dataclass(frozen=True, slots=True)
class TaskPorts:
    """Ports put together from callables."""

    clock: Clock
    report_progress: Callable[[dict[str, Any]], None]
    publish: Callable[[str, dict[str, Any], dict[str, str]], Awaitable[None]]
    request: Callable[[str, dict[str, Any], float], Awaitable[dict[str, Any]]]
    hold: Callable[[], Awaitable[None]]
    probe_database: ProbeDatabase | None = None
    open_data: OpenData | None = None
    tell_quiet_hours: TellQuietHours | None = None
    alert: Alert | None = None
    powers: Powers | None = None
    maintain: Maintain | None = None
    log_line: LogLine | None = None
    session_keys: SessionKeys | None = None
    probe_bus: ProbeBus | None = None
    default_timeout: float = 300.0
    overdue: Callable[[], dict[str, float]] = dict
