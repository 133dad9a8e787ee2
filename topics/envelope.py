"""The envelope every bus message travels in, and its msgpack codec.

Wire form: two ZeroMQ frames, the topic (utf-8) and the body. The body is a msgpack map with the metadata names
of AICO's own bus: `{message_id, timestamp, source, message_type, version, attributes, payload}`. In a signed message
the payload is the `bin` of its own packed map, which is what was signed. The other codec is `topics.aico`.
"""

import os
import random
import time
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from itertools import count
from typing import Any, Final, NamedTuple

import msgpack

from aico_sched.topics import limits
from aico_sched.topics.errors import CommandError, ErrorCode

VERSION = "1.0"
MSGPACK: Final = "msgpack"
SIGNATURE = "signature"
"""The attribute that holds a message's signature (`security.signatures`)."""

_FIELDS = frozenset({"message_id", "timestamp", "source", "message_type", "version", "attributes", "payload"})
_MAX_SHOWN = 5
_PEEKED = frozenset({"message_id", "source", "attributes"})
_PEEK_BYTES = 8_192
_SCALARS = frozenset({str, int, float, bool, type(None)})
_RANDOM = random.Random()  # noqa: S311
"""Seeded by the system. An id must be unique, not secret, and a system call for each would take as long as the rest of
a message's envelope. Of its own, so that nobody's `random.seed` brings old ids back."""


class _Ids:
    """Draws chance once in a millisecond, and counts from chance on within it."""

    __slots__ = ("_latest", "_numbers")

    def __init__(self) -> None:
        self.begin_anew()

    def begin_anew(self) -> None:
        """A fork has its parent's chance."""
        _RANDOM.seed()
        # With room for more than can be made.
        self._latest, self._numbers = (0, ""), count(_RANDOM.getrandbits(47))

    def next(self, moment: int) -> str:
        latest = self._latest
        if latest[0] != moment:
            chance = _RANDOM.getrandbits(26)
            version, variant = f"7{chance >> 14:03x}", f"{0x8000 | chance & 0x3FFF:04x}"
            latest = self._latest = moment, f"{moment >> 16:08x}-{moment & 0xFFFF:04x}-{version}-{variant}-"
        return f"{latest[1]}{next(self._numbers):012x}"


_IDS = _Ids()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_IDS.begin_anew)


class Envelope(NamedTuple):
    """One bus message. `timestamp` is RFC 3339 UTC; `attributes` maps strings to strings, as AICO's do:
    `correlation_id`, `reply_to`, `seq` (events), `signature` (joined bus)."""

    message_id: str
    timestamp: str
    source: str
    message_type: str
    version: str
    attributes: dict[str, str]
    payload: dict[str, Any]


class Received(NamedTuple):
    """A message as it came: in which codec, and the very bytes of its payload where they can be signed."""

    envelope: Envelope
    codec: str
    packed: bytes | None


class Unreadable(CommandError):
    """A body that does not hold a valid envelope. `partial` is what could be read of it, so that the sender
    can be told: a mapping that may hold `message_id`, `source` and `attributes`."""

    def __init__(self, code: ErrorCode, message: str, partial: Mapping[str, Any] | None = None, **details: Any):
        super().__init__(code, message, **details)
        self.partial = partial or {}


