"""One run's conversation with its child: the job goes in, calls are answered, the last message comes out.

What comes from the child may be hostile. It is read no faster than a set rate, its calls pass through the same checks
as those of a task in this process, and no more than a few are under way at once.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final

from aico_sched.execution.child.data import ServedData
from aico_sched.execution.child.process import ChildProcess
from aico_sched.execution.child.wire import (
    Answer,
    Begun,
    Call,
    CallFunction,
    Cancel,
    Job,
    Logged,
    Message,
    Progress,
    ProtocolError,
    Raised,
    Refused,
    Returned,
    pack,
    read_from_child,
)
from aico_sched.tasks.context import TaskContext

MAX_CALLS: Final = 32
"""Calls of one child that are answered at one time; further ones wait in its pipe."""

_BURST, _PAUSE = 20, 0.01
"""Messages taken in one go and the seconds until the next: 2,000 a second."""

_LINES = 5
"""Lines of a log that count as one message."""

Context = TaskContext[Any]


PORTS: Final[dict[str, Callable[..., Awaitable[Any]]]] = {
    "publish": TaskContext.publish,
    "request": TaskContext.request,
    "hold": TaskContext.held,
    "query": TaskContext.query,
    "execute": TaskContext.execute,
}
"""What a child may call, as methods of the run's context in this process, which check the arguments."""


def as_told(error: Exception) -> list[str]:
    """What a run in another process is told of an error: the name of a kind it knows, and the message."""
    known = ("builtins", "aico_sched.tasks.powers", "aico_sched.data.source")
    name = next(kind.__name__ for kind in type(error).__mro__ if kind.__module__ in known)
    return ["PermissionError" if isinstance(error, PermissionError) else name, str(error)]


class Session:
    """With one child, for one job. `context` is None where the job is a function, which may call nothing. `logged`
    takes lines of the run's log, as `Logged` has them."""

    def __init__(
        self,
        child: ChildProcess,
        context: Context | None,
        begun: Callable[[dict[str, Any]], None],
        logged: Callable[[list[dict[str, Any]], int], None] = lambda lines, total: None,
    ) -> None:
        self._child, self._context, self._begun, self._logged = child, context, begun, logged
        self._data = None if context is None else ServedData(context)
        self._calls: set[asyncio.Task[None]] = set()
        self._has_begun = self._cancelled = False
        self._room = asyncio.Semaphore(MAX_CALLS)
        self._writer: asyncio.StreamWriter | None = None

    async def run(self, job: Job | CallFunction) -> Returned | Raised | None:
        """Send the job and return the last message, None if the child ended without one. Raises `ProtocolError`."""
        reader, self._writer = await self._child.connect()
        if self._cancelled:
            return None
        self._send(job)
        try:
            return await self._converse(reader)
        finally:
            for call in self._calls:
                call.cancel()
            if self._context is not None:
                self._context.flush_progress()
            if self._data is not None:
                if self._calls:
                    await asyncio.wait(self._calls)
                await self._data.close()

    def cancel(self, reason: str) -> None:
        """Ask the run to end in order; one that has not begun never does."""
        self._cancelled = True
        if self._writer is not None:
            self._send(Cancel(reason=reason))

    async def _converse(self, reader: asyncio.StreamReader) -> Returned | Raised | None:
        taken = paused = 0
        while (message := await read_from_child(reader)) is not None:
            if isinstance(message, Returned | Raised):
                return message
            if isinstance(message, Begun):
                self._begin(message)
            elif isinstance(message, Progress):
                await self._progress(message)
            elif isinstance(message, Logged):
                self._logged([line.model_dump() for line in message.lines], message.total)
                # A batch is as much work as the lines in it.
                taken += len(message.lines) // _LINES
            elif isinstance(message, Refused):
                self._refused(message)
            else:
                await self._room.acquire()
                call = asyncio.create_task(self._answer(message))
                self._calls.add(call)
                call.add_done_callback(self._answered)
            taken += 1
            if taken - paused >= _BURST:
                paused = taken
                await asyncio.sleep(_PAUSE)
        return None

    async def _progress(self, said: Progress) -> None:
        if self._context is not None:
            try:
                await self._context.progress(said.fraction, said.message, **said.data)
            except (ValueError, TypeError) as error:
                raise ProtocolError(f"a progress report that is none: {error}") from error

    def _begin(self, begun: Begun) -> None:
        """The first is the child's own; a later one could only be the task's."""
        if self._has_begun:
            raise ProtocolError("a second beginning")
        self._has_begun = True
        self._begun(begun.level)

    def _refused(self, refused: Refused) -> None:
        if self._context is not None:
            self._context.refused(refused.what)

    async def _answer(self, call: Call) -> None:
        try:
            frame = pack(Answer(call_id=call.call_id, value=await self._value(call)))
        except Exception as error:
            # The task's affair: it is told, whatever it was.
            frame = pack(Answer(call_id=call.call_id, error=as_told(error)))
        if self._writer is not None and not self._writer.is_closing():
            self._writer.write(frame)
            await self._writer.drain()

    async def _value(self, call: Call) -> Any:
        method = PORTS.get(call.port)
        if self._data is not None and call.port.startswith("data."):
            return await self._data.call(call.port.removeprefix("data."), call.arguments)
        if method is None or self._context is None:
            raise PermissionError(f"a task in a process of its own cannot use {call.port}")
        return await method(self._context, *call.arguments)

    def _answered(self, call: "asyncio.Task[None]") -> None:
        self._calls.discard(call)
        self._room.release()
        if not call.cancelled():
            # A child that is gone cannot be answered; how its run ended is told elsewhere.
            call.exception()

    def _send(self, message: Message) -> None:
        if self._writer is not None and not self._writer.is_closing():
            self._writer.write(pack(message))
