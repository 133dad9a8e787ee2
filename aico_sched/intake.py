"""From a frame of the bus to a validated request, or to a refusal that tells the sender what to mend. Pure."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from pydantic import ValidationError

from aico_sched.security.key_names import KeyRingError
from aico_sched.security.signatures import Unanswered
from aico_sched.topics import limits, names
from aico_sched.topics.codecs import Codec, Sign, codec_of, decode, read
from aico_sched.topics.commands import written
from aico_sched.topics.envelope import Envelope, Received, Unreadable
from aico_sched.topics.errors import CommandError, ErrorCode
from aico_sched.topics.internal import Request
from aico_sched.topics.registry import COMMANDS
from aico_sched.tracing import ATTRIBUTE, readable

RoleOf = Callable[[str], str]
Authenticate = Callable[[str, Received], str]
"""Called with (topic, message); the sender's role. Raises `CommandError` for a message that proves nothing."""


class Terms(NamedTuple):
    """How the bus is that the service is on. `codec` is what the service speaks of itself; `only` means that nothing
    else may be on the bus, for AICO's own clients choke on it. With `private_replies` a sender may ask for its answer
    only on a topic of its own. `sign` signs what the service says. With `authenticate` each command proves whose it
    is, else the broker has seen to that; `may_command` asks of (role, source, topic) what a broker without rules lets
    through."""

    private_replies: bool
    codec: Codec = "msgpack"
    only: bool = False
    sign: Sign | None = None
    authenticate: Authenticate | None = None
    may_command: Callable[[str, str, str], bool] | None = None


_MAX_REASON = 500


class Refused(Exception):
    """A message that is no acceptable command. `reply_to` is empty when it does not tell whom to answer."""

    def __init__(
        self,
        error: CommandError,
        *,
        source: str = "",
        role: str = "",
        target: str = "",
        reply_to: str = "",
        correlation_id: str = "",
        codec: Codec = "msgpack",
    ) -> None:
        super().__init__(error.message)
        self.error = error
        self.source, self.role, self.target = source, role, target
        self.reply_to, self.correlation_id, self.codec = reply_to, correlation_id, codec


def accept(topic: str, body: bytes, role_of: RoleOf, terms: Terms) -> Request:
    """The request in `body`; raises `Refused`."""
    codec = terms.codec if terms.only else codec_of(body)
    try:
        received = read(body)
    except Unreadable as error:
        raise _refused_unreadable(error, codec) from error
    envelope = received.envelope
    role = ""
    reply_to, correlation_id = _return_address(envelope.source, envelope.message_id, envelope.attributes)
    try:
        if received.codec != codec:
            raise CommandError(ErrorCode.INVALID_MESSAGE, f"only messages of the codec {codec} are for this bus")
        if not _may_be_answered_on(reply_to, envelope.source, terms.private_replies):
            reply_to = f"{names.REPLY}{envelope.source}"
            message = f"attributes.reply_to must be {names.REPLY}{envelope.source} or begin with it and a dot"
            raise CommandError(ErrorCode.PERMISSION_DENIED, message, field="attributes.reply_to")
        role = _role(topic, received, role_of, terms)
        payload = _validated(topic, envelope)
    except CommandError as error:
        target = str(envelope.payload.get("task_id", ""))[: limits.MAX_ID_CHARS]
        raise Refused(
            error,
            source=envelope.source,
            role=role,
            target=target,
            reply_to="" if isinstance(error, Unanswered) else reply_to,
            correlation_id=correlation_id,
            codec=codec,
        ) from error
    sender = envelope.message_id, envelope.source, role
    return Request(*sender, reply_to, correlation_id, codec, payload, readable(envelope.attributes.get(ATTRIBUTE)))


def refused_by_bus(name: str, role: str, code: ErrorCode, reason: str, body: bytes) -> Refused:
    """What to tell the key `name`, whose message the broker let nobody have. Who it is, the broker knows for sure;
    where the answer goes is read from the message as far as that can be read."""
    error = CommandError(code, f"the bus refused the message: {reason}")
    partial: Mapping[str, Any]
    try:
        partial = decode(body)._asdict()
    except Unreadable as unreadable:
        partial = unreadable.partial
        if code is ErrorCode.INVALID_MESSAGE:
            error = CommandError(unreadable.code, unreadable.message, **unreadable.details)
    reply_to, correlation_id = _return_address(name, partial.get("message_id"), partial.get("attributes"))
    if not _is_own(reply_to, name):
        reply_to = f"{names.REPLY}{name}"
    return Refused(
        error, source=name, role=role, reply_to=reply_to, correlation_id=correlation_id, codec=codec_of(body)
    )


