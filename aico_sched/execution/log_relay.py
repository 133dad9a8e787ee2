"""Lines of a run in another process, on their way to the service: the first at once, what follows in batches."""

import asyncio
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Final

import structlog

from aico_sched.run_lines import KEPT, Line, RunLog

log = structlog.get_logger(__name__)

BURST: Final = 5
"""Batches that leave at once; each `EVERY` seconds allow one more."""

EVERY: Final = 0.1

MAX_WRITTEN: Final = 1_000
"""Lines of one run that are written to the service's log; the newest are kept with its attempt all the same."""

_RESERVED: Final = frozenset({"self", "event", "level", "timestamp", "logger", "logger_name", "exception", "stack"}) | {
    "exc_info", "stack_info", "task_id", "execution_id", "attempt"
}  # fmt: skip
"""Names that mean something to structlog, or are the run's own."""


class LogRelay:
    """The sending side. Made on the run's loop; `send` takes lines and how many were logged up to the last of them.
    The newest stay in `lines`."""

    def __init__(self, send: Callable[[list[Line], int], None], lines: RunLog) -> None:
        self._send, self._loop, self._thread = send, asyncio.get_running_loop(), threading.get_ident()
        self.lines = lines
        self._sent = 0
        self._allowed, self._allowed_at = float(BURST), self._loop.time()
        self._asked = False
        self._timer: asyncio.TimerHandle | None = None

    def add(self, line: Line) -> bool:
        """Take a line, from any thread. True: the service writes it to its log."""
        if line["level"] not in KEPT:
            return True
        self.lines.add(line)
        if threading.get_ident() == self._thread:
            self._due()
        elif not self._asked:
            self._asked = True
            # The loop is closed when a thread outlives its run.
            with suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._due)
        return True

    def _due(self) -> None:
        self._asked = False
        now = self._loop.time()
        self._allowed = min(float(BURST), self._allowed + (now - self._allowed_at) / EVERY)
        self._allowed_at = now
        if self._allowed >= 1:
            self._allowed -= 1
            self.flush()
        elif self._timer is None:
            self._timer = self._loop.call_later(EVERY, self.flush)

    def flush(self) -> None:
        """Send what has not been sent; also when the run has ended."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        lines, total = self.lines.news(self._sent)
        if total > self._sent:
            self._sent = total
            self._send(lines, total)


def received(lines: RunLog, sent: Sequence[Line], total: int, **identity: Any) -> None:
    """The receiving side: keep what a run has sent and write it to the service's log."""
    before = lines.total
    for line in lines.take(sent, total):
        if before < MAX_WRITTEN:
            fields = {f"task_{name}" if name in _RESERVED else name: value for name, value in line["fields"].items()}
            message: str = line["message"]
            # A terminal must not obey what a task says.
            message = message if message.isprintable() else message.encode("unicode_escape").decode()
            getattr(log, line["level"])(message, **fields, **identity)
    if before < MAX_WRITTEN <= lines.total:
        log.warning("task_log_cut", after_lines=lines.total, **identity)
