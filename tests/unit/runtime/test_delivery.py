"""Messages between actors: who gets them, in which order, and what happens when a mailbox is full."""

import asyncio
from typing import Any

import pytest
import zmq

from aico_sched.runtime import outgoing
from aico_sched.runtime.actor import Actor, handles
from aico_sched.runtime.outgoing import Outgoing, Overflow
from aico_sched.runtime.parcels import Parcel, take
from aico_sched.runtime.router import Router, UndeclaredTopic
from aico_sched.topics.internal import AskReport, Report
from aico_sched.topics.names import REPORT, REPORT_ASK
from tests.support.actors import Bench, Note
from tests.support.clock import turns


class Collector(Actor):
    name = "collector"
    seen: list[Any]

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        cls.seen = []

    async def on_start(self) -> None:
        type(self).seen = []


class First(Collector):
    name = "first"

    @handles("both", Note)
    @handles("one", Note)
    def take(self, note: Note) -> None:
        self.seen.append(note.value)


class Second(Collector):
    name = "second"

    @handles("both", Note)
    def take(self, note: Note) -> None:
        self.seen.append(note.value)


async def test_a_message_reaches_every_actor_that_declares_its_topic(bench: Bench) -> None:
    await bench.start(First, Second)
    bench.send("both", 1)
    bench.send("one", 2)
    await bench.quiet()
    assert First.seen == [1, 2]
    assert Second.seen == [1]


async def test_a_topic_nobody_declares_is_an_error(bench: Bench) -> None:
    await bench.start(First)
    with pytest.raises(UndeclaredTopic, match="'nowhere'"):
        bench.send("nowhere", 1)
    assert bench.router.under_way == 0


class Echo(Actor):
    """Sends on `pong` all that comes on `ping`."""

    name = "echo"

    @handles("ping", Note)
    def ping(self, note: Note) -> None:
        self.send("pong", note)


class Flood(Collector):
    """Sends ten thousand at once and collects what comes back."""

    name = "flood"

    @handles("go", Note)
    def go(self, note: Note) -> None:
        for number in range(note.value):
            self.send("ping", Note(number))

    @handles("pong", Note)
    def pong(self, note: Note) -> None:
        self.seen.append(note.value)


async def test_ten_thousand_messages_both_ways_do_not_deadlock_and_keep_their_order(make_bench: Any) -> None:
    bench = make_bench(limit=500)
    await bench.start(Echo, Flood)
    bench.send("go", 10_000)
    await bench.quiet()
    assert Flood.seen == list(range(10_000))
    assert bench.router.under_way == 0


class Mutual(Actor):
    """Two of these flood each other at the same time."""

    name = "left"
    other = "right.take"
    count = 0

    @handles("left.go", Note)
    def go(self, note: Note) -> None:
        for number in range(note.value):
            self.send(self.other, Note(number))

    @handles("left.take", Note)
    def take(self, note: Note) -> None:
        type(self).count += 1


class Right(Actor):
    name = "right"
    count = 0

    @handles("right.go", Note)
    def go(self, note: Note) -> None:
        for number in range(note.value):
            self.send("left.take", Note(number))

    @handles("right.take", Note)
    def take(self, note: Note) -> None:
        type(self).count += 1


async def test_two_actors_that_flood_each_other_both_get_through(make_bench: Any) -> None:
    bench = make_bench(limit=500)
    Mutual.count = Right.count = 0
    await bench.start(Mutual, Right)
    bench.send("left.go", 10_000)
    bench.send("right.go", 10_000)
    await bench.quiet()
    assert (Mutual.count, Right.count) == (10_000, 10_000)


class Boxes:
    """Mailboxes without actors, to look at one step at a time."""

    def __init__(self, bench: Bench) -> None:
        self.bench, self.router = bench, bench.router

    def open(self, name: str, *topics: str) -> Any:
        mailbox = self.router.open_mailbox(name, topics)
        self.bench.supervisor._cells[name] = _Closer(mailbox)  # type: ignore[assignment]
        return mailbox

    @staticmethod
    def read(mailbox: Any, count: int = 1_000) -> list[Any]:
        return [body for _, body in take(mailbox, count)]


class _Closer:
    def __init__(self, mailbox: Any) -> None:
        self.mailbox = mailbox

    def close(self) -> None:
        self.mailbox.close()

    def hasten(self) -> None:
        """Nothing waits here."""


@pytest.fixture
def boxes(make_bench: Any) -> Boxes:
    return Boxes(make_bench(limit=4))


def posted(outgoing: Outgoing, *values: int) -> None:
    for value in values:
        outgoing.post("in", Note(value))


def values(mailbox: Any, count: int = 1_000) -> list[int]:
    return [body[-1] for body in Boxes.read(mailbox, count)]


