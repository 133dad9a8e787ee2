"""Tasks whose code blocks: plain functions that compute, or wait in libraries without `await`. They run in a thread."""

import asyncio
import contextvars
import threading
from abc import abstractmethod
from collections.abc import Callable, Coroutine, Sequence
from concurrent import futures
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

from pydantic import BaseModel
from structlog.typing import FilteringBoundLogger

from aico_sched.tasks.base import BaseTask, TaskResult
from aico_sched.tasks.context import TaskContext
from aico_sched.topics.commands import Environment

ConfigT = TypeVar("ConfigT", bound=BaseModel)
Value = TypeVar("Value")


class BlockingContext(Generic[ConfigT]):
    """What a `BlockingTask` is given: a `TaskContext` whose methods wait instead of being awaited. For the one thread
    that runs the task.

    A thread cannot be stopped from outside. `cancelled` and `checkpoint` are how a run learns that it should end;
    every other method that waits raises CancelledError in a cancelled run too.
    """

    def __init__(self, context: TaskContext[ConfigT], loop: asyncio.AbstractEventLoop) -> None:
        self._context, self._loop = context, loop
        self._cancel = threading.Event()
        self._waits: futures.Future[Any] | None = None
        self.task_id, self.execution_id, self.attempt = context.task_id, context.execution_id, context.attempt
        self.trigger, self.config = context.trigger, context.config

    @property
    def cancelled(self) -> bool:
        """Whether the run should end: it was cancelled, has used up its time, or the service stops."""
        return self._cancel.is_set()

    @property
    def scheduled_for(self) -> datetime:
        """As `TaskContext.scheduled_for`."""
        return self._context.scheduled_for

    def now(self) -> datetime:
        """As `TaskContext.now`."""
        return self._context.now()

    @property
    def data_dir(self) -> Path:
        """As `TaskContext.data_dir`."""
        return self._context.data_dir

    @property
    def log(self) -> FilteringBoundLogger:
        """As `TaskContext.log`."""
        return self._context.log

    def checkpoint(self) -> None:
        """Raises CancelledError in a cancelled run; waits while the run is paused."""
        self.wait(self._context.held())

    def progress(self, fraction: float | None, message: str = "", **data: Any) -> None:
        """As `TaskContext.progress`."""
        self.wait(self._context.progress(fraction, message, **data))

    def publish(self, topic: str, payload: dict[str, Any]) -> None:
        """As `TaskContext.publish`."""
        self.wait(self._context.publish(topic, payload))

    def request(self, topic: str, payload: dict[str, Any], timeout: float) -> dict[str, Any]:
        """As `TaskContext.request`."""
        return self.wait(self._context.request(topic, payload, timeout))

    def query(self, sql: str, parameters: Sequence[Any] = (), timeout: float = 10.0) -> list[dict[str, Any]]:
        """As `TaskContext.query`."""
        return self.wait(self._context.query(sql, parameters, timeout))

    def execute(self, sql: str, parameters: Sequence[Any] = ()) -> int:
        """As `TaskContext.execute`."""
        return self.wait(self._context.execute(sql, parameters))

    def sleep(self, seconds: float) -> None:
        """Wait on the service's clock. A checkpoint too."""
        self.wait(self._context.pause(seconds))

    def wait(self, work: Coroutine[Any, Any, Value]) -> Value:
        """Run a coroutine of the service's loop, such as a method of the task's `TaskContext`, and wait for its
        result. Raises CancelledError in a cancelled run."""
        if self.cancelled:
            work.close()
            raise asyncio.CancelledError
        self._waits = waits = asyncio.run_coroutine_threadsafe(work, self._loop)
        if self.cancelled:
            waits.cancel()
        try:
            return waits.result()
        except futures.CancelledError:
            raise asyncio.CancelledError from None
        finally:
            self._waits = None

    def cancel(self) -> None:
        """Ask the run to end; for the loop's thread."""
        self._cancel.set()
        if (waits := self._waits) is not None:
            waits.cancel()


class BlockingTask(BaseTask):
    """A kind of work that blocks. Write `run` instead of `execute`; it has a thread to itself, in which nothing of the
    service may be touched but its context. A computation in pure Python still takes the interpreter from the loop in
    turns of 5 ms: `environment = "process"` is better for that."""

    environment: ClassVar[Environment] = "thread"

    @abstractmethod
    def run(self, context: BlockingContext[Any]) -> TaskResult | dict[str, Any] | None:
        """Do the work once, and call `context.checkpoint()` now and then. Any exception is a failed attempt;
        CancelledError must pass through."""

    async def execute(self, context: TaskContext[Any]) -> TaskResult | dict[str, Any] | None:
        """`run` in a thread of asyncio's, for tests and child processes; the service has a pool of its own."""
        blocking = BlockingContext(context, asyncio.get_running_loop())
        return await _in_thread(lambda: self.run(blocking), blocking.cancel)


async def _in_thread(work: Callable[[], Value], cancel: Callable[[], None]) -> Value:
    """Wait for `work` in a thread, also after a cancellation, which is passed on as a request."""
    inside = contextvars.copy_context()
    future = asyncio.get_running_loop().run_in_executor(None, inside.run, work)
    try:
        return await asyncio.shield(future)
    except asyncio.CancelledError:
        cancel()
        await asyncio.wait([future])
        if not future.cancelled():
            future.exception()
        raise
