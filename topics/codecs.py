"""The codecs of the bus, told apart by the first byte of a body. protobuf is loaded with the first message that needs
it: that takes longer than the rest of a command line's start."""

from typing import Any, Final, Literal, Protocol

import msgpack

from aico_sched.topics import envelope as msgpack_codec
from aico_sched.topics.envelope import MSGPACK, SIGNATURE, Envelope, Received

AICO: Final = "aico"
Codec = Literal["msgpack", "aico"]


class Sign(Protocol):
    """Makes the signature of a message whose payload travels as `packed`."""

    def __call__(self, topic: str, envelope: Envelope, packed: bytes) -> str: ...


def codec_of(body: bytes) -> Codec:
    """Which codec a body is in, going by its first byte."""
    return "aico" if body[:1] == b"\n" else "msgpack"


def read(body: bytes) -> Received:
    """The message in `body`, in whichever codec; raises `Unreadable`."""
    if body[:1] != b"\n":
        return msgpack_codec.read(body)
    from aico_sched.topics import aico

    return aico.read(body)


def decode(body: bytes) -> Envelope:
    """The envelope in `body`, in whichever codec; raises `Unreadable`."""
    return read(body).envelope


def source_of_aico(body: bytes) -> str | None:
    """Who an `AicoMessage` says it is from; for the broker's checks."""
    from aico_sched.topics import aico

    return aico.source_of(body)


def write(
    topic: str, envelope: Envelope, codec: str, *, packed: bytes | None = None, sign: Sign | None = None
) -> bytes:
    """The body of a message for `topic`. `packed` is its payload as msgpack where that exists already; `sign` adds a
    signature. Raises TypeError, ValueError or OverflowError for a payload that cannot be carried."""
    if codec == MSGPACK:
        if packed is None and sign is None:
            return msgpack_codec.encode(envelope)
        content = bytes(msgpack.packb(envelope.payload)) if packed is None else packed
        if sign is None:
            return msgpack_codec.encode_packed(envelope, content)
        return msgpack_codec.encode_signed(_signed(topic, envelope, content, sign), content)
    from aico_sched.topics import aico

    payload: dict[str, Any] = envelope.payload if packed is None else msgpack.unpackb(packed)
    content = aico.pack(payload)
    if sign is not None:
        envelope = _signed(topic, envelope, content, sign)
    return aico.encode_packed(envelope, content)


def _signed(topic: str, envelope: Envelope, packed: bytes, sign: Sign) -> Envelope:
    return envelope._replace(attributes={**envelope.attributes, SIGNATURE: sign(topic, envelope, packed)})
