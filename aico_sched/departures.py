"""What leaves for the bus, in order: at once, or as soon as the bus takes it."""

from collections import deque
from collections.abc import Callable

LIMIT = 10_000
"""Messages that may wait for a bus that does not take them."""


class BusBlocked(RuntimeError):
    """The bus has not taken a message for so long that too many wait."""


class Departures:
    """Hands messages to `send`, which says whether it took one. `departed` is the id of the newest event that is on the
    bus; all events before it are there too, and none that still waits here counts."""

    def __init__(self, send: Callable[[str, bytes], bool]) -> None:
        self._send = send
        self._waiting: deque[tuple[str, bytes, int]] = deque()
        self.departed = self.longest = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, topic: str, body: bytes, event_id: int = 0) -> None:
        """Send a message, or let it wait behind those that wait. Raises `BusBlocked` if too many do."""
        if not self._waiting and self._send(topic, body):
            self.departed = max(self.departed, event_id)
            return
        self._waiting.append((topic, body, event_id))
        self.longest = max(self.longest, len(self._waiting))
        if len(self._waiting) > LIMIT:
            raise BusBlocked(f"{len(self._waiting)} messages wait for the bus")

    def flush(self) -> None:
        """Send what waits, as far as the bus takes it."""
        while self._waiting and self._send(*self._waiting[0][:2]):
            self.departed = max(self.departed, self._waiting.popleft()[2])