def _role(topic: str, received: Received, role_of: RoleOf, terms: Terms) -> str:
    """The sender's role, which must be one that may give the command."""
    source = received.envelope.source
    try:
        role = role_of(source) if terms.authenticate is None else terms.authenticate(topic, received)
    except (LookupError, KeyRingError) as error:
        # Its key may have been revoked while the message was on its way.
        message = f"{source} has no key that is valid now"
        raise CommandError(ErrorCode.PERMISSION_DENIED, message, field="source") from error
    if terms.may_command is not None and topic in COMMANDS and not terms.may_command(role, source, topic):
        raise CommandError(ErrorCode.PERMISSION_DENIED, f"role {role} may not give the command {topic}")
    return role


def _validated(topic: str, envelope: Envelope) -> dict[str, Any]:
    """The payload as plain data, only the fields that were given."""
    command = COMMANDS.get(topic)
    if command is None:
        message = f"{topic} is no command; the commands are {', '.join(sorted(COMMANDS))}"
        raise CommandError(ErrorCode.INVALID_MESSAGE, message, field="topic")
    if envelope.message_type != topic:
        message = f"message_type is {envelope.message_type!r}, but the message was published on {topic}"
        raise CommandError(ErrorCode.INVALID_MESSAGE, message, field="message_type")
    try:
        model = command.payload.model_validate(envelope.payload)
    except ValidationError as error:
        raise _invalid(error) from error
    return written(model, envelope.payload)


def _invalid(error: ValidationError) -> CommandError:
    """The first thing that is wrong with a payload, and how many more there are."""
    problems = error.errors(include_url=False, include_context=False)
    first = problems[0]
    field = _path(first["loc"])
    message = f"{field}: {first['msg'][:_MAX_REASON]}"
    others = sorted({_path(problem["loc"]) for problem in problems[1:]} - {field})
    if others:
        message += f" (also wrong: {', '.join(others[:10])})"
    return CommandError(ErrorCode.INVALID_MESSAGE, message, field=field)


def _path(location: tuple[int | str, ...]) -> str:
    """The path to a value, such as `retry.delay`; names a sender made up are cut short."""
    return ".".join(str(part)[: limits.MAX_NAME_CHARS] for part in location) or "payload"


def _refused_unreadable(error: Unreadable, codec: Codec) -> Refused:
    source = error.partial.get("source")
    if not isinstance(source, str) or not 0 < len(source) <= limits.MAX_ID_CHARS:
        return Refused(CommandError(error.code, error.message, **error.details), codec=codec)
    reply_to, correlation_id = _return_address(source, error.partial.get("message_id"), error.partial.get("attributes"))
    if not _is_own(reply_to, source):
        reply_to = f"{names.REPLY}{source}"
    return Refused(
        CommandError(error.code, error.message, **error.details),
        source=source,
        reply_to=reply_to,
        correlation_id=correlation_id,
        codec=codec,
    )


def _return_address(source: str, message_id: object, attributes: object) -> tuple[str, str]:
    """Where the answer goes and what it refers to, from whatever can be read of a message."""
    given = attributes if isinstance(attributes, dict) else {}
    reply_to, correlation_id = given.get("reply_to"), given.get("correlation_id")
    if not isinstance(reply_to, str) or not 0 < len(reply_to) <= limits.MAX_TOPIC_BYTES:
        reply_to = f"{names.REPLY}{source}"
    if not isinstance(correlation_id, str) or not 0 < len(correlation_id) <= limits.MAX_ID_CHARS:
        correlation_id = message_id
    return reply_to, correlation_id if isinstance(correlation_id, str) else ""


def _may_be_answered_on(reply_to: str, source: str, private: bool) -> bool:
    """Whether an answer to `source` may go to that topic. On a joined bus it may be any, except that the scheduler
    must not be made to publish what looks like a command, an event or the answer to somebody else."""
    return _is_own(reply_to, source) or not (private or f"{reply_to}.".startswith(names.ROOT))


def _is_own(reply_to: str, source: str) -> bool:
    own = f"{names.REPLY}{source}"
    return reply_to == own or reply_to.startswith(f"{own}.")
