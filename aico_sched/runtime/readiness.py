"""Waiting for ZeroMQ sockets on an asyncio loop without losing a wake-up.

A ZeroMQ socket's file descriptor is edge-triggered (zmq_getsockopt(3), ZMQ_FD): it becomes readable once when
the socket's state changes, and any send or receive on the socket may consume that. The rule that follows, and
that every reader here keeps: read until `zmq.Again`, and after a send look at `has_input` before waiting.
"""

import asyncio
from collections.abc import Callable
from typing import Final

import zmq

NOW: Final = int(zmq.NOBLOCK)
NOW_AND_MORE: Final = int(zmq.NOBLOCK | zmq.SNDMORE)
"""Plain numbers: to combine and convert ZeroMQ's enumerations costs more than the send itself."""


class Readiness:
    """Calls `wake` on the running loop whenever `socket` may have something to read (or room to write)."""

    __slots__ = ("_descriptor", "_loop", "_socket")

    def __init__(self, socket: "zmq.Socket[bytes]", wake: Callable[[], None]) -> None:
        self._socket = socket
        self._loop = asyncio.get_running_loop()
        self._descriptor = int(socket.getsockopt(zmq.FD))
        self._loop.add_reader(self._descriptor, wake)

    def has_input(self) -> bool:
        """Whether a receive would succeed now."""
        return bool(int(self._socket.getsockopt(zmq.EVENTS)) & zmq.POLLIN)

    def has_room(self) -> bool:
        """Whether a send would succeed now."""
        return bool(int(self._socket.getsockopt(zmq.EVENTS)) & zmq.POLLOUT)

    def close(self) -> None:
        """Stop watching; call it before the socket is closed."""
        self._loop.remove_reader(self._descriptor)


def drain(socket: "zmq.Socket[bytes]", limit: int) -> list[list[bytes]]:
    """Up to `limit` messages that are there now, without waiting. Fewer than `limit` means it is empty."""
    messages: list[list[bytes]] = []
    receive = socket.recv
    try:
        while len(messages) < limit:
            # As frames, which know whether more follow; asking the socket takes longer.
            frame = receive(NOW, copy=False)
            message = [frame.bytes]
            while frame.more:
                frame = receive(NOW, copy=False)
                message.append(frame.bytes)
            messages.append(message)
    except zmq.Again:
        pass
    return messages
