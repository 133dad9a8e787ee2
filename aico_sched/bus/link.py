"""What a socket's monitor tells about its connection: the only place where ZeroMQ says why there is none."""

from collections.abc import Callable
from typing import Final

import zmq
from zmq.utils.monitor import parse_monitor_message

from aico_sched.bus.sockets import Socket
from aico_sched.runtime.readiness import Readiness, drain

_EVENTS: Final = (
    zmq.EVENT_CONNECTED
    | zmq.EVENT_CLOSED
    | zmq.EVENT_DISCONNECTED
    | zmq.EVENT_HANDSHAKE_SUCCEEDED
    | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
    | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
    | zmq.EVENT_HANDSHAKE_FAILED_AUTH
)
_FAILURES: Final = {
    zmq.EVENT_HANDSHAKE_FAILED_AUTH: "the broker refused the key: it is unknown there, revoked, or of another bus",
    zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL: "the handshake failed: the other end does not speak CURVE as configured",
    zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL: "the handshake failed: the server's public key is wrong, or it wants one",
}
_BATCH: Final = 64
_NOTHING: Final = "nothing listens there"


class Link:
    """Follows the connection of `socket` to `endpoint`. Make it before `connect`, close it before the socket.
    `on_change` is called when the connection comes or goes, `on_refused` when the broker does not know the key; ZeroMQ
    then gives up."""

    def __init__(
        self, socket: Socket, endpoint: str, on_change: Callable[[], None], on_refused: Callable[[], None]
    ) -> None:
        self._socket, self.endpoint, self._on_change, self._on_refused = socket, endpoint, on_change, on_refused
        self._monitor = socket.get_monitor_socket(_EVENTS)
        self._readiness = Readiness(self._monitor, self.refresh)
        self.up = False
        self._problem = _NOTHING
        self.connections = 0
        # A pipe that nobody has tried to read gives no wake-up for its first message.
        self.refresh()

    @property
    def problem(self) -> str:
        """Why there is no connection, for people; empty when there is one."""
        return "" if self.up else self._problem

    def refresh(self) -> None:
        """Take in what has happened until now."""
        while messages := drain(self._monitor, _BATCH):
            for frames in messages:
                self._note(zmq.Event(parse_monitor_message(frames)["event"]))

    def close(self) -> None:
        self._readiness.close()
        self._socket.disable_monitor()
        self._monitor.close()

    def _note(self, event: zmq.Event) -> None:
        before = self.up
        self._apply(event)
        if self.up != before:
            self._on_change()

    def _apply(self, event: zmq.Event) -> None:
        if event == zmq.EVENT_HANDSHAKE_SUCCEEDED:
            self.up = True
            self.connections += 1
        elif event == zmq.EVENT_DISCONNECTED:
            if self.up:
                self._problem = "the connection was lost"
            self.up = False
        elif event == zmq.EVENT_CLOSED and not self.up:
            # An attempt to connect failed; a connection that ends is reported as disconnected.
            self._problem = _NOTHING
        elif event == zmq.EVENT_CONNECTED and self._problem == _NOTHING:
            self._problem = "the other end accepts connections but does not complete the handshake"
        elif event in _FAILURES:
            self._problem = _FAILURES[event]
            if event == zmq.EVENT_HANDSHAKE_FAILED_AUTH:
                self._on_refused()
