"""A stream of events against any loss on the way: with `resume` each comes once, in order."""

import asyncio
import random

import pytest

from aico_sched.client import Event, EventsLost, EventStream
from aico_sched.client.events import event_of
from aico_sched.topics import names
from aico_sched.topics.envelope import Envelope
from aico_sched.topics.views import EventPage, EventRow

TOPICS = (names.TASK_CREATED, names.EXECUTION_SUCCEEDED, names.ALERT)


class History:
    """What the service keeps, and how much of it was asked for."""

    def __init__(self) -> None:
        self.counts = dict.fromkeys(TOPICS, 0)
        self.page = 1_000
        self.asked = 0

    def event(self, topic: str) -> Event:
        self.counts[topic] += 1
        return made(topic, self.counts[topic])

    async def list(self, topic: str, after: int, limit: int) -> EventPage:
        self.asked += 1
        last = min(self.counts[topic], after + min(limit, self.page))
        rows = [EventRow(**made(topic, seq)._asdict()) for seq in range(after + 1, last + 1)]
        return EventPage(events=rows)


def made(topic: str, seq: int) -> Event:
    return Event(topic, seq, f"{topic}{seq}", "now", {"n": seq})


def stream(
    history: History, prefix: str = names.EVENTS, buffer: int = 100, after: dict[str, int] | None = None
) -> EventStream:
    return EventStream(prefix, lambda _: None, history.list, resume=True, after=after, buffer=buffer)


@pytest.mark.parametrize("seed", range(40))
async def test_random_loss_doubling_and_slowness(seed: int) -> None:
    dice = random.Random(seed)
    history = History()
    history.page = dice.choice([3, 1_000])
    events = stream(history, buffer=dice.choice([2, 10, 1_000]))
    first: dict[str, int] = {}
    seen: list[Event] = []

    async def read() -> None:
        async for event in events:
            if event.topic in TOPICS:
                seen.append(event)

    reader = asyncio.create_task(read())
    for _ in range(300):
        event = history.event(dice.choice(TOPICS))
        # The first of a topic arrives: before it nothing is known to be missing.
        if event.topic not in first or dice.random() > 0.3:
            first.setdefault(event.topic, event.seq)
            for _ in range(dice.choice([1, 1, 1, 2])):
                events.feed(event)
        if dice.random() < 0.1:
            events.feed(heartbeat(history, first))
        if dice.random() < 0.3:
            await asyncio.sleep(0)
    events.feed(heartbeat(history, first))
    async with asyncio.timeout(10):
        while len(seen) < sum(history.counts[topic] - first[topic] + 1 for topic in first) and not reader.done():
            await asyncio.sleep(0)
    await events.aclose()
    await reader
    for topic in TOPICS:
        numbers = [event.seq for event in seen if event.topic == topic]
        assert numbers == list(range(first[topic], history.counts[topic] + 1)), topic


def heartbeat(history: History, first: dict[str, int]) -> Event:
    numbers = {topic: seq for topic, seq in history.counts.items() if topic in first}
    return Event(names.AVAILABILITY, 0, "", "now", {"seq": numbers})


async def test_after_starts_in_the_past() -> None:
    history = History()
    for _ in range(2_500):
        history.event(names.ALERT)
    events = stream(history, names.ALERT, after={names.ALERT: 7})
    assert [(await anext(events)).seq for _ in range(2_493)] == list(range(8, 2_501))
    assert history.asked == 3
    events.feed(history.event(names.ALERT))
    assert (await anext(events)).seq == 2_501


async def test_a_heartbeat_that_overtakes_the_first_event_of_a_topic_hides_nothing() -> None:
    history = History()
    events = stream(history)
    events.feed(heartbeat(history, {}))
    event = history.event(names.ALERT)
    events.feed(heartbeat(history, {names.ALERT: 1}))
    events.feed(event)
    events.feed(history.event(names.ALERT))
    seen = [await anext(events) for _ in range(4)]
    assert [each.seq for each in seen if each.topic == names.ALERT] == [1, 2]


async def test_a_hostile_heartbeat_is_ignored() -> None:
    events = stream(History(), names.ALERT)
    for numbers in (None, [], {"x": 1}, {names.ALERT: "9"}, {names.ALERT: None}, {1: 1}):
        events.feed(Event(names.AVAILABILITY, 0, "", "now", {"seq": numbers}))
    events.feed(made(names.ALERT, 1))
    assert (await anext(events)).seq == 1


async def test_without_resume_the_rest_is_kept_then_the_loss_told() -> None:
    history = History()
    closed: list[EventStream] = []
    events = EventStream(names.EVENTS, closed.append, history.list, resume=False, after=None, buffer=2)
    for seq in (1, 2, 3):
        events.feed(made(names.ALERT, seq))
    assert [(await anext(events)).seq for _ in range(2)] == [1, 2]
    with pytest.raises(EventsLost):
        await anext(events)
    assert closed == [events]
    assert history.asked == 0


@pytest.mark.parametrize(("text", "seq"), [("7", 7), ("", 0), ("-1", 0), ("x", 0), ("٣", 0), ("9" * 40, 0)])
def test_the_number_of_an_event(text: str, seq: int) -> None:
    event = event_of(Envelope("m", "now", "aico-sched", names.ALERT, "1.0", {"seq": text}, {}))
    assert event is not None
    assert event.seq == seq
    assert event_of(Envelope("m", "now", "bob", names.EVENT_LIST, "1.0", {}, {})) is None
