"""The service's events as asynchronous iterators: bounded, several at once, and without silent loss."""

from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, NamedTuple, Self

from aico_sched.bus.signal import Signal
from aico_sched.client.errors import EventsLost
from aico_sched.topics import limits, names
from aico_sched.topics.envelope import Envelope
from aico_sched.topics.views import EventPage

BUFFER: Final = 10_000
"""Events an iterator keeps for a slow reader."""


class Event(NamedTuple):
    """One event. `seq` counts per topic from 1; 0 marks one that is not numbered (the heartbeat)."""

    topic: str
    seq: int
    message_id: str
    timestamp: str
    payload: dict[str, Any]


def event_of(envelope: Envelope) -> Event | None:
    """The event in `envelope`; None for anything else below the events' prefix, as the command that lists them."""
    topic = envelope.message_type
    if not topic.startswith(names.EVENTS) or topic == names.EVENT_LIST:
        return None
    number = envelope.attributes.get("seq", "0")
    seq = int(number) if number.isascii() and number.isdigit() and len(number) < 19 else 0
    return Event(topic, seq, envelope.message_id, envelope.timestamp, envelope.payload)


ListEvents = Callable[[str, int, int], Awaitable[EventPage]]
"""Called as (topic, after_seq, limit): `scheduler.event.list`."""


class EventStream:
    """The events whose topic begins with `prefix`, from when it was made until `aclose` or the end of the client.

    A reader that falls more than `buffer` events behind gets `EventsLost` after those it still has. With `resume`, what
    was lost (on the way, or by falling behind) is fetched from the service's history instead, each event comes once,
    and `after` (topic → last seq known) says where to start; `EventsLost` then means that the history no longer
    holds it. For one reader; make one stream per reader.
    """

    def __init__(
        self,
        prefix: str,
        on_close: Callable[["EventStream"], None],
        list_events: ListEvents,
        *,
        resume: bool,
        after: Mapping[str, int] | None,
        buffer: int,
    ) -> None:
        self.prefix = prefix
        self._on_close, self._list_events, self._resume = on_close, list_events, resume
        self._limit = buffer
        self._buffer: deque[Event] = deque()
        self._fetched: deque[Event] = deque()
        self._delivered: dict[str, int] = {}
        self._wanted: dict[str, int] = dict.fromkeys(after or (), 0)
        self._known: dict[str, int] = dict(after or {})
        self._overflown = False
        self._placed = False
        self._closed = False
        self._signal = Signal()

    @property
    def last_seq(self) -> dict[str, int]:
        """The number of the last event delivered, by topic; give it as `after` to go on later."""
        return {**self._known, **self._delivered}

    @property
    def prefixes(self) -> tuple[str, ...]:
        """What it is subscribed to; with `resume` the heartbeat too, for the numbers it carries."""
        return (self.prefix, names.AVAILABILITY) if self._resume else (self.prefix,)

    def wants(self, topic: str) -> bool:
        """Whether an event of `topic` belongs here."""
        return topic.startswith(self.prefixes)

    def feed(self, event: Event) -> None:
        """Take an event from the bus; never waits."""
        if self._closed:
            return
        if self._resume and event.topic == names.AVAILABILITY:
            self._heartbeat(event)
        if not event.topic.startswith(self.prefix):
            return
        if self._overflown and not self._resume:
            return
        if len(self._buffer) < self._limit:
            self._buffer.append(event)
        else:
            self._overflown = True
            if event.seq:
                self._begin(event.topic, event.seq - 1)
            self._want(event.topic, event.seq)
        self._signal.notify()

    async def aclose(self) -> None:
        """Stop; the iteration ends. Harmless when repeated."""
        self.end()

    def end(self) -> None:
        """`aclose` without waiting."""
        if not self._closed:
            self._closed = True
            self._on_close(self)
            self._signal.notify()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.end()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        while not self._closed:
            event = await self._next()
            if event is None:
                continue
            if event.seq:
                if self._resume and event.seq <= self._last(event.topic):
                    continue
                self._delivered[event.topic] = event.seq
            return event
        raise StopAsyncIteration

    async def _next(self) -> Event | None:
        """The next event that is there, or None after something changed."""
        if self._fetched:
            return self._fetched.popleft()
        if self._buffer:
            return await self._buffered()
        if self._overflown and not self._resume:
            self.end()
            raise EventsLost("the reader was too slow for its buffer", self.last_seq)
        self._overflown = False
        while self._wanted:
            topic, upto = self._wanted.popitem()
            if not upto or upto > self._last(topic):
                await self._fetch(topic, upto)
                return None
        if not self._closed:
            await self._signal.wait()
        return None

    async def _buffered(self) -> Event | None:
        """The first buffered event, or None after fetching what is missing before it."""
        event = self._buffer[0]
        last = self._last(event.topic)
        if self._resume and event.seq > last + 1 and (event.topic in self._known or event.topic in self._delivered):
            await self._fetch(event.topic, event.seq - 1)
            return None
        return self._buffer.popleft()

    async def _fetch(self, topic: str, upto: int) -> None:
        """Add a page of the events of `topic` after the last one delivered, and ask for the next one if it does not
        reach `upto` (0: all there are)."""
        last = self._last(topic)
        page = await self._list_events(topic, last, limits.MAX_PAGE)
        rows = [row for row in page.events if row.seq > last]
        if not rows:
            self._skip(topic, last, upto)
            return
        if rows[0].seq > last + 1:
            self._skip(topic, last, rows[0].seq - 1)
        self._fetched += (Event(row.topic, row.seq, row.message_id, row.timestamp, row.payload) for row in rows)
        if (upto > rows[-1].seq) if upto else (len(page.events) == limits.MAX_PAGE):
            self._wanted[topic] = upto

    def _skip(self, topic: str, last: int, upto: int) -> None:
        """The history has no events of `topic` after `last` up to `upto`. The next iteration goes on after them."""
        if upto <= last:
            return
        self._known[topic] = upto
        self._delivered.pop(topic, None)
        raise EventsLost(f"{topic} {last + 1} to {upto} are no longer in the history", {**self.last_seq, topic: last})

    def _last(self, topic: str) -> int:
        return self._delivered.get(topic, self._known.get(topic, 0))

    def _want(self, topic: str, seq: int) -> None:
        if self._resume and seq > self._wanted.get(topic, 0):
            self._wanted[topic] = seq

    def _heartbeat(self, event: Event) -> None:
        """The newest number of every topic: what was published before the first heartbeat is not ours, a higher
        number later without its event is a loss."""
        numbers = event.payload.get("seq")
        for topic, seq in numbers.items() if isinstance(numbers, dict) else ():
            if not isinstance(seq, int) or not isinstance(topic, str) or not topic.startswith(self.prefix):
                continue
            self._begin(topic, seq)
            if seq > self._last(topic):
                self._want(topic, seq)
                self._signal.notify()
        self._placed = self._placed or isinstance(numbers, dict)

    def _begin(self, topic: str, seq: int) -> None:
        """Where our events of `topic` begin, unless that is known: with the first that waits, else after `seq`. A topic
        that the first heartbeat did not name had no events then, so all of them are ours: a heartbeat may overtake
        the event that it counts."""
        if topic in self._known or topic in self._delivered:
            return
        if self._placed:
            self._known[topic] = 0
            return
        first = next((event.seq for event in self._buffer if event.topic == topic), seq + 1)
        self._known[topic] = max(0, first - 1)
