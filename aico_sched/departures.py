"""What leaves for the bus, in order: at once, or as soon as the bus takes it."""

from collections import deque
from collections.abc import Callable, Iterable
from typing import NamedTuple

LIMIT = 10_000
"""Messages that may wait for a bus that does not take them."""


class BusBlocked(RuntimeError):
    """The bus has not taken a message for so long that too many wait."""


class Departure(NamedTuple):
    """A message that leaves; `event_id` is the event's, if it is one."""

    topic: str
    body: bytes
    event_id: int = 0


class Departures:
    """Hands messages to `send`, which says whether it took one. `departed` is the id of the newest event that is on the
    bus; all events before it are there too, and none that still waits here counts."""

    def __init__(self, send: Callable[[str, bytes], bool]) -> None:
        self._send = send
        self._waiting: deque[Departure] = deque()
        self.departed = self.longest = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, messages: Iterable[Departure]) -> None:
        """Send messages, or let them wait behind those that wait. Raises `BusBlocked` if too many do, and what `send`
        raises, after the others have been sent."""
        failure: Exception | None = None
        for message in messages:
            try:
                taken = not self._waiting and self._send(message.topic, message.body)
            except Exception as error:
                failure = failure or error
                continue
            if taken and failure is None:
                self.departed = max(self.departed, message.event_id)
            elif not taken:
                self._waiting.append(message)
        self.longest = max(self.longest, len(self._waiting))
        if failure is not None:
            raise failure
        if len(self._waiting) > LIMIT:
            raise BusBlocked(f"{len(self._waiting)} messages wait for the bus")

    def flush(self) -> None:
        """Send what waits, as far as the bus takes it."""
        while self._waiting and self._send(self._waiting[0].topic, self._waiting[0].body):
            self.departed = max(self.departed, self._waiting.popleft().event_id)
