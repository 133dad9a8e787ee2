"""The options every socket of the bus needs; ZeroMQ's defaults wait for ever and limit nothing (facts: pyzmq)."""

from typing import Final

import zmq

from aico_sched.security.keys import CurveIdentity
from aico_sched.topics import limits

HIGH_WATER: Final = 100_000
"""Messages that may wait on one connection, each way."""

MAX_WIRE_BYTES: Final = 2 * limits.MAX_FRAME_BYTES
"""A larger frame ends its connection inside ZeroMQ. It is above the contract's own limit so that a message somewhat
too large can be refused by name rather than by a broken connection."""

RECONNECT_MS: Final = 50
RECONNECT_MAX_MS: Final = 1_000

_HEARTBEAT_MS: Final = 5_000
_DEAD_AFTER_MS: Final = 15_000
_HANDSHAKE_MS: Final = 2_000
"""Also how soon a client tries again whose admission failed by our own fault (ZAP status 300)."""


Context = zmq.Context[zmq.Socket[bytes]]
Socket = zmq.Socket[bytes]


def open_socket(context: Context, kind: int, *, high_water: int = HIGH_WATER, ipv6: bool = False) -> Socket:
    """A plain (not asyncio) socket of `kind` with bounded queues, frames and waits. The caller closes it."""
    socket: Socket = context.socket(kind, socket_class=zmq.Socket)
    socket.setsockopt(zmq.LINGER, 0)
    socket.setsockopt(zmq.SNDHWM, high_water)
    socket.setsockopt(zmq.RCVHWM, high_water)
    socket.setsockopt(zmq.MAXMSGSIZE, MAX_WIRE_BYTES)
    socket.setsockopt(zmq.HEARTBEAT_IVL, _HEARTBEAT_MS)
    socket.setsockopt(zmq.HEARTBEAT_TIMEOUT, _DEAD_AFTER_MS)
    socket.setsockopt(zmq.HEARTBEAT_TTL, _DEAD_AFTER_MS)
    socket.setsockopt(zmq.HANDSHAKE_IVL, _HANDSHAKE_MS)
    socket.setsockopt(zmq.IPV6, int(ipv6))
    return socket


def make_client(socket: Socket, server_key: str | None, identity: CurveIdentity | None) -> None:
    """Set `socket` up to connect: with CURVE if there is a server key (Z85), under a random key if no identity."""
    socket.setsockopt(zmq.RECONNECT_IVL, RECONNECT_MS)
    socket.setsockopt(zmq.RECONNECT_IVL_MAX, RECONNECT_MAX_MS)
    if server_key is None:
        return
    socket.setsockopt(zmq.CURVE_SERVERKEY, server_key.encode())
    if identity is None:
        keys = zmq.curve_keypair()
        socket.setsockopt(zmq.CURVE_PUBLICKEY, keys[0])
        socket.setsockopt(zmq.CURVE_SECRETKEY, keys[1])
    else:
        identify(socket, identity)


def identify(socket: Socket, identity: CurveIdentity) -> None:
    """Use this key for the connections that `socket` makes from now on."""
    # No variable holds the secret: a traceback with its locals may be logged.
    socket.setsockopt(zmq.CURVE_PUBLICKEY, identity.public.encode())
    socket.setsockopt(zmq.CURVE_SECRETKEY, identity.secret.encode())
