"""What an actor has sent and full mailboxes have not taken yet."""

from collections import deque
from collections.abc import Callable
from typing import Any

from aico_sched.runtime.parcels import Parcel, pack, parcels
from aico_sched.runtime.router import Router

OVERFLOW_LIMIT = 100_000
"""Parcels of messages one actor may have waiting for one full mailbox; credits keep it far below."""


class Overflow(RuntimeError):
    """An actor's sends outran every credit: a mistake in the flow control, never a busy moment."""

    def __init__(self, actor: str) -> None:
        super().__init__(f"{actor} has over {OVERFLOW_LIMIT} messages waiting for full mailboxes")
        self.actor = actor


class Outgoing:
    """Publishes for one actor and keeps, in order, what finds a mailbox full. `wake` is called when there is room."""

    def __init__(self, actor: str, router: Router, wake: Callable[[], None]) -> None:
        self._actor, self._router, self._wake = actor, router, wake
        self._queues: dict[str, deque[Parcel]] = {}

    def __bool__(self) -> bool:
        return bool(self._queues)

    def post(self, topic: str, message: tuple[Any, ...]) -> None:
        """Publish now. What a mailbox does not take waits, and whatever follows for it waits behind that."""
        self.post_all(topic, [message])

    def post_all(self, topic: str, messages: list[tuple[Any, ...]]) -> None:
        """As `post` of each. One that cannot be packed keeps none of the others from being sent."""
        bodies: list[bytes] = []
        failure: Exception | None = None
        for message in messages:
            try:
                bodies.append(pack(message))
            except Exception as error:
                failure = failure or error
        for parcel in parcels(topic, bodies):
            try:
                self._publish(self._router.destinations(topic), parcel)
            except Overflow as error:
                failure = failure or error
        if failure is not None:
            raise failure

    def _publish(self, names: tuple[str, ...], parcel: Parcel) -> None:
        self._router.count(len(names) * parcel.messages)
        over = False
        for name in names:
            if name in self._queues or not self._router.push(name, parcel):
                over |= self._keep(name, parcel)
        if over:
            raise Overflow(self._actor)

    def _keep(self, name: str, parcel: Parcel) -> bool:
        """Let a message wait; returns whether too many do."""
        if name not in self._queues:
            self._queues[name] = deque()
            self._router.when_room(name, self._wake)
        queue = self._queues[name]
        queue.append(parcel)
        return len(queue) > OVERFLOW_LIMIT

    def flush(self) -> None:
        """Push what waits, as far as there is room."""
        for name in list(self._queues):
            queue = self._queues[name]
            while queue and self._router.push(name, queue[0]):
                queue.popleft()
            if queue:
                self._router.when_room(name, self._wake)
            else:
                del self._queues[name]

    def clear(self) -> int:
        """Give up what waits; returns how many messages that were."""
        count = sum(parcel.messages for queue in self._queues.values() for parcel in queue)
        self._queues.clear()
        return count
