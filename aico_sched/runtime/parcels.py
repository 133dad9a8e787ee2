"""How messages lie in a mailbox: each by itself, or several of one topic, which a turn sent one after the other, as one
parcel. To send, count and fetch them one by one costs more than to pack them."""

from collections.abc import Callable, Iterable, Iterator
from struct import Struct
from typing import Any, Final, NamedTuple

import msgpack
import zmq

from aico_sched.runtime.readiness import NOW

MOST: Final = 100
"""Messages in a parcel, which takes the room of one in a mailbox."""

MOST_BYTES: Final = 64 * 1024
"""Bytes after which a parcel takes no further message, so that a full mailbox holds no more than as many of the largest
single messages."""

_SEVERAL: Final = b"+"
"""Before the topic of several messages; no topic begins with it."""

_ARRAY_HEADER: Final = Struct(">BI")
_ARRAY_32: Final = 0xDD

Letter = tuple[str, bytes]
"""A message as its actor gets it: the topic, and the message packed."""


class Parcel(NamedTuple):
    """The two frames that are sent, and how many messages they hold."""

    topic: bytes
    body: bytes
    messages: int = 1

    @classmethod
    def of(cls, topic: str, bodies: list[bytes]) -> "Parcel":
        """One of messages that are packed already."""
        if len(bodies) == 1:
            return cls(topic.encode(), bodies[0])
        return cls(_SEVERAL + topic.encode(), msgpack.packb(bodies), len(bodies))


def parcels(topic: str, bodies: Iterable[bytes]) -> Iterator[Parcel]:
    """Packed messages of `topic`, in order, in as few parcels as may be."""
    together: list[bytes] = []
    size = 0
    for body in bodies:
        if together and (len(together) == MOST or size + len(body) > MOST_BYTES):
            yield Parcel.of(topic, together)
            together, size = [], 0
        together.append(body)
        size += len(body)
    if together:
        yield Parcel.of(topic, together)


def take(mailbox: "zmq.Socket[bytes]", wanted: int) -> list[Letter]:
    """Messages that are there now, without waiting: parcels until there are `wanted`. Fewer mean that it is empty."""
    letters: list[Letter] = []
    receive = mailbox.recv
    try:
        while len(letters) < wanted:
            # Always two; asking whether more follow takes longer than reading them.
            topic, body = receive(NOW), receive(NOW)
            if topic.startswith(_SEVERAL):
                name = topic[1:].decode()
                letters += [(name, each) for each in msgpack.unpackb(body)]
            else:
                letters.append((topic.decode(), body))
    except zmq.Again:
        pass
    return letters


def pack(message: tuple[Any, ...]) -> bytes:
    """A message between actors as msgpack; a NamedTuple becomes an array."""
    packed: bytes = msgpack.packb(message)
    return packed


def unpack(kind: Callable[..., Any], body: bytes) -> Any:
    """The message of type `kind` in `body`. No limits: it was packed in this process."""
    return kind(*msgpack.unpackb(body, strict_map_key=False))


def unpack_all(kind: Callable[..., Any], bodies: list[bytes]) -> list[Any]:
    """As `unpack` of each, read in one go: what is packed one after the other is an array if a header says so."""
    if len(bodies) == 1:
        return [unpack(kind, bodies[0])]
    header = _ARRAY_HEADER.pack(_ARRAY_32, len(bodies))
    return [kind(*fields) for fields in msgpack.unpackb(header + b"".join(bodies), strict_map_key=False)]
