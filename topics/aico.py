"""The codec of AICO's own bus: a protobuf `aico.core.AicoMessage` whose payload is a `google.protobuf.Struct` in `Any`.

A Struct knows no integers, only doubles. So a whole number comes back as an int, which every model that wants a float
takes as well; an integer that a double cannot hold travels as decimal text, and bytes as base64, as protobuf's own JSON
mapping has them.
"""

import base64
import math
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from google.protobuf import any_pb2, descriptor_pb2, descriptor_pool, message_factory, struct_pb2, timestamp_pb2
from google.protobuf.message import DecodeError, Message

from aico_sched.topics import limits
from aico_sched.topics.envelope import Envelope, Received, Unreadable, checked, too_large
from aico_sched.topics.errors import ErrorCode

AICO: Final = "aico"
FIRST_BYTE: Final = 0x0A
"""Field 1, length-delimited: the metadata comes first. No msgpack map begins so."""

_Field = descriptor_pb2.FieldDescriptorProto
_STRUCT: Final = "google.protobuf.Struct"
_URL: Final = f"type.googleapis.com/{_STRUCT}"
_EXACT: Final = 2**53
_PEEK_BYTES: Final = 8_192
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_PAYLOAD_LEVELS: Final = limits.MAX_NESTING - 1


def _field(name: str, number: int, kind: str, type_name: str | None = None, **more: Any) -> _Field:
    label = _Field.Label.Value(more.pop("label", "LABEL_OPTIONAL"))
    code = _Field.Type.Value(f"TYPE_{kind}")
    return _Field(name=name, number=number, type=code, label=label, type_name=type_name, **more)


def _message_class() -> type[Message]:
    """`AicoMessage`, in a pool of our own: in AICO's process the default pool holds AICO's definition of it."""
    metadata = descriptor_pb2.DescriptorProto(name="MessageMetadata")
    metadata.field.extend(
        [
            _field("message_id", 1, "STRING"),
            _field("timestamp", 2, "MESSAGE", ".google.protobuf.Timestamp"),
            _field("source", 3, "STRING"),
            _field("message_type", 4, "STRING"),
            _field("version", 5, "STRING"),
            _field("attributes", 6, "MESSAGE", ".aico.core.MessageMetadata.AttributesEntry", label="LABEL_REPEATED"),
        ]
    )
    entry = metadata.nested_type.add(name="AttributesEntry")
    entry.options.map_entry = True
    entry.field.extend([_field("key", 1, "STRING"), _field("value", 2, "STRING")])
    message = descriptor_pb2.DescriptorProto(name="AicoMessage")
    message.oneof_decl.add(name="payload")
    message.field.extend(
        [
            _field("metadata", 1, "MESSAGE", ".aico.core.MessageMetadata"),
            _field("any_payload", 2, "MESSAGE", ".google.protobuf.Any", oneof_index=0),
        ]
    )
    file = descriptor_pb2.FileDescriptorProto(
        name="aico_sched/aico_core.proto",
        package="aico.core",
        syntax="proto3",
        dependency=["google/protobuf/any.proto", "google/protobuf/timestamp.proto"],
        message_type=[metadata, message],
    )
    pool = descriptor_pool.DescriptorPool()
    for known in (any_pb2, timestamp_pb2):
        pool.AddSerializedFile(known.DESCRIPTOR.serialized_pb)
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("aico.core.AicoMessage"))


_AicoMessage: Final[Any] = _message_class()


def pack(payload: dict[str, Any]) -> bytes:
    """The payload as it travels, which is what a signature is over. Raises TypeError for what is no plain data."""
    struct = struct_pb2.Struct()
    _fill(struct, payload)
    # Maps have no order of their own; two runs should yield the same bytes.
    return struct.SerializeToString(deterministic=True)


def encode_packed(envelope: Envelope, packed: bytes) -> bytes:
    """The body frame of `envelope` with a payload that `pack` has made."""
    message = _AicoMessage()
    metadata = message.metadata
    metadata.message_id, metadata.source = envelope.message_id, envelope.source
    metadata.message_type, metadata.version = envelope.message_type, envelope.version
    since = datetime.fromisoformat(envelope.timestamp) - _EPOCH
    metadata.timestamp.seconds = since.days * 86_400 + since.seconds
    metadata.timestamp.nanos = since.microseconds * 1_000
    metadata.attributes.update(envelope.attributes)
    message.any_payload.type_url = _URL
    message.any_payload.value = packed
    body: bytes = message.SerializeToString()
    return body


def encode(envelope: Envelope) -> bytes:
    """The body frame of `envelope`. Raises TypeError for a payload that is no plain data."""
    return encode_packed(envelope, pack(envelope.payload))


def read(body: bytes) -> Received:
    """The message in `body`; raises `Unreadable` for anything else, whatever the bytes are."""
    if len(body) > limits.MAX_FRAME_BYTES:
        raise too_large(len(body), peek(body))
    message = _AicoMessage()
    try:
        message.ParseFromString(body)
    # protobuf's C code has raised each of these for bytes that are no message.
    except (DecodeError, ValueError, RecursionError) as error:
        raise Unreadable(ErrorCode.INVALID_MESSAGE, "the body is no AicoMessage", peek(body)) from error
    raw = _metadata(message.metadata)
    raw["payload"] = _payload(message, raw)
    return Received(checked(raw), AICO, message.any_payload.value)


