"""The service's log, and that of its tasks, on a topic of the bus, with the fields of AICO's `logs` table."""

import asyncio
import sys
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from types import FrameType
from typing import Any, Final

import structlog
from structlog.typing import EventDict, WrappedLogger

from aico_sched.clock import Clock
from aico_sched.tasks.run_log import line_of
from aico_sched.tracing import log_fields

LIMIT: Final = 1_000
"""Lines that may wait for the bus; what comes beyond is dropped and counted."""

_SILENT: Final = (
    "aico_sched.actors.bridge",
    "aico_sched.bus",
    "aico_sched.departures",
    "aico_sched.runtime.outgoing",
    "aico_sched.topics",
)
"""Modules whose lines may be about publishing: to publish those would make more of them."""

_PASSED_OVER: Final = ("structlog", "aico_sched.tasks.run_log", "aico_sched.execution.log_relay", __name__)
"""Modules through which a line goes, seen from where it was logged."""


class LogTopic:
    """A processor of structlog's that copies lines into a bounded queue. Installed once, on the service's loop; lines
    may come from any thread. It takes those of aico_sched and of running tasks, and leaves a host program's alone."""

    def __init__(self, topic: str, clock: Clock) -> None:
        self.topic, self._clock = topic, clock
        self._waiting: deque[dict[str, Any]] = deque()
        self._wake: Callable[[], None] = lambda: None
        self._processors: list[Any] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = 0
        self.published = self.dropped = 0

    def install(self) -> None:
        """Take part in structlog's processing as it is configured now."""
        self._loop, self._thread = asyncio.get_running_loop(), threading.get_ident()
        # In place: loggers that are in use already hold this very list. First, so that no other processor's renderings
        # and refusals matter.
        processors: list[Any] = structlog.get_config()["processors"]
        processors.insert(0, self)
        self._processors = processors

    def remove(self) -> None:
        """Take no more lines; harmless when repeated."""
        processors, self._processors = self._processors, None
        if processors is not None:
            processors[:] = [each for each in processors if each is not self]

    def on_line(self, wake: Callable[[], None]) -> None:
        """`wake` is called on the loop when a line has come that nobody knows of yet."""
        self._wake = wake

    def __call__(self, logger: WrappedLogger, level: str, entry: EventDict) -> EventDict:
        frame = _caller()
        module = "" if frame is None else str(frame.f_globals.get("__name__", ""))
        context = structlog.contextvars.get_contextvars()
        if not _below(module, _SILENT) and (
            _below(module, ("aico_sched",)) or "execution_id" in entry or "execution_id" in context
        ):
            self._take(self._row(level, {**log_fields(), **context, **entry}, module, frame))
        return entry

    def _row(self, level: str, entry: EventDict, module: str, frame: FrameType | None) -> dict[str, Any]:
        line = line_of(level, entry, self._clock.now_us())
        about = {name: entry[name] for name in ("task_id", "execution_id", "attempt") if name in entry}
        trace_id = entry.get("trace_id")
        return {
            "timestamp": line["at"],
            "level": level.upper(),
            "subsystem": "scheduler",
            "module": module,
            "function_name": None if frame is None else frame.f_code.co_name,
            "file_path": None if frame is None else frame.f_code.co_filename,
            "line_number": None if frame is None else frame.f_lineno,
            "topic": self.topic,
            "message": line["message"],
            "user_uuid": None,
            "session_id": None,
            "trace_id": trace_id if isinstance(trace_id, str) else None,
            "extra": {
                **{name: value for name, value in line["fields"].items() if name != "trace_id"},
                **{name: value for name, value in about.items() if isinstance(value, str | int)},
            },
        }

    def _take(self, row: dict[str, Any]) -> None:
        if len(self._waiting) >= LIMIT:
            self.dropped += 1
            return
        first = not self._waiting
        self._waiting.append(row)
        if not first or self._loop is None:
            return
        if threading.get_ident() == self._thread:
            self._wake()
        else:
            # The loop may have ended before a thread of a task's.
            with suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._wake)

    def take(self, most: int) -> list[dict[str, Any]]:
        """The next lines for the bus, the oldest first."""
        rows = [self._waiting.popleft() for _ in range(min(most, len(self._waiting)))]
        self.published += len(rows)
        return rows

    def figures(self) -> dict[str, int]:
        """For `scheduler.stats`."""
        return {
            "log_lines_published": self.published,
            "log_lines_waiting": len(self._waiting),
            "log_lines_dropped": self.dropped,
        }


def _caller() -> FrameType | None:
    """The frame that logged."""
    frame: FrameType | None = sys._getframe(2)
    while frame is not None and _below(str(frame.f_globals.get("__name__", "")), _PASSED_OVER):
        frame = frame.f_back
    return frame


def _below(module: str, packages: tuple[str, ...]) -> bool:
    return any(module == package or module.startswith(f"{package}.") for package in packages)
