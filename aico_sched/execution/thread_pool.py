"""Daemon threads for work that may never end.

`concurrent.futures` is of no use here: its threads are counted for ever, and the interpreter waits for them when it
exits, so one stuck task would keep the service from stopping.
"""

import asyncio
import contextvars
import queue
import threading
import time
from collections.abc import Callable
from typing import Any

IDLE = 60.0
"""Seconds after which a thread without work ends."""


class Work:
    """One function in a thread. `done` is resolved on the loop with what it returned or raised; `cpu_seconds` is what
    its thread has used for it so far."""

    def __init__(self, function: Callable[[], Any], loop: asyncio.AbstractEventLoop) -> None:
        self._function, self._loop = function, loop
        self._context = contextvars.copy_context()
        self.done: asyncio.Future[Any] = loop.create_future()
        self.given_up = False
        self._clock: int | None = None
        self._begun = self._used = 0.0

    @property
    def cpu_seconds(self) -> float:
        # The thread's clock is gone with the thread, which lives at least until `done`.
        if self._clock is None or self.done.done():
            return self._used
        return time.clock_gettime(self._clock) - self._begun

    def run(self) -> None:
        """For the thread."""
        if hasattr(time, "pthread_getcpuclockid"):
            self._begun = time.thread_time()
            self._clock = time.pthread_getcpuclockid(threading.get_ident())
        try:
            outcome, failure = self._context.run(self._function), None
        except BaseException as error:
            outcome, failure = None, error
        used = time.thread_time() - self._begun if self._clock is not None else 0.0
        try:
            self._loop.call_soon_threadsafe(self._finish, outcome, failure, used)
        except RuntimeError:
            # The loop is closed: the service has ended, and nobody waits any more.
            return

    def _finish(self, outcome: Any, failure: BaseException | None, used: float) -> None:
        self._used = used
        if self.done.done():
            return
        if isinstance(failure, StopIteration):
            # A future refuses it: it would end the generator that awaits.
            failure = RuntimeError("the task raised StopIteration")
        if failure is None:
            self.done.set_result(outcome)
        elif isinstance(failure, asyncio.CancelledError):
            self.done.cancel()
        else:
            self.done.set_exception(failure)


class ThreadPool:
    """Starts a thread when none is idle. How many work at once is up to the caller; `given_up` are those that were
    left to themselves and have not ended yet."""

    def __init__(self) -> None:
        self._idle: list[queue.SimpleQueue[Work | None]] = []
        self._lock = threading.Lock()
        self._closed = False
        self.threads = self.given_up = 0

    def start(self, function: Callable[[], Any]) -> Work:
        """Run `function` in a thread of its own, in a copy of the current context."""
        work = Work(function, asyncio.get_running_loop())
        with self._lock:
            inbox = self._idle.pop() if self._idle else None
        if inbox is None:
            inbox = queue.SimpleQueue()
            thread = threading.Thread(target=self._serve, args=(inbox,), name="aico-sched-task", daemon=True)
            with self._lock:
                self.threads += 1
            thread.start()
        inbox.put(work)
        return work

    def give_up(self, work: Work) -> None:
        """Nobody waits for `work` any more."""
        with self._lock:
            work.given_up = True
            self.given_up += 1

    def _serve(self, inbox: "queue.SimpleQueue[Work | None]") -> None:
        while (work := self._next(inbox)) is not None:
            work.run()
            with self._lock:
                self.given_up -= work.given_up
                ending = work.given_up or self._closed
                if not ending:
                    self._idle.append(inbox)
            if ending:
                break
        with self._lock:
            self.threads -= 1

    def _next(self, inbox: "queue.SimpleQueue[Work | None]") -> Work | None:
        try:
            return inbox.get(timeout=IDLE)
        except queue.Empty:
            with self._lock:
                if inbox in self._idle:
                    self._idle.remove(inbox)
                    return None
            # Work was given to this thread at the last moment.
            return inbox.get()

    def close(self) -> None:
        """Let the idle threads end; those that are given up end with the process."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for inbox in idle:
            inbox.put(None)