def source_of(body: bytes) -> str | None:
    """Who a message says it is from, its payload not decoded; None when that cannot be read."""
    message = _AicoMessage()
    try:
        message.ParseFromString(body)
    except (DecodeError, ValueError, RecursionError):
        return None
    return message.metadata.source or None


def peek(body: bytes) -> dict[str, Any]:
    """What can be read of the metadata of a body that is no good as a whole: its sender is to be told."""
    length, start = 0, 1
    for shift in (0, 7):
        if start >= len(body):
            return {}
        length |= (body[start] & 0x7F) << shift
        start += 1
        if body[start - 1] < 0x80:
            break
    if body[:1] != bytes([FIRST_BYTE]) or length > _PEEK_BYTES or start + length > len(body):
        return {}
    message = _AicoMessage()
    try:
        message.ParseFromString(body[: start + length])
    except (DecodeError, ValueError, RecursionError):
        return {}
    raw = _metadata(message.metadata)
    return {name: raw[name] for name in ("message_id", "source", "attributes") if raw[name]}


def _metadata(metadata: Any) -> dict[str, Any]:
    return {
        "message_id": metadata.message_id,
        "timestamp": _time(metadata.timestamp) if metadata.HasField("timestamp") else "",
        "source": metadata.source,
        "message_type": metadata.message_type,
        "version": metadata.version,
        "attributes": dict(metadata.attributes),
    }


def _time(timestamp: Any) -> str:
    """RFC 3339 UTC with six digits, nine where the nanoseconds need them; empty for no real time."""
    if not 0 <= timestamp.nanos < 1_000_000_000:
        return ""
    try:
        moment = _EPOCH + timedelta(seconds=timestamp.seconds)
    except OverflowError:
        return ""
    digits = f"{timestamp.nanos:09}".removesuffix("000")
    return f"{moment.replace(tzinfo=None).isoformat(timespec='seconds')}.{digits}Z"


def _payload(message: Any, raw: dict[str, Any]) -> dict[str, Any]:
    if not message.HasField("any_payload"):
        return {}
    kind = message.any_payload.type_url.rpartition("/")[2]
    if kind != _STRUCT:
        text = f"the payload must be a {_STRUCT}, not {kind[: limits.MAX_NAME_CHARS]!r}"
        raise Unreadable(ErrorCode.INVALID_MESSAGE, text, raw, field="payload")
    struct = struct_pb2.Struct()
    try:
        struct.ParseFromString(message.any_payload.value)
        return _plain_map(struct.fields, _PAYLOAD_LEVELS)
    except _TooMuch as error:
        raise Unreadable(ErrorCode.INVALID_MESSAGE, f"the payload {error}", raw, field="payload") from None
    except (DecodeError, ValueError, RecursionError) as error:
        raise Unreadable(ErrorCode.INVALID_MESSAGE, "the payload is no Struct", raw, field="payload") from error


class _TooMuch(Exception):
    """A payload beyond the contract's limits; the message is the predicate of a sentence."""


def _plain_map(fields: Any, levels: int) -> dict[str, Any]:
    if len(fields) > limits.MAX_ITEMS:
        raise _TooMuch(f"holds a map of more than {limits.MAX_ITEMS} entries")
    return {key: _plain(value, levels - 1) for key, value in fields.items()}


def _plain(value: Any, levels: int) -> Any:
    kind = value.WhichOneof("kind")
    if kind == "string_value":
        text: str = value.string_value
        if len(text) > limits.MAX_STRING_BYTES or (not text.isascii() and len(text.encode()) > limits.MAX_STRING_BYTES):
            raise _TooMuch(f"holds a text of more than {limits.MAX_STRING_BYTES} bytes")
        return text
    if kind == "number_value":
        number: float = value.number_value
        return int(number) if math.isfinite(number) and number.is_integer() and abs(number) <= _EXACT else number
    if kind == "bool_value":
        return value.bool_value
    if kind in (None, "null_value"):
        return None
    if levels <= 0:
        raise _TooMuch(f"nests deeper than {limits.MAX_NESTING} levels")
    if kind == "struct_value":
        return _plain_map(value.struct_value.fields, levels)
    items = value.list_value.values
    if len(items) > limits.MAX_ITEMS:
        raise _TooMuch(f"holds a list of more than {limits.MAX_ITEMS} entries")
    return [_plain(item, levels - 1) for item in items]


def _fill(struct: struct_pb2.Struct, payload: dict[str, Any]) -> None:
    fields = struct.fields
    for key, value in payload.items():
        _set(fields[key], value)


def _set(target: struct_pb2.Value, value: Any) -> None:
    if value is None:
        target.null_value = struct_pb2.NULL_VALUE
    elif isinstance(value, bool):
        target.bool_value = value
    elif isinstance(value, str):
        target.string_value = value
    elif isinstance(value, int):
        if abs(value) <= _EXACT:
            target.number_value = value
        else:
            target.string_value = str(value)
    elif isinstance(value, float):
        target.number_value = value
    elif isinstance(value, dict):
        target.struct_value.SetInParent()
        _fill(target.struct_value, value)
    elif isinstance(value, list | tuple):
        target.list_value.SetInParent()
        for item in value:
            _set(target.list_value.values.add(), item)
    elif isinstance(value, bytes):
        target.string_value = base64.b64encode(value).decode("ascii")
    else:
        raise TypeError(f"a message cannot carry a {type(value).__name__}")