async def read_all(mailbox: Any, outgoing: Outgoing) -> list[int]:
    """What is in the mailbox and what waits for it, in the order of arrival."""
    got: list[int] = []
    async with asyncio.timeout(5):
        while outgoing:
            got += values(mailbox)
            await turns()
            outgoing.flush()
    return got + values(mailbox)


async def test_what_waits_for_a_full_mailbox_is_not_overtaken(boxes: Boxes) -> None:
    mailbox = boxes.open("box", "in")
    outgoing = Outgoing("sender", boxes.router, lambda: None)
    posted(outgoing, 0, 1, 2, 3, 4, 5)
    assert outgoing
    got = values(mailbox, 4)
    # Now there is room, and the sender has not noticed yet.
    assert await has_room(boxes, "box")
    posted(outgoing, 6)
    assert got + await read_all(mailbox, outgoing) == [0, 1, 2, 3, 4, 5, 6]


async def has_room(boxes: Boxes, name: str) -> bool:
    async with asyncio.timeout(5):
        while not int(boxes.router._pushes[name].getsockopt(zmq.EVENTS)) & zmq.POLLOUT:
            await turns()
    return True


async def test_room_wakes_everybody_who_waits_also_when_another_send_saw_it_first(boxes: Boxes) -> None:
    mailbox = boxes.open("box", "in")
    woken: list[str] = []
    first = Outgoing("first", boxes.router, lambda: woken.append("first"))
    second = Outgoing("second", boxes.router, lambda: woken.append("second"))
    posted(first, *range(6))
    await turns()
    assert woken == []
    values(mailbox, 4)
    # In the same step of the loop another sender finds the room, and with it the only sign of it.
    posted(second, 9)
    values(mailbox)
    posted(second, 9)
    await turns()
    assert "first" in woken


async def test_an_actor_that_waits_for_a_mailbox_is_woken_when_its_owner_ends(boxes: Boxes) -> None:
    boxes.open("box", "in")
    woken = asyncio.Event()
    outgoing = Outgoing("sender", boxes.router, woken.set)
    posted(outgoing, *range(6))
    boxes.router.close_mailbox("box")
    async with asyncio.timeout(5):
        await woken.wait()
    outgoing.flush()
    assert not outgoing
    assert boxes.router.under_way == 4


async def test_too_many_waiting_messages_are_an_error_that_loses_none(
    boxes: Boxes, monkeypatch: pytest.MonkeyPatch
) -> None:
    full, other = boxes.open("full", "in"), boxes.open("other", "in")
    monkeypatch.setattr(outgoing, "OVERFLOW_LIMIT", 2)
    sender = Outgoing("sender", boxes.router, lambda: None)
    posted(sender, 0, 1, 2, 3, 4, 5)
    with pytest.raises(Overflow, match="sender has over 2 messages"):
        posted(sender, 6)
    got: dict[str, list[int]] = {"full": [], "other": []}
    async with asyncio.timeout(5):
        while len(got["full"]) + len(got["other"]) < 14:
            got["full"] += values(full)
            got["other"] += values(other)
            await turns()
            sender.flush()
    assert got == {"full": [0, 1, 2, 3, 4, 5, 6], "other": [0, 1, 2, 3, 4, 5, 6]}


class Reporter(Actor):
    name = "reporter"
    reports: list[Report]

    async def on_start(self) -> None:
        type(self).reports = []

    @handles(REPORT, Report)
    def reported(self, report: Report) -> None:
        self.reports.append(report)

    def report(self) -> dict[str, Any]:
        return {"own": 7}


async def test_every_actor_reports_its_figures(bench: Bench) -> None:
    await bench.start(Reporter, First)
    bench.send("one", 1, 2)
    await bench.quiet()
    bench._outside.post(REPORT_ASK, AskReport(5))
    await bench.quiet()
    by_name = {report.actor: report for report in Reporter.reports}
    assert by_name.keys() == {"reporter", "first"}
    assert by_name["reporter"].ask_id == 5
    assert by_name["reporter"].figures["own"] == 7
    figures = by_name["first"].figures
    assert figures["messages"] == 2
    assert (figures["restarts"], figures["dropped"], figures["retried"], figures["children"]) == (0, 0, 0, 0)
    assert figures["turns"] >= 1


async def test_a_router_that_is_closed_takes_what_late_senders_post(bench: Bench) -> None:
    await bench.start(First)
    await bench.stop()
    bench.router.close()
    bench.send("one", 1)
    assert bench.router.under_way == 0


async def test_mailboxes_hold_about_as_many_messages_as_they_are_told(make_bench: Any) -> None:
    for limit, capacity in ((1, 2), (4, 4), (500, 500)):
        bench = make_bench(limit=limit)
        mailbox = Boxes(bench).open("box", "in")
        router: Router = bench.router
        router.count(1_000)
        taken = 0
        while router.push("box", Parcel(b"in", b"x")):
            taken += 1
        assert taken == capacity
        assert len(Boxes.read(mailbox)) == capacity
