"""What the service and a child process say to each other: frames of msgpack over a socket pair, capped in size.

A frame is four bytes of length (big-endian) and a map with a `kind`. Nothing is ever unpickled. The parent takes every
frame for what a hostile task may have written: the length is checked before the body is read, the body before it is
used.
"""

import asyncio
import struct
from typing import Annotated, Any, Final, Literal, TypeVar

import msgpack
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from aico_sched.topics import limits

MAX_FRAME_BYTES: Final = 1024 * 1024
"""One message, either way. A result, a page of rows or an error is far below; a longer one ends the run."""

_HEADER: Final = struct.Struct("!I")
M = TypeVar("M")
Name = Annotated[str, Field(max_length=limits.MAX_NAME_CHARS)]
Value = (
    Annotated[str, Field(max_length=limits.MAX_LOG_CHARS)]
    | bool
    | int
    | Annotated[float, Field(allow_inf_nan=False)]
    | None
)


class ProtocolError(Exception):
    """The other side sent what is no message: too long, no msgpack, or not of a known form."""


class Message(BaseModel):
    """Base of all messages: nothing unknown in them, no value bent into another type."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Job(Message):
    """Parent → child: what to run. `path` and `folder` are set for a class in the user-task folder, `limits` and
    `sandbox` as `sandbox.policy` packs them. With `only_check` the class is loaded and checks its configuration."""

    kind: Literal["job"] = "job"
    task_class: str
    module: str
    attribute: str
    path: str | None
    folder: str | None
    task_id: str
    execution_id: str
    attempt: int
    scheduled_for_us: int
    trigger: str
    config: dict[str, Any]
    data_dir: str
    cause: dict[str, Any] | None
    capabilities: list[str]
    search_path: list[str]
    limits: dict[str, Any]
    sandbox: dict[str, Any] | None
    only_check: bool = False


class CallFunction(Message):
    """Parent → child: a function to run in place of a task, by its name, with plain arguments."""

    kind: Literal["function"] = "function"
    module: str
    attribute: str
    path: str | None
    folder: str | None
    arguments: list[Any]
    search_path: list[str]
    limits: dict[str, Any]


class Cancel(Message):
    """Parent → child: end the run in order."""

    kind: Literal["cancel"] = "cancel"
    reason: str


class Answer(Message):
    """Parent → child: what became of `Call` `call_id`; `error` is (type, message) where it was refused."""

    kind: Literal["answer"] = "answer"
    call_id: int
    value: Any = None
    error: list[str] | None = None


class Begun(Message):
    """Child → parent: the restrictions are in force, the task's code comes next. `level` says which."""

    kind: Literal["begun"] = "begun"
    level: dict[str, Any]


class Progress(Message):
    """Child → parent: as `TaskContext.progress`."""

    kind: Literal["progress"] = "progress"
    fraction: float | None
    message: str
    data: dict[str, Any]


class Line(Message):
    """As `tasks.run_log.Line`."""

    at: Annotated[str, Field(max_length=40)]
    level: Literal["info", "warning", "error", "critical"]
    message: Annotated[str, Field(max_length=limits.MAX_LOG_CHARS)]
    fields: Annotated[dict[Name, Value], Field(max_length=limits.MAX_LOG_FIELDS + 1)]


class Logged(Message):
    """Child → parent: the newest lines of the run's log; `total` is how many there were up to the last of these."""

    kind: Literal["logged"] = "logged"
    lines: Annotated[list[Line], Field(max_length=limits.MAX_LOG_LINES)]
    total: Annotated[int, Field(ge=0, le=2**53)]


class Call(Message):
    """Child → parent: one of the ports of a task context, by name; answered with one `Answer`."""

    kind: Literal["call"] = "call"
    call_id: int
    port: Annotated[str, Field(max_length=64)]
    arguments: list[Any]


class Refused(Message):
    """Child → parent: the run tried what it may not, for the audit trail."""

    kind: Literal["refused"] = "refused"
    what: Annotated[str, Field(max_length=2_000)]


class Returned(Message):
    """Child → parent, last: the run came to its end. `data` is JSON text, as the execution's record keeps it."""

    kind: Literal["returned"] = "returned"
    success: bool
    skipped: bool
    message: str
    data: str


class Raised(Message):
    """Child → parent, last: the run failed. `limit` names the limit it ran into, where the error tells."""

    kind: Literal["raised"] = "raised"
    type: Annotated[str, Field(max_length=300)]
    message: str
    traceback: str
    permanent: bool
    limit: Literal["memory", "file_size"] | None = None


FromChild = Begun | Progress | Logged | Call | Refused | Returned | Raised
ToChild = Job | CallFunction | Cancel | Answer

_FROM_CHILD: Final[TypeAdapter[FromChild]] = TypeAdapter(Annotated[FromChild, Field(discriminator="kind")])
_TO_CHILD: Final[TypeAdapter[ToChild]] = TypeAdapter(Annotated[ToChild, Field(discriminator="kind")])


def pack(message: Message) -> bytes:
    """The frame of a message. Raises `ProtocolError` for what msgpack cannot say or what is too long."""
    try:
        body: bytes = msgpack.packb(message.model_dump())
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        raise ProtocolError(f"it cannot be sent: {error}") from error
    if len(body) > MAX_FRAME_BYTES:
        raise ProtocolError(f"it is {len(body)} bytes long; at most {MAX_FRAME_BYTES} can be sent")
    return _HEADER.pack(len(body)) + body


async def read_from_child(reader: asyncio.StreamReader) -> FromChild | None:
    """The next message, None at the end. Raises `ProtocolError`."""
    body = await _read(reader)
    return None if body is None else _checked(_FROM_CHILD, body)


async def read_from_parent(reader: asyncio.StreamReader) -> ToChild | None:
    """The next message, None at the end. Raises `ProtocolError`."""
    body = await _read(reader)
    return None if body is None else _checked(_TO_CHILD, body)


async def _read(reader: asyncio.StreamReader) -> bytes | None:
    try:
        (size,) = _HEADER.unpack(await reader.readexactly(_HEADER.size))
        if size > MAX_FRAME_BYTES:
            raise ProtocolError(f"a message of {size} bytes; at most {MAX_FRAME_BYTES} are taken")
        return await reader.readexactly(size)
    except (asyncio.IncompleteReadError, ConnectionError):
        # Whoever dies in the middle of a message has said nothing.
        return None


def _checked(adapter: TypeAdapter[M], body: bytes) -> M:
    try:
        return adapter.validate_python(msgpack.unpackb(body))
    except ValidationError as error:
        where = ".".join(map(str, error.errors(include_input=False)[0]["loc"]))
        raise ProtocolError(f"a message of no known form (at {where or 'its kind'})") from error
    except Exception as error:
        # msgpack's errors share no base class (facts.md).
        raise ProtocolError(f"not msgpack: {type(error).__name__}") from error
