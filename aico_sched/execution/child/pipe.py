"""The child's end of the socket: sends messages, matches answers with calls."""

import asyncio
from collections.abc import Callable
from typing import Any

from aico_sched.data.source import NoSuchTable, SourceError
from aico_sched.execution.child.wire import Answer, Call, Message, ProtocolError, Returned, pack
from aico_sched.tasks.powers import DatabaseFailed, DatabaseRefused, TooMuchData


class CallRefused(Exception):
    """The service refused a call; `kind` is the name of the error it raised."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


def _no_such_table(message: str) -> Exception:
    return NoSuchTable(message.removeprefix("there is no table "), message)


_RAISED: dict[str, Callable[[str], Exception]] = {
    kind.__name__: kind
    for kind in (TimeoutError, ValueError, PermissionError, DatabaseFailed, DatabaseRefused, TooMuchData, SourceError)
} | {"NoSuchTable": _no_such_table}


def told_error(kind: str, message: str) -> Exception:
    """The error that a call raised in the service: of its own kind if that is known, else `CallRefused`."""
    raised = _RAISED.get(kind)
    return CallRefused(kind, message) if raised is None else raised(message)


class Pipe:
    """For the child's loop only."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self._writer = writer
        self._calls: dict[int, asyncio.Future[Any]] = {}
        self._last_id = 0

    def send(self, message: Message) -> None:
        """Send without waiting. Raises `ProtocolError` for what cannot be sent."""
        self._writer.write(pack(message))

    async def call(self, port: str, *arguments: Any) -> Any:
        """Use a port of the service's and return what it answers. Raises what it raised where that is a known error,
        else `CallRefused`."""
        self._last_id += 1
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._calls[self._last_id] = answer
        try:
            self.send(Call(call_id=self._last_id, port=port, arguments=list(arguments)))
            await self._writer.drain()
            return await answer
        finally:
            self._calls = {key: future for key, future in self._calls.items() if future is not answer}

    def answered(self, answer: Answer) -> None:
        """An answer has come; too late for a call that was given up."""
        future = self._calls.get(answer.call_id)
        if future is None or future.done():
            return
        if answer.error is None:
            future.set_result(answer.value)
            return
        future.set_exception(told_error(*answer.error))

    async def send_last(self, message: Message) -> None:
        """Send how the run ended; a result that is too long to be sent is left out and said to be."""
        try:
            frame = pack(message)
        except ProtocolError as error:
            assert isinstance(message, Returned)
            short = f"the result was left out: {error}"
            frame = pack(message.model_copy(update={"message": message.message[:1_000] or short, "data": "{}"}))
        self._writer.write(frame)
        await self._writer.drain()
