"""What a child prints: into the service's log line by line, within bounds, its end kept for when it crashes."""

import asyncio
import os
from collections import deque

import structlog

log = structlog.get_logger(__name__)

MAX_LINES = 1_000
"""Lines of one run that are logged; what comes after is only counted."""

_CHUNK = 64 * 1024
_PAUSE = 0.02
_LINE_CHARS = 2_000
_TAIL_LINES = 40


class Output:
    """Reads a descriptor until its end, at most 3 MB a second: a child that floods it waits."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._loop = asyncio.get_running_loop()
        self._partial = b""
        self._lines = 0
        self._tail: deque[str] = deque(maxlen=_TAIL_LINES)
        self._closed = False
        self.context: dict[str, str] = {}
        self._loop.add_reader(descriptor, self._readable)

    @property
    def tail(self) -> str:
        """The last lines, as one text."""
        return "\n".join(self._tail)

    def _readable(self) -> None:
        if not self._read():
            self._loop.remove_reader(self._descriptor)
            return
        self._loop.remove_reader(self._descriptor)
        self._loop.call_later(_PAUSE, self._resume)

    def _resume(self) -> None:
        if not self._closed:
            self._loop.add_reader(self._descriptor, self._readable)

    def _read(self) -> bool:
        try:
            chunk = os.read(self._descriptor, _CHUNK)
        except BlockingIOError:
            return True
        *lines, self._partial = (self._partial + chunk).split(b"\n")
        self._partial = self._partial[-_LINE_CHARS:]
        for line in lines:
            self._take(line)
        return bool(chunk)

    def _take(self, line: bytes) -> None:
        text = line[:_LINE_CHARS].decode(errors="backslashreplace").rstrip()
        self._tail.append(text)
        self._lines += 1
        if self._lines <= MAX_LINES:
            log.info("task_output", line=text, **self.context)
        elif self._lines == MAX_LINES + 1:
            log.warning("task_output_cut", after_lines=MAX_LINES, **self.context)

    def drain(self) -> None:
        """Take what is there now, at most one chunk; for when the child is gone."""
        if not self._closed:
            self._read()
            if self._partial:
                self._take(self._partial)
                self._partial = b""

    def close(self) -> None:
        """Read no more."""
        if not self._closed:
            self._closed = True
            self._loop.remove_reader(self._descriptor)
            os.close(self._descriptor)
