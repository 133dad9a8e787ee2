"""What running attempts log, told while they run, in batches; an attempt that logs nothing costs nothing here."""

import asyncio
import threading
from contextlib import suppress
from typing import Final

from aico_sched.clock import Clock
from aico_sched.execution.attempt import Attempt
from aico_sched.execution.powers import Post
from aico_sched.topics import names
from aico_sched.topics.internal import AttemptLines, AttemptsLogged

EVERY: Final = 0.2
"""Seconds that lines are gathered for."""

LINES_PER_SECOND: Final = 2_000
"""Lines of all runs together; what comes faster waits, and of what waits the newest lines of each run are left."""

RUNS_PER_MESSAGE: Final = 20


class LiveLogs:
    """Gathers the attempts that have logged something and posts their lines. Those of one that has ended are out before
    its end is, as far as there is room; they are in its record in any case. Made on the service's loop."""

    def __init__(self, clock: Clock, post: Post) -> None:
        self._clock, self._post = clock, post
        self._loop, self._thread = asyncio.get_running_loop(), threading.get_ident()
        self._due: dict[str, Attempt] = {}
        self._last_words: list[AttemptLines] = []
        self._room, self._room_until = 0, 0.0
        self._waiting = False

    def noted(self, attempt: Attempt) -> None:
        """It has logged something. From any thread; once it is known, this is a look at one field."""
        if attempt.logs_due:
            return
        attempt.logs_due = True
        if threading.get_ident() == self._thread:
            self._add(attempt)
        else:
            # The loop is closed when a thread outlives the service.
            with suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._add, attempt)

    def over(self, attempt: Attempt) -> None:
        """It has ended, or nobody waits for it any more; what it logs from now on is of no interest."""
        attempt.logs.reader = None
        if self._due.pop(attempt.start.execution_id, None) is None or not self._has_room():
            return
        if not self._last_words:
            # As the ends of attempts (`execution.ends`), those of one round of the loop travel together.
            self._loop.call_soon(self._tell_last)
        self._last_words += self._taken(attempt)

    def _add(self, attempt: Attempt) -> None:
        if attempt.logs.reader is None:
            return
        self._due[attempt.start.execution_id] = attempt
        if not self._waiting:
            self._waiting = True
            self._clock.call_at(self._clock.monotonic() + EVERY, self._tell)

    def _tell(self) -> None:
        self._waiting = False
        rows: list[AttemptLines] = []
        while self._due and self._has_room():
            rows += self._taken(self._due.pop(next(iter(self._due))))
        self._send(rows)
        if self._due:
            self._waiting = True
            self._clock.call_at(self._clock.monotonic() + EVERY, self._tell)

    def _tell_last(self) -> None:
        rows, self._last_words = self._last_words, []
        self._send(rows)

    def _send(self, rows: list[AttemptLines]) -> None:
        now_us = self._clock.now_us()
        for first in range(0, len(rows), RUNS_PER_MESSAGE):
            self._post(names.ATTEMPTS_LOGGED, AttemptsLogged(now_us, rows[first : first + RUNS_PER_MESSAGE]))

    def _taken(self, attempt: Attempt) -> list[AttemptLines]:
        """The lines of an attempt that were not sent yet."""
        attempt.logs_due = False
        lines, total = attempt.logs.news(attempt.logs_sent)
        if not lines:
            return []
        attempt.logs_sent = total
        self._room -= len(lines)
        return [AttemptLines(attempt.start.execution_id, attempt.start.task_id, attempt.start.attempt, lines, total)]

    def _has_room(self) -> bool:
        now = self._clock.monotonic()
        if now >= self._room_until:
            self._room, self._room_until = LINES_PER_SECOND, now + 1.0
        return self._room > 0