def new_message_id() -> str:
    """A unique id in the order of time (UUID version 7, RFC 9562; 6.2: counted within a millisecond).
    A random one would land anywhere in the store's index of messages seen, and make every commit write a page for each.
    """
    return _IDS.next(time.time_ns() // 1_000_000)


def now_text() -> str:
    """This moment as the `timestamp` of a message."""
    second, microseconds = divmod(time.time_ns() // 1_000, 1_000_000)
    return f"{_second_text(second)}.{microseconds:06d}Z"


@lru_cache(maxsize=1)
def _second_text(second: int) -> str:
    """Remembered, as most messages are of the same second as the one before."""
    return datetime.fromtimestamp(second, UTC).replace(tzinfo=None).isoformat()


def new_envelope(
    topic: str,
    source: str,
    payload: dict[str, Any],
    *,
    attributes: dict[str, str] | None = None,
    message_id: str | None = None,
) -> Envelope:
    """A fresh envelope for `topic`, stamped now, with a new id unless one is given."""
    return Envelope(
        message_id or new_message_id(),
        now_text(),
        source,
        topic,
        VERSION,
        attributes or {},
        payload,
    )


def encode(envelope: Envelope) -> bytes:
    """The body frame of `envelope`. Raises TypeError or OverflowError for a payload msgpack cannot carry."""
    body: bytes = msgpack.packb(_as_map(envelope, envelope.payload))
    return body


def _as_map(envelope: Envelope, payload: dict[str, Any] | None) -> dict[str, Any]:
    """Written out, as this is done for every message that leaves: `_asdict` takes three times as long."""
    return {
        "message_id": envelope.message_id,
        "timestamp": envelope.timestamp,
        "source": envelope.source,
        "message_type": envelope.message_type,
        "version": envelope.version,
        "attributes": envelope.attributes,
        "payload": payload,
    }


def encode_packed(envelope: Envelope, payload: bytes) -> bytes:
    """The body frame of `envelope` with `payload`, packed already, in place of its own: what is stored or passed on
    as msgpack need not be unpacked to be sent."""
    head: bytes = msgpack.packb(_as_map(envelope, None))
    # The payload comes last, and nothing is one byte.
    return head[:-1] + payload


def encode_signed(envelope: Envelope, payload: bytes) -> bytes:
    """The body frame of a signed message: `payload`, packed, travels as the bytes it is."""
    return encode_packed(envelope, bytes(msgpack.packb(payload)))


def decode(body: bytes | memoryview) -> Envelope:
    """The envelope in `body`; raises `Unreadable` for anything else, whatever the bytes are."""
    return read(body).envelope


def read(body: bytes | memoryview) -> Received:
    """As `decode`, with what is needed to check a signature."""
    if len(body) > limits.MAX_FRAME_BYTES:
        raise too_large(len(body), peek(body))
    raw, packed = _unpack(body), None
    if isinstance(raw, dict) and isinstance(raw.get("payload"), bytes) and _is_signed(raw.get("attributes")):
        packed = raw["payload"]
        raw["payload"] = _unpack(packed)
    return Received(checked(raw), MSGPACK, packed)


def too_large(size: int, partial: Mapping[str, Any]) -> Unreadable:
    """The refusal of a body of `size` bytes."""
    message = f"the message is {size} bytes long, at most {limits.MAX_FRAME_BYTES} are allowed"
    return Unreadable(ErrorCode.TOO_LARGE, message, partial)


def _is_signed(attributes: Any) -> bool:
    return isinstance(attributes, dict) and SIGNATURE in attributes


def _unpack(body: bytes | memoryview) -> Any:
    try:
        return msgpack.unpackb(
            body,
            max_str_len=limits.MAX_STRING_BYTES,
            max_bin_len=limits.MAX_FRAME_BYTES,
            max_array_len=limits.MAX_ITEMS,
            max_map_len=limits.MAX_ITEMS,
            max_ext_len=0,
            object_pairs_hook=_unique_keys,
        )
    # msgpack's errors share no base class (facts.md): ValueError covers most, the rest are listed.
    except (ValueError, TypeError, RecursionError, msgpack.exceptions.UnpackException) as error:
        reason = str(error) or type(error).__name__
        message = f"the body is not valid msgpack: {reason}"
        raise Unreadable(ErrorCode.INVALID_MESSAGE, message, peek(body)) from error


def peek(body: bytes | memoryview) -> dict[str, Any]:
    """What can be read of the head of a body that is no good as a whole: its sender is to be told."""
    found: dict[str, Any] = {}
    unpacker = msgpack.Unpacker(
        max_buffer_size=_PEEK_BYTES, max_str_len=limits.MAX_ID_CHARS, max_map_len=limits.MAX_ATTRIBUTES, max_ext_len=0
    )
    try:
        unpacker.feed(body[:_PEEK_BYTES])
        for _ in range(unpacker.read_map_header()):
            key = unpacker.unpack()
            if key in _PEEKED:
                found[key] = unpacker.unpack()
            else:
                unpacker.skip()
    except (ValueError, TypeError, RecursionError, msgpack.exceptions.UnpackException):
        # It ends where it ends; what came before is still worth something.
        return found
    return found


def _unique_keys(pairs: list[tuple[Any, Any]]) -> dict[Any, Any]:
    """A map, refused when a key stands in it twice: two readers could each believe a different one."""
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("a map holds the same key twice")
    return result


def checked(raw: Any) -> Envelope:
    """The envelope that `raw`, decoded, is; raises `Unreadable`."""
    if not isinstance(raw, dict):
        raise Unreadable(ErrorCode.INVALID_MESSAGE, f"the body must be a map, not {type(raw).__name__}")
    if raw.keys() != _FIELDS:
        missing, unknown = _FIELDS - raw.keys(), raw.keys() - _FIELDS
        words = [f"lacks {', '.join(sorted(missing))}"] if missing else []
        if unknown:
            shown = sorted(str(name)[: limits.MAX_NAME_CHARS] for name in unknown)
            more = f" and {len(shown) - _MAX_SHOWN} more" if len(shown) > _MAX_SHOWN else ""
            words.append(f"holds unknown {', '.join(shown[:_MAX_SHOWN])}{more}")
        raise Unreadable(
            ErrorCode.INVALID_MESSAGE,
            f"the envelope {' and '.join(words)}",
            raw,
            field=min(map(str, missing or unknown))[: limits.MAX_NAME_CHARS],
        )
    for field in ("message_id", "timestamp", "source", "message_type", "version"):
        value = raw[field]
        if not isinstance(value, str) or not value or len(value) > limits.MAX_ID_CHARS:
            message = f"{field} must be a string of 1 to {limits.MAX_ID_CHARS} characters"
            raise Unreadable(ErrorCode.INVALID_MESSAGE, message, raw, field=field)
    _check_attributes(raw)
    if not isinstance(raw["payload"], dict):
        raise Unreadable(ErrorCode.INVALID_MESSAGE, "payload must be a map", raw, field="payload")
    if not _is_plain(raw["payload"], limits.MAX_NESTING - 1):
        message = f"payload nests deeper than {limits.MAX_NESTING} levels or holds something that is not plain data"
        raise Unreadable(ErrorCode.INVALID_MESSAGE, message, raw, field="payload")
    return Envelope(**raw)


def _check_attributes(raw: dict[str, Any]) -> None:
    attributes = raw["attributes"]
    if (
        not isinstance(attributes, dict)
        or len(attributes) > limits.MAX_ATTRIBUTES
        or not all(isinstance(key, str) and isinstance(value, str) for key, value in attributes.items())
    ):
        message = f"attributes must map strings to strings, at most {limits.MAX_ATTRIBUTES} of them"
        raise Unreadable(ErrorCode.INVALID_MESSAGE, message, raw, field="attributes")


def _is_plain(value: Any, depth: int) -> bool:
    """Whether `value` holds only maps with string keys, arrays and scalars, at most `depth` levels of them."""
    inside: Iterable[Any]
    if isinstance(value, dict):
        if not set(map(type, value)) <= {str}:
            return False
        inside = value.values()
    elif isinstance(value, list):
        inside = value
    else:
        return type(value) in _SCALARS or (isinstance(value, bytes) and len(value) <= limits.MAX_STRING_BYTES)
    if depth == 0:
        return False
    # Most of what stands in a message is a scalar, and a call for each would be the larger part of reading it.
    return all(_is_plain(item, depth - 1) for item in inside if type(item) not in _SCALARS)


def check_portable(value: Any, levels: int) -> None:
    """Raises ValueError, TypeError or OverflowError unless a message can carry `value` where at most `levels` maps
    and arrays may stand inside one another, and every reader can decode it."""
    try:
        plain = _is_plain(_unpack(msgpack.packb(value)), levels)
    except Unreadable as error:
        raise ValueError(error.message) from error
    if not plain:
        raise ValueError(f"it nests deeper than {levels} levels or holds something that is not plain data")
