"""The broker's judgement on one message, without sockets."""

from collections.abc import Callable
from pathlib import Path

import msgpack
import pytest

from aico_sched.bus.access import AccessRules
from aico_sched.bus.checks import MAX_SUBSCRIPTIONS, Checks
from aico_sched.bus.holders import Holders
from aico_sched.bus.refusal import Reason, Refusals, TokenBucket
from aico_sched.bus.source import SourceReader
from aico_sched.security.keys import KeyRing
from aico_sched.topics import limits, names
from aico_sched.topics.envelope import encode, new_envelope

LIST = names.TASK_LIST.encode()
RULES = AccessRules.load()


def body(source: str = "bob", **payload: object) -> bytes:
    return encode(new_envelope(names.TASK_LIST, source, payload))


@pytest.fixture
def ring(tmp_path: Path) -> KeyRing:
    made = KeyRing(tmp_path / "keys")
    made.ensure()
    made.create("bob", "observer")
    return made


@pytest.fixture
def make(ring: KeyRing) -> Callable[..., Checks]:
    def checks(rate: float = 1e9, burst: float = 1e9) -> Checks:
        return Checks(ring, RULES, SourceReader(), rate=rate, burst=burst)

    return checks


@pytest.mark.parametrize(
    ("topic", "content", "reason"),
    [
        (LIST, body(), None),
        (LIST, body("rob"), Reason.SOURCE),
        (LIST, b"", Reason.UNREADABLE),
        (LIST, b"\xc1", Reason.UNREADABLE),
        (LIST, b"\x0a\x02\x1a\x00", Reason.UNREADABLE),
        (LIST, body() + b"\x00", Reason.UNREADABLE),
        (LIST, b"\x00" * limits.MAX_FRAME_BYTES, Reason.UNREADABLE),
        (LIST, b"\x00" * (limits.MAX_FRAME_BYTES + 1), Reason.TOO_LARGE),
        (b"x" * (limits.MAX_TOPIC_BYTES + 1), body(), Reason.TOO_LARGE),
        (b"", body(), Reason.TOPIC),
        (b"scheduler.task.\xff", body(), Reason.TOPIC),
        (names.TASK_CREATE.encode(), body(), Reason.FORBIDDEN),
        (names.TASK_CREATED.encode(), body(), Reason.FORBIDDEN),
        (names.STOP.encode(), body(), Reason.FORBIDDEN),
    ],
)
def test_publish(make: Callable[..., Checks], topic: bytes, content: bytes, reason: Reason | None) -> None:
    checks = make()
    assert checks.publish(0.0, "bob", topic, content) == reason
    assert checks.publish(0.0, "bob", topic, content) == reason, "the remembered decision is the same"
    assert checks.publish(0.0, "bob", LIST, body()) is None, "the next good message is unharmed"


def test_a_revoked_key_is_refused_after_forget(make: Callable[..., Checks], ring: KeyRing) -> None:
    checks = make()
    assert checks.publish(0.0, "bob", LIST, body()) is None
    ring.revoke("bob")
    checks.forget()
    assert checks.publish(0.0, "bob", LIST, body()) is Reason.UNKNOWN_KEY
    assert checks.subscribe(0.0, "bob", b"scheduler.event.", 0) is Reason.UNKNOWN_KEY
    assert checks.publish(0.0, "", LIST, body("")) is Reason.UNKNOWN_KEY


def test_the_rate_is_per_client_and_recovers(make: Callable[..., Checks], ring: KeyRing) -> None:
    ring.create("rob", "observer")
    checks = make(rate=10.0, burst=3.0)
    assert [checks.publish(0.0, "bob", LIST, body()) for _ in range(4)] == [None, None, None, Reason.RATE]
    assert checks.publish(0.0, "rob", LIST, body("rob")) is None
    assert checks.publish(0.11, "bob", LIST, body()) is None
    assert checks.publish(0.11, "bob", LIST, body()) is Reason.RATE
    assert checks.subscribe(0.11, "bob", b"scheduler.event.", 0) is None, "subscriptions have a rate of their own"


