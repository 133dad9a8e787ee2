"""What a turn sends one after the other on one topic travels together, and arrives as if it had not."""

from typing import Any

import pytest
import zmq

from aico_sched.runtime import parcels
from aico_sched.runtime.outgoing import Outgoing
from aico_sched.runtime.parcels import MOST, MOST_BYTES, Parcel, pack, take, unpack, unpack_all
from aico_sched.runtime.router import Router
from tests.support.actors import Bench, Note


class Box:
    """A mailbox without an actor."""

    def __init__(self, bench: Bench) -> None:
        self.router: Router = bench.router
        self.mailbox = bench.router.open_mailbox("box", ["in"])
        self.outgoing = Outgoing("sender", bench.router, lambda: None)

    def values(self, wanted: int = 10_000) -> list[int]:
        return [unpack(Note, body).value for topic, body in take(self.mailbox, wanted) if topic == "in"]


@pytest.fixture
async def box(bench: Bench) -> Any:
    box = Box(bench)
    yield box
    box.mailbox.close()


def notes(count: int) -> list[tuple[Any, ...]]:
    return [Note(number) for number in range(count)]


async def test_messages_come_out_one_by_one_in_their_order(box: Box) -> None:
    box.outgoing.post_all("in", notes(3 * MOST + 1))
    box.outgoing.post("in", Note(-1))
    assert box.router.under_way == 3 * MOST + 2
    assert box.values() == [*range(3 * MOST + 1), -1]


async def test_a_reader_that_wants_few_gets_a_parcel_and_no_more(box: Box) -> None:
    box.outgoing.post_all("in", notes(2 * MOST))
    assert box.values(1) == list(range(MOST))
    assert box.values() == list(range(MOST, 2 * MOST))


def test_large_messages_do_not_share_a_parcel() -> None:
    large, small = b"x" * (MOST_BYTES - 1), b"y"
    sizes = [parcel.messages for parcel in parcels.parcels("in", [large, small, small, large, large])]
    assert sizes == [2, 2, 1]


async def test_one_that_cannot_be_packed_keeps_no_other_from_being_sent(box: Box) -> None:
    with pytest.raises(TypeError):
        box.outgoing.post_all("in", [Note(1), (object(),), Note(2)])
    assert box.values() == [1, 2]
    assert box.router.under_way == 2


async def test_parcels_that_wait_or_are_given_up_count_as_the_messages_they_hold(make_bench: Any) -> None:
    box = Box(make_bench(limit=1))
    box.outgoing.post_all("in", notes(4 * MOST))
    assert box.outgoing.clear() == 2 * MOST
    box.router.close_mailbox("box")
    box.router.push("box", Parcel(b"in", b"", 2 * MOST))
    assert box.router.under_way == 2 * MOST
    box.mailbox.close()


@pytest.mark.parametrize("count", [1, 2, 20, 300])
def test_messages_read_in_one_go_are_those_read_by_themselves(count: int) -> None:
    bodies = [pack(Note(number)) for number in range(count)]
    assert unpack_all(Note, bodies) == [unpack(Note, body) for body in bodies]


async def test_a_mailbox_that_is_empty_gives_nothing(box: Box) -> None:
    assert take(box.mailbox, 5) == []
    with pytest.raises(zmq.Again):
        box.mailbox.recv(zmq.NOBLOCK)
