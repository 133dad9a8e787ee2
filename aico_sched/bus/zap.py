"""Admission to the broker: ZeroMQ asks here (ZAP, RFC 27) about every key that wants to connect.

`zmq.auth.asyncio.AsyncioAuthenticator` answers the same questions from a task that the first exception ends, after
which nobody can connect any more. This one is a callback: an exception costs the one request it happened in, which
is refused. A ROUTER socket has no request-reply lockstep that a failed answer could leave stuck.
"""

from collections.abc import Callable
from typing import Final

import structlog
import zmq
from zmq.utils import z85

from aico_sched.bus.sockets import Context, open_socket
from aico_sched.runtime.readiness import Readiness, drain

log = structlog.get_logger(__name__)

ENDPOINT: Final = "inproc://zeromq.zap.01"
"""Fixed by ZeroMQ, one per context: two brokers in one process need two contexts."""

_BATCH: Final = 64
_VERSION: Final = b"1.0"

Admit = Callable[[str, str], str | None]
"""Called with (public key in Z85, address); the name of the client, or None to refuse."""


class ZapInUse(RuntimeError):
    """Another broker or authenticator answers for this ZeroMQ context."""

    def __init__(self) -> None:
        super().__init__("this ZeroMQ context has an authenticator already; give each broker a zmq.Context of its own")


class ZapGate:
    """Answers for the CURVE sockets of `domain` in `context`; `admit` decides, and its exceptions refuse."""

    def __init__(self, context: Context, domain: str, admit: Admit) -> None:
        self._domain, self._admit = domain.encode(), admit
        self._socket = open_socket(context, zmq.ROUTER)
        try:
            self._socket.bind(ENDPOINT)
        except zmq.ZMQError as error:
            self._socket.close()
            if error.errno == zmq.EADDRINUSE:
                raise ZapInUse from error
            raise
        self._readiness = Readiness(self._socket, self._wake)
        self.failures = 0

    def close(self) -> None:
        """Stop answering. Sockets that enforce their domain admit nobody from now on."""
        self._readiness.close()
        self._socket.close()

    def _wake(self) -> None:
        while requests := drain(self._socket, _BATCH):
            for request in requests:
                try:
                    self._answer(request)
                except Exception:
                    # One request that cannot even be refused must not end admission for everybody else.
                    self.failures += 1
                    log.exception("zap.answer_failed")

    def _answer(self, frames: list[bytes]) -> None:
        if len(frames) < 4:
            raise ValueError(f"a ZAP request of {len(frames)} frames")
        envelope, request_id = frames[:2], frames[3]
        try:
            status, name = self._decide(frames[2:])
        except Exception:
            self.failures += 1
            log.exception("zap.decision_failed")
            # 300, "try again", because after 400 or 500 ZeroMQ's client never does, and the fault is ours.
            status, name = b"300", ""
        text = b"OK" if status == b"200" else b"refused"
        self._socket.send_multipart([*envelope, _VERSION, request_id, status, text, name.encode(), b""], zmq.NOBLOCK)

    def _decide(self, request: list[bytes]) -> tuple[bytes, str]:
        if len(request) != 7 or request[0] != _VERSION:
            return b"400", ""
        domain, address, mechanism, key = request[2], request[3], request[5], request[6]
        if domain != self._domain or mechanism != b"CURVE" or len(key) != 32:
            return b"400", ""
        name = self._admit(z85.encode(key).decode("ascii"), address.decode("utf-8", "replace"))
        return (b"400", "") if name is None else (b"200", name)
