"""The newest lines of an attempt, kept with it."""

import threading
from collections import deque
from collections.abc import Sequence
from itertools import islice
from typing import Any, Final, Protocol

from aico_sched.json_text import compact_plain
from aico_sched.topics import limits

Line = dict[str, Any]
"""`{at, level, message, fields}` as `topics.views.LogLine`; the values of `fields` are texts, numbers and truths."""

KEPT: Final = frozenset({"info", "warning", "error", "critical"})
"""Levels of lines that are kept. What is logged for debugging goes into the service's log, if that shows it."""

_LOCK = threading.Lock()


class Reader(Protocol):
    """Who wants to know of lines as they come."""

    def logged(self) -> None:
        """There are new ones. Called from any thread, for each line or batch."""


class RunLog:
    """The newest lines of one attempt. Lines may be added from any thread; `reader` is told of them."""

    __slots__ = ("_bytes", "_lines", "reader", "total")

    def __init__(self) -> None:
        self.reader: Reader | None = None
        self._lines: deque[tuple[Line, int]] | None = None
        self._bytes = 0
        self.total = 0

    def add(self, line: Line) -> bool:
        """Keep a line. False: whoever logged it writes it to the service's log too (`TaskPorts.log_line`)."""
        if line["level"] in KEPT:
            with _LOCK:
                self._append(line)
                self.total += 1
            if self.reader is not None:
                self.reader.logged()
        return False

    def take(self, lines: Sequence[Line], total: int) -> Sequence[Line]:
        """Keep lines of a run in another process, `total` being how many it had logged up to the last of these, and
        return those that were not known yet. Whatever order and however often they come, none is taken twice."""
        with _LOCK:
            fresh = lines[-min(total - self.total, len(lines)) :] if total > self.total and lines else ()
            for line in fresh:
                self._append(line)
            self.total = max(self.total, total)
        if fresh and self.reader is not None:
            self.reader.logged()
        return fresh

    def since(self, total: int) -> list[Line]:
        """The lines that were logged after the first `total` and are still kept."""
        return self.news(total)[0]

    def news(self, total: int) -> tuple[list[Line], int]:
        """The same, and how many were logged up to the last of them."""
        with _LOCK:
            kept = self._lines or ()
            fresh = max(0, min(self.total - total, len(kept)))
            return [line for line, _ in islice(kept, len(kept) - fresh, None)], self.total

    def plain(self) -> dict[str, Any] | None:
        """As `topics.views.AttemptLogs`; None where nothing was logged."""
        if not self.total:
            return None
        lines, total = self.news(0)
        return {"lines": lines, "dropped": total - len(lines)}

    def _append(self, line: Line) -> None:
        if self._lines is None:
            self._lines = deque()
        size = len(compact_plain(line))
        self._lines.append((line, size))
        self._bytes += size
        while len(self._lines) > limits.MAX_LOG_LINES or self._bytes > limits.MAX_LOG_BYTES:
            self._bytes -= self._lines.popleft()[1]
