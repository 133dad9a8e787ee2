"""Who a message body says it is from, read without decoding its payload."""

from collections.abc import Callable
from typing import Final

import msgpack

from aico_sched.topics import limits

SourcePeek = Callable[[bytes], str | None]
"""The `source` in a body, or None when there is none to be read."""

_MAX_FIELDS: Final = 7
_BUFFER_BYTES: Final = 2 * limits.MAX_FRAME_BYTES


class SourceReader:
    """Finds `source` in bodies of either codec; `protobuf` reads the ones that begin like an `AicoMessage`, which are
    unreadable without it. One instance serves one thread.
    """

    def __init__(self, protobuf: SourcePeek | None = None) -> None:
        self._protobuf = protobuf
        self._reset()

    def __call__(self, body: bytes) -> str | None:
        """The one `source` of `body`, or None: not an envelope, no source, two of them, bytes after the end."""
        if body[:1] == b"\n":
            return self._protobuf(body) if self._protobuf is not None else None
        return self._msgpack(body)

    def _reset(self) -> None:
        # Kept between messages: making one costs as much as reading a whole small body.
        self._unpacker = msgpack.Unpacker(max_buffer_size=_BUFFER_BYTES, max_str_len=limits.MAX_FRAME_BYTES)
        self._position = 0

    def _msgpack(self, body: bytes) -> str | None:
        unpacker = self._unpacker
        try:
            unpacker.feed(body)
            source = self._walk(unpacker)
        # msgpack's errors share no base class (facts: msgpack); after any of them the stream's place is lost.
        except (ValueError, TypeError, RecursionError, msgpack.exceptions.UnpackException, msgpack.BufferFull):
            self._reset()
            return None
        if unpacker.tell() - self._position != len(body):
            self._reset()
            return None
        self._position += len(body)
        return source

    def _walk(self, unpacker: "msgpack.Unpacker") -> str | None:
        fields = unpacker.read_map_header()
        if fields > _MAX_FIELDS:
            raise ValueError("more fields than an envelope has")
        found: str | None = None
        for _ in range(fields):
            if unpacker.unpack() != "source":
                unpacker.skip()
                continue
            value = unpacker.unpack()
            if found is not None or not isinstance(value, str):
                raise ValueError("not one source")
            found = value
        return found
