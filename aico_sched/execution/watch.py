"""A thread that sees the event loop blocked while it is blocked, and a dump of all stacks where no thread can run.

While attempts run on the loop it looks every `TICK` seconds; else it looks now and then. A stack is taken in the middle
of what is long, so that it shows the culprit; who is to blame is decided when it is over (`stalls`).
"""

import asyncio
import faulthandler
import os
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from math import inf
from pathlib import Path
from time import perf_counter

import structlog

from aico_sched.execution.metering import Board, Meter
from aico_sched.execution.stalls import (
    Sighting,
    Stall,
    callback_of,
    dumped_stack,
    innermost,
    is_at_fault,
    stack_text,
    waited_for_processor,
)

log = structlog.get_logger(__name__)

TICK = 0.02
SLOW_TICK = 1.0
LINGER = 1.0
"""Seconds for which it goes on looking often after the last attempt has ended."""

PING_EVERY = 0.05
SUSTAINED = 5.0
"""Seconds for which the loop must be behind without a single culprit to be called overloaded."""

DUMP_AFTER = 0.5
DUMP_EVERY = 0.25
"""Seconds without a look after which the stacks are dumped, and how often that alarm is put off."""

DUMP_LIMIT = 256 * 1024


class LoopWatch:
    """Watches the loop that `start` is called on. `board` shows whose step it is in; `own_tasks` are the names of the
    service's asyncio tasks, `dump` the file for stacks taken while the interpreter is held."""

    def __init__(self, threshold: float, own_tasks: frozenset[str], dump: Path | None = None) -> None:
        self.threshold = threshold
        self.board = Board(threshold, self._long_step)
        self._own_tasks, self._dump_path = own_tasks, dump
        self._dump_file: int | None = None
        self._running = 0
        self._busy_until = 0.0
        self._wake = threading.Event()
        self._slow = False
        self._watching: threading.Thread | None = None
        self._tell: Callable[[Stall], None] = lambda stall: None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = self._native = 0
        self._seen: Sighting | None = None
        self._seen_last = 0.0
        self._logged: object = None
        self._sent = self._answered = self._judged = 0.0
        self._late_since: float | None = None
        self._armed = 0.0
        self.figures = dict.fromkeys(("task", "program", "overload", "service", "machine"), 0)
        self.longest = 0.0

    # The loop's side.

    def start(self, tell: Callable[[Stall], None]) -> None:
        """Begin to watch the running loop; `tell` is called on it for every stall that is somebody's fault."""
        self.stop()
        if self.threshold == inf:
            return
        self._wake.clear()
        self._tell, self._loop = tell, asyncio.get_running_loop()
        self._thread, self._native = threading.get_ident(), threading.get_native_id()
        self._sent = self._judged = self._answered = perf_counter()
        self._dump_file = dump = self._open_dump()
        self._watching = thread = threading.Thread(
            target=self._watch, args=(dump,), name="aico-sched-watch", daemon=True
        )
        thread.start()

    def stop(self) -> None:
        """Watch no more; harmless when repeated."""
        self._watching = None
        self._wake.set()

    def enter(self) -> None:
        """An attempt begins on the loop."""
        self._running += 1
        if self._slow:
            self._slow = False
            self._wake.set()

    def leave(self) -> None:
        """It has ended."""
        self._running -= 1

    def _long_step(self, meter: Meter, began: float, seconds: float, cpu_seconds: float) -> None:
        seen = self._seen if self._seen is not None and self._seen.key == (meter.execution_id, began) else None
        if not is_at_fault(began, seconds, cpu_seconds, self.threshold, seen, waited_for_processor(self._native)):
            self.figures["machine"] += 1
            return
        stack = seen.stack if seen is not None else self._dumped()
        where = seen.where if seen is not None else ""
        self._blame(Stall("task", seconds, cpu_seconds, where, stack, meter.task_id, meter.execution_id, meter.movable))

    def _blame(self, stall: Stall) -> None:
        self.figures[stall.cause] += 1
        self.longest = max(self.longest, stall.seconds)
        self._tell(stall)

    def _answer(self) -> None:
        self._answered = perf_counter()

    # The thread's side.

    def _watch(self, dump: int | None) -> None:
        me = threading.current_thread()
        try:
            while self._watching is me:
                now = perf_counter()
                if self._running:
                    self._busy_until = now + LINGER
                self._slow = now >= self._busy_until
                # An attempt may have begun just before: then nobody else will say so.
                self._slow = self._slow and not self._running
                self._arm(dump, now)
                self._wake.wait(SLOW_TICK if self._slow else TICK)
                self._wake.clear()
                if self._watching is me:
                    self._look(perf_counter())
        except RuntimeError:
            # The loop was closed without `stop`: nothing is left to watch.
            log.debug("watch_ended")
        finally:
            self._disarm()
            if dump is not None:
                if self._dump_file == dump:
                    self._dump_file = None
                os.close(dump)

    def _look(self, now: float) -> None:
        board = self.board
        since, meter = board.since, board.meter
        if meter is not None and board.since == since:
            if now - since >= self.threshold / 2:
                self._see_step(meter, since, now)
        elif self._answered < self._sent and now - self._sent >= self.threshold / 2:
            self._see_callback(now)
        if self._answered >= self._sent:
            if self._judged < self._sent:
                self._judged = self._sent
                self._judge_answer()
            if now - self._sent >= PING_EVERY:
                assert self._loop is not None
                self._sent = now
                self._loop.call_soon_threadsafe(self._answer)

    def _see_step(self, meter: Meter, since: float, now: float) -> None:
        key = (meter.execution_id, since)
        if self._seen is None or self._seen.key != key:
            frame = sys._current_frames().get(self._thread)
            waited = waited_for_processor(self._native)
            self._seen = Sighting(key, now, waited, innermost(frame), stack_text(frame))
        elif now - since >= self.threshold and self._logged != key:
            self._logged = key
            log.warning(
                "event_loop_blocked",
                task_id=meter.task_id,
                execution_id=meter.execution_id,
                seconds=round(now - since, 3),
                stack=self._seen.stack,
            )

    def _see_callback(self, now: float) -> None:
        """Something long that is no task of ours: the program's own code, or the service itself."""
        frame = sys._current_frames().get(self._thread)
        callback = callback_of(frame)
        if callback is None:
            return
        self._seen_last = now
        if self._seen is not None and self._seen.key is callback:
            return
        name = self._current_task()
        where = "service" if name.partition("/")[0] in self._own_tasks else name or innermost(frame)
        self._seen = Sighting(callback, now, waited_for_processor(self._native), where, stack_text(frame))

    def _current_task(self) -> str:
        with suppress(RuntimeError):
            task = asyncio.current_task(self._loop)
            return task.get_name() if task is not None else ""
        return ""

    def _judge_answer(self) -> None:
        """The loop has answered: was it late, and why?"""
        lag, seen, self._seen = self._answered - self._sent, self._seen, None
        if lag < self.threshold:
            self._late_since = None
        elif seen is None or seen.at < self._sent:
            self._judge_load(lag)
        elif isinstance(seen.key, tuple):
            # A task's step, which was judged when it ended.
            self._late_since = None
        elif seen.where == "service":
            self.figures["service"] += 1
        elif self._seen_last - seen.at + TICK < self.threshold / 2:
            # One of many.
            self._judge_load(lag)
        else:
            self._report(Stall("program", lag, 0.0, seen.where, seen.stack))

    def _judge_load(self, lag: float) -> None:
        if self._late_since is None:
            self._late_since = self._sent
        elif self._answered - self._late_since >= SUSTAINED:
            self._late_since = None
            self._report(Stall("overload", lag, 0.0, "", ""))

    def _report(self, stall: Stall) -> None:
        assert self._loop is not None
        self._loop.call_soon_threadsafe(self._blame, stall)

    # The dump.

    def _open_dump(self) -> int | None:
        if self._dump_path is None:
            return None
        try:
            flags = os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
            return os.open(self._dump_path, flags, 0o600)
        except OSError as error:
            log.warning("no_stack_dumps", file=str(self._dump_path), error=str(error))
            return None

    def _arm(self, dump: int | None, now: float) -> None:
        """Put off the alarm, which rings if this thread does not come by again in time."""
        if dump is None:
            return
        if self._slow:
            self._disarm()
        elif now - self._armed >= DUMP_EVERY:
            self._armed = now
            faulthandler.dump_traceback_later(DUMP_AFTER + DUMP_EVERY, file=dump)

    def _disarm(self) -> None:
        if self._armed:
            self._armed = 0.0
            faulthandler.cancel_dump_traceback_later()

    def _dumped(self) -> str:
        """The loop's stack in the newest dump, which is then forgotten; empty if there is none."""
        if self._dump_file is None:
            return ""
        try:
            text = os.pread(self._dump_file, DUMP_LIMIT, 0).decode(errors="replace")
            if text:
                os.ftruncate(self._dump_file, 0)
                os.lseek(self._dump_file, 0, os.SEEK_SET)
        except OSError:
            return ""
        return dumped_stack(text, self._thread)
