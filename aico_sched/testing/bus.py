"""A bus inside one program: no sockets, no keys, no broker; every message arrives, in order, at once."""

import asyncio
from collections import deque
from collections.abc import Callable


class MemoryBus:
    """A bus for tests. Everybody on it has the role `role`."""

    def __init__(self, role: str = "admin") -> None:
        self.role = role
        self.ends: list[MemoryEndpoint] = []

    def endpoint(self, name: str) -> "MemoryEndpoint":
        """A new place on the bus, for messages whose `source` is `name`."""
        return MemoryEndpoint(self, name)

    def role_of(self, name: str) -> str:
        """What `name` may do."""
        return self.role

    def carry(self, topic: str, body: bytes) -> None:
        """Deliver a message to everybody who listens for it."""
        for end in list(self.ends):
            end.deliver(topic, body)


class MemoryEndpoint:
    """As `aico_sched.bus.endpoint.BusEndpoint`, on a `MemoryBus`."""

    joined = True
    linked = True
    problem = ""

    def __init__(self, bus: MemoryBus, name: str) -> None:
        self._bus, self.name = bus, name
        self._prefixes: list[str] = []
        self._inbox: deque[tuple[str, bytes]] = deque()
        self._callback: Callable[[], None] | None = None
        self._call: asyncio.Handle | None = None

    @property
    def open(self) -> bool:
        """Between `connect` and `close`."""
        return self in self._bus.ends

    def connect(self) -> None:
        """Take part."""
        self._bus.ends.append(self)

    def close(self) -> None:
        """Leave; harmless when repeated."""
        if self.open:
            self._bus.ends.remove(self)
        if self._call is not None:
            self._call.cancel()
            self._call = None

    async def ready(self, timeout: float = 5.0) -> None:
        """At once: there is nothing in between."""

    def subscribe(self, prefix: str) -> None:
        """Receive every topic that begins with `prefix`."""
        self._prefixes.append(prefix)

    def unsubscribe(self, prefix: str) -> None:
        """Undo one `subscribe(prefix)`."""
        self._prefixes.remove(prefix)

    def on_readable(self, callback: Callable[[], None] | None) -> None:
        """Call `callback` soon after a message has come."""
        self._callback = callback
        self._soon()

    def receive(self, limit: int = 256) -> list[tuple[str, bytes]]:
        """Up to `limit` messages (topic, body) that are there."""
        messages = [self._inbox.popleft() for _ in range(min(limit, len(self._inbox)))]
        self._soon()
        return messages

    def send(self, topic: str, body: bytes) -> bool:
        """Publish; always true."""
        self._bus.carry(topic, body)
        return True

    def deliver(self, topic: str, body: bytes) -> None:
        """A message of the bus; kept if its topic is listened for."""
        if topic.startswith(tuple(self._prefixes)):
            self._inbox.append((topic, body))
            self._soon()

    def _soon(self) -> None:
        if self._inbox and self._call is None and self.open:
            self._call = asyncio.get_running_loop().call_soon(self._announce)

    def _announce(self) -> None:
        self._call = None
        if self._callback is not None:
            self._callback()
