"""Publishing a message to every actor that declares its topic.

Each actor owns one inproc PULL socket, its mailbox; the router holds the PUSH ends. A send never waits and
never drops: what finds a mailbox full waits with its sender until there is room (`Outgoing`).
"""

import asyncio
from collections.abc import Callable, Iterable

import zmq

from aico_sched.runtime.parcels import Parcel
from aico_sched.runtime.readiness import NOW, NOW_AND_MORE, Readiness
from aico_sched.runtime.urgency import Hurry


class UndeclaredTopic(LookupError):
    """A message was published on a topic no actor declares: a mistake in the code, not in a message."""

    def __init__(self, topic: str) -> None:
        super().__init__(f"no actor declares the topic {topic!r}: add a handler for it, or do not publish it")
        self.topic = topic


class Router:
    """The mailboxes by name, the topics each declares, and how many messages are under way."""

    def __init__(self, context: "zmq.Context[zmq.Socket[bytes]]", mailbox_limit: int, instance: str) -> None:
        self._context = context
        self._instance = instance
        # libzmq adds both ends' marks up to the pipe's capacity.
        self._mark = max(1, mailbox_limit // 2)
        self._pushes: dict[str, zmq.Socket[bytes]] = {}
        self._arrived: dict[str, Callable[[], None]] = {}
        self._table: dict[str, tuple[str, ...]] = {}
        self._waiting: dict[str, tuple[Readiness, list[Callable[[], None]]]] = {}
        self._closed: set[str] = set()
        self.hurry = Hurry()
        self.sent = 0
        self.settled = 0
        self._quiet = asyncio.Event()
        self._quiet.set()

    def open_mailbox(
        self, name: str, topics: Iterable[str], arrived: Callable[[], None] = lambda: None
    ) -> "zmq.Socket[bytes]":
        """The PULL socket of a new actor; from now on messages on `topics` reach it, and `arrived` is called for each.
        Nobody else sends to it, so its file descriptor need not be watched: that would tell the actor a round of the
        event loop later, and once more when it has read everything."""
        pull, push = self._context.socket(zmq.PULL), self._context.socket(zmq.PUSH)
        for socket in (pull, push):
            socket.setsockopt(zmq.LINGER, 0)
            socket.set_hwm(self._mark)
        address = f"inproc://{self._instance}/{name}"
        pull.bind(address)
        push.connect(address)
        self._pushes[name], self._arrived[name] = push, arrived
        for topic in topics:
            self._table[topic] = (*self._table.get(topic, ()), name)
        return pull

    def destinations(self, topic: str) -> tuple[str, ...]:
        """The actors that declare `topic`; raises `UndeclaredTopic` when there is none."""
        try:
            return self._table[topic]
        except KeyError:
            raise UndeclaredTopic(topic) from None

    def push(self, name: str, parcel: Parcel) -> bool:
        """Put messages, counted before, into the mailbox of `name`; False when it is full."""
        if name in self._closed:
            self.settle(parcel.messages)
            return True
        push = self._pushes[name]
        try:
            # Where the first frame finds room, the second is part of the same message and needs none.
            push.send(parcel.topic, NOW_AND_MORE)
            push.send(parcel.body, NOW)
        except zmq.Again:
            return False
        self._arrived[name]()
        if name in self._waiting:
            # This send may have consumed the edge that was to tell the others of the room.
            asyncio.get_running_loop().call_soon(self._check_room, name)
        return True

    def close_mailbox(self, name: str) -> None:
        """The actor `name` has ended: what is sent to it from now on, or waits for room, goes nowhere."""
        self._closed.add(name)
        self._stop_waiting(name)

    def count(self, messages: int) -> None:
        """Note that `messages` are on their way, in a mailbox or waiting for room in one."""
        self.sent += messages
        self._quiet.clear()

    def settle(self, count: int) -> None:
        """Note that `count` messages have been handled, effects included."""
        self.settled += count
        if self.settled == self.sent:
            self._quiet.set()

    @property
    def under_way(self) -> int:
        """Messages sent and not yet handled."""
        return self.sent - self.settled

    async def quiet(self) -> None:
        """Wait until nothing is under way."""
        await self._quiet.wait()

    def when_room(self, name: str, wake: Callable[[], None]) -> None:
        """Call `wake` once the full mailbox of `name` has room again."""
        if name in self._waiting:
            self._waiting[name][1].append(wake)
            return
        watch = Readiness(self._pushes[name], lambda: self._check_room(name))
        self._waiting[name] = (watch, [wake])
        # The room may have come between the failed push and now, its edge already consumed.
        asyncio.get_running_loop().call_soon(self._check_room, name)

    def _check_room(self, name: str) -> None:
        entry = self._waiting.get(name)
        if entry is not None and entry[0].has_room():
            self._stop_waiting(name)

    def _stop_waiting(self, name: str) -> None:
        watch, wakes = self._waiting.pop(name, (None, []))
        if watch is not None:
            watch.close()
        for wake in wakes:
            wake()

    def close(self) -> None:
        """Close the PUSH ends. The mailboxes belong to their cells."""
        for name, push in self._pushes.items():
            self.close_mailbox(name)
            push.close()
        self._pushes.clear()
