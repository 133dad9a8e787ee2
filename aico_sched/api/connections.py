"""How many connections there may be, and how long one may take to say what it wants.

uvicorn bounds neither: its `limit_concurrency` refuses requests and keeps the connections, and its only timer begins
after a first answer. Somebody who opens connections and says nothing, or a byte now and then, would use up the
process's files, which the scheduler beside it needs too.
"""

import asyncio
from typing import Any, Final

import h11
import structlog
from uvicorn.protocols.http.h11_impl import H11Protocol

log = structlog.get_logger(__name__)

MAX_CONNECTIONS: Final = 256

REQUEST_SECONDS: Final = 10.0
"""From the first moment of a connection, or the end of the answer before, to the last byte of a request."""

_LINGER_SECONDS: Final = 1.0

_FULL: Final = (
    b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: text/plain; charset=utf-8\r\nconnection: close\r\n"
    b"retry-after: 5\r\n\r\nThere are too many connections.\n"
)


class Connections:
    """The connections of one server."""

    def __init__(self, limit: int, seconds: float) -> None:
        self.limit, self.seconds = limit, seconds
        self.asking: dict[Connection, None] = {}
        """Those whose request is not here yet, the one that has taken longest first."""
        self.refused = 0


class Connection(H11Protocol):
    """One connection. Its deadline runs while its request is not here as a whole; an answer, a stream of events
    among them, may take as long as it likes. Where there are too many, the one that has taken longest for its
    request makes room."""

    def __init__(self, all_of_them: Connections, **given: Any) -> None:
        super().__init__(**given)
        self._all = all_of_them
        self._deadline: asyncio.TimerHandle | None = None
        self._leaving: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Let it in, if there is room or can be."""
        if len(self.connections) >= self._all.limit:
            slowest = next(iter(self._all.asking), None)
            if slowest is None:
                self._refuse(transport)
                return
            slowest.drop("too many connections")
        super().connection_made(transport)
        self._look()

    def _refuse(self, transport: asyncio.Transport) -> None:
        """Say why, and go when the other side does: to close with its request unread would take the answer with it."""
        self.transport = transport
        if self._all.refused >= self._all.limit:
            transport.abort()
            return
        self._all.refused += 1
        self._leaving = self.loop.call_later(_LINGER_SECONDS, transport.abort)
        transport.write(_FULL)
        transport.write_eof()

    def data_received(self, data: bytes) -> None:
        """What one that was refused says is of no interest."""
        if self._leaving is None:
            super().data_received(data)

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing waits for it any more."""
        if self._leaving is not None:
            self._leaving.cancel()
            self._leaving = None
            self._all.refused -= 1
        self._answering()
        super().connection_lost(exc)

    def handle_events(self) -> None:
        """Called with each piece of a request."""
        super().handle_events()
        self._look()

    def on_response_complete(self) -> None:
        """The next request may come."""
        super().on_response_complete()
        self._look()

    def drop(self, why: str) -> None:
        """End it without an answer."""
        log.info("web_connection_dropped", why=why, client=self.client)
        self._answering()
        self.connections.discard(self)
        self.transport.abort()

    def _look(self) -> None:
        if self.transport.is_closing() or self.conn.their_state not in (h11.IDLE, h11.SEND_BODY):
            self._answering()
        elif self._deadline is None:
            self._all.asking[self] = None
            self._deadline = self.loop.call_later(self._all.seconds, self.drop, "no whole request in time")

    def _answering(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
            del self._all.asking[self]
