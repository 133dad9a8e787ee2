"""The place on a hosted bus for the program that hosts it: in and out without a socket of its own.

What others publish passes the broker's checks before it arrives here; what is sent from here is the host's own word
and is not checked. It spares two hops through TCP and CURVE for every message.
"""

from collections import deque
from collections.abc import Callable
from typing import Final, NamedTuple, Protocol

from aico_sched.bus.refusal import Reason
from aico_sched.topics.errors import ErrorCode

ROOM: Final = 10_000
"""Messages that may wait for the host; at that the broker reads no more from publishers, whose sockets then fill."""


REFUSALS: Final = 1_000
"""Refusals that may wait for the host; they come at a bounded rate, and the oldest goes first."""

_CODES: Final = {
    Reason.TOO_LARGE: ErrorCode.TOO_LARGE,
    Reason.FORBIDDEN: ErrorCode.PERMISSION_DENIED,
    Reason.SOURCE: ErrorCode.PERMISSION_DENIED,
    Reason.UNKNOWN_KEY: ErrorCode.PERMISSION_DENIED,
    Reason.RATE: ErrorCode.RATE_LIMITED,
}


class BusRefusal(NamedTuple):
    """What the broker refused to the key `name`: to `publish` a message, whose sender the host can tell; to `subscribe`
    to a prefix; to `connect`, where `name` is an address if the key is unknown."""

    name: str
    topic: str
    code: ErrorCode
    reason: str
    body: bytes
    action: str = "publish"


class Outlet(Protocol):
    """The broker's side: where messages go out."""

    def send_local(self, topic: bytes, body: bytes) -> bool:
        """Pass a message on to whoever subscribes to it; False while the bus is being opened anew."""

    def resume(self) -> None:
        """Read on: there is room again."""


class LocalEndpoint:
    """As `BusEndpoint`, for the host of the broker. Lives as long as the broker does."""

    def __init__(self, outlet: Outlet) -> None:
        self._outlet = outlet
        self._prefixes: tuple[bytes, ...] = ()
        self._inbox: deque[tuple[str, bytes]] = deque()
        self._refused: deque[BusRefusal] = deque(maxlen=REFUSALS)
        self._callback: Callable[[], None] | None = None

    def connect(self) -> None:
        """Take part from now on."""
        self._inbox.clear()

    def close(self) -> None:
        """Take no further messages; those that wait are dropped, as with a socket."""
        self._prefixes, self._callback = (), None
        self._inbox.clear()
        self._outlet.resume()

    def subscribe(self, prefix: str) -> None:
        """Take every message whose topic starts with `prefix`."""
        self._prefixes = (*self._prefixes, prefix.encode())

    async def ready(self, timeout: float) -> None:
        """At once: there is nothing between here and the broker."""

    def send(self, topic: str, body: bytes) -> bool:
        """Publish; False while the bus is being opened anew."""
        return self._outlet.send_local(topic.encode(), body)

    def receive(self, limit: int) -> list[tuple[str, bytes]]:
        """Up to `limit` messages that are there now."""
        inbox = self._inbox
        was_full = self.full
        messages = [inbox.popleft() for _ in range(min(limit, len(inbox)))]
        if was_full and not self.full:
            self._outlet.resume()
        return messages

    def take_refusals(self) -> list[BusRefusal]:
        """What the broker refused since the last call."""
        refusals = list(self._refused)
        self._refused.clear()
        return refusals

    def on_readable(self, callback: Callable[[], None]) -> None:
        """Call `callback` whenever a message has come."""
        self._callback = callback
        if self._inbox:
            callback()

    # For the broker.

    @property
    def full(self) -> bool:
        """Whether no more should be delivered."""
        return len(self._inbox) >= ROOM

    def deliver(self, topic: bytes, body: bytes) -> None:
        """A message that passed the checks; kept if somebody here subscribed to it."""
        if topic.startswith(self._prefixes):
            self._inbox.append((topic.decode(), body))
            if self._callback is not None:
                self._callback()

    def refused(self, name: str, topic: str, reason: Reason, body: bytes, action: str = "publish") -> None:
        """Something that did not pass the checks."""
        code = _CODES.get(reason, ErrorCode.INVALID_MESSAGE)
        self._refused.append(BusRefusal(name, topic, code, reason.value, body, action))
        if self._callback is not None:
            self._callback()