@pytest.mark.parametrize(
    ("prefix", "held", "reason"),
    [
        (b"scheduler.event.", 0, None),
        (b"", 0, Reason.FORBIDDEN),
        (b"sched", 0, Reason.FORBIDDEN),
        (b"scheduler.reply.rob", 0, Reason.FORBIDDEN),
        (b"scheduler.event.\xff", 0, Reason.TOPIC),
        (b"scheduler.event." + b"x" * 300, 0, Reason.TOO_LARGE),
        (b"scheduler.event.", MAX_SUBSCRIPTIONS, Reason.TOO_MANY),
    ],
)
def test_subscribe(make: Callable[..., Checks], prefix: bytes, held: int, reason: Reason | None) -> None:
    assert make().subscribe(0.0, "bob", prefix, held) == reason


# Who a body says it is from.


def test_the_source_is_found_wherever_it_stands() -> None:
    read = SourceReader()
    envelope = new_envelope("t", "bob", {"deep": [[[{"source": "rob"}]]], "x": "y" * 60_000})
    assert read(encode(envelope)) == "bob"
    fields = list(envelope._asdict().items())
    for turn in range(len(fields)):
        assert read(msgpack.packb(dict(fields[turn:] + fields[:turn]))) == "bob"


def test_two_sources_are_none() -> None:
    twice = b"\x82" + 2 * (msgpack.packb("source") + msgpack.packb("bob"))
    assert SourceReader()(twice) is None


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x80",
        msgpack.packb([1]),
        msgpack.packb({"source": 1}),
        msgpack.packb({"source": b"bob"}),
        msgpack.packb({str(n): n for n in range(8)}),
        b"\x81" * 2_000,
        b"\xdf\xff\xff\xff\xff",
        msgpack.packb({"source": "bob"})[:-1],
        b"\xdb\xff\xff\xff\xff",
        msgpack.packb({(1,): 2, "source": "bob"})[:5],
    ],
)
def test_unreadable_bodies_leave_the_reader_fit(content: bytes) -> None:
    read = SourceReader()
    for _ in range(3):
        assert read(content) is None
        assert read(body()) == "bob"


def test_a_protobuf_body_goes_to_its_own_reader() -> None:
    assert SourceReader()(b"\x0a\x05") is None
    assert SourceReader(lambda content: f"{len(content)}")(b"\x0a\x05") == "2"


# Counting and reporting.


def test_a_flood_of_refusals_is_counted_but_not_reported_one_by_one() -> None:
    reported: list[tuple[str, str, str, str]] = []
    refusals = Refusals(lambda *report: reported.append(report))
    for number in range(1_000):
        refusals.add(number / 1_000, "bob", "publish", "t", Reason.FORBIDDEN)
    refusals.add(1.0, "rob", "publish", "t", Reason.FORBIDDEN)
    assert refusals.counts[Reason.FORBIDDEN] == 1_001
    assert 10 <= len(reported) <= 17
    assert reported[-1] == ("rob", "publish", "t", "not allowed for the role")
    assert refusals.unreported == 1_001 - len(reported)


def test_a_listener_that_raises_changes_nothing() -> None:
    def broken(*_: str) -> None:
        raise RuntimeError("listener")

    refusals = Refusals(broken)
    refusals.add(0.0, "bob", "publish", "t", Reason.SOURCE)
    assert refusals.counts[Reason.SOURCE] == 1


def test_a_bucket_ignores_a_clock_that_stands() -> None:
    bucket = TokenBucket(1.0, 2.0, 5.0)
    assert [bucket.take(5.0), bucket.take(4.0), bucket.take(5.0), bucket.take(6.0)] == [True, True, False, True]


def test_holders_count_distinct_prefixes_and_survive_reconnections() -> None:
    holders = Holders()
    for _ in range(5):
        holders.add("bob", b"a")
        holders.add("rob", b"a")
        holders.add("bob", b"b")
        for prefix in (b"a", b"b"):
            holders.remove(None, prefix)
    assert (holders.held_by("bob"), holders.held_by("rob"), len(holders)) == (1, 1, 2)
    holders.remove("rob", b"a")
    holders.remove("rob", b"a")
    holders.remove("nobody", b"a")
    holders.remove(None, b"a")
    assert (len(holders), holders.names()) == (0, [])
