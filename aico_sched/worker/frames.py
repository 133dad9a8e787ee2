"""How parent and child talk: a length in four bytes, then that many bytes of msgpack."""

import struct
from typing import Any, Final

import msgpack

LENGTH: Final = struct.Struct("!I")
MAX_BYTES: Final = 256 * 1024 * 1024
"""A frame that claims to be longer is a mistake, and its memory is never asked for."""


def pack(message: dict[str, Any]) -> bytes:
    """One frame. Raises ValueError for a message that is too long."""
    body = msgpack.packb(message)
    if len(body) > MAX_BYTES:
        raise ValueError(f"a message to or from a worker has at most {MAX_BYTES} bytes, this one {len(body)}")
    return LENGTH.pack(len(body)) + body


def unpack(body: bytes) -> dict[str, Any]:
    """What `pack` was given; maps may have integer keys."""
    message: dict[str, Any] = msgpack.unpackb(body, strict_map_key=False)
    return message


def length_of(head: bytes) -> int:
    """The length that a frame's first bytes announce. Raises ValueError for one that is too long."""
    length: int = LENGTH.unpack(head)[0]
    if length > MAX_BYTES:
        raise ValueError(f"a message to or from a worker has at most {MAX_BYTES} bytes, this one {length}")
    return length
