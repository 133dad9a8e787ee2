"""What waits for the bus is not on it."""

import pytest

from aico_sched.departures import LIMIT, BusBlocked, Departure, Departures


class Bus:
    def __init__(self) -> None:
        self.open, self.taken = True, list[tuple[str, bytes]]()

    def send(self, topic: str, body: bytes) -> bool:
        if self.open:
            self.taken.append((topic, body))
        return self.open


def test_an_event_counts_as_departed_once_the_bus_has_taken_it() -> None:
    bus = Bus()
    departures = Departures(bus.send)
    departures.put([Departure("e", b"1", 1)])
    assert departures.departed == 1
    bus.open = False
    departures.put([Departure("e", b"2", 2)])
    departures.put([Departure("reply", b"r")])
    departures.put([Departure("e", b"3", 3)])
    assert (departures.departed, len(departures), departures.longest) == (1, 3, 3)
    departures.flush()
    assert departures.departed == 1
    bus.open = True
    departures.flush()
    assert (departures.departed, len(departures)) == (3, 0)
    assert [body for _, body in bus.taken] == [b"1", b"2", b"r", b"3"]


def test_nothing_overtakes_what_waits() -> None:
    bus = Bus()
    departures = Departures(bus.send)
    bus.open = False
    departures.put([Departure("e", b"1", 1)])
    bus.open = True
    departures.put([Departure("e", b"2", 2)])
    assert bus.taken == []
    departures.flush()
    assert [body for _, body in bus.taken] == [b"1", b"2"]


def test_a_bus_that_takes_nothing_for_too_long_is_an_error() -> None:
    bus = Bus()
    bus.open = False
    departures = Departures(bus.send)
    for number in range(LIMIT):
        departures.put([Departure("e", b"", number)])
    with pytest.raises(BusBlocked):
        departures.put([Departure("e", b"", LIMIT)])


def test_a_message_that_cannot_be_sent_keeps_none_of_the_others_back() -> None:
    bus = Bus()

    def send(topic: str, body: bytes) -> bool:
        if body == b"1":
            raise OSError("the bus is gone")
        return bus.send(topic, body)

    departures = Departures(send)
    with pytest.raises(OSError, match="gone"):
        departures.put([Departure("e", b"1", 1), Departure("e", b"2", 2)])
    assert bus.taken == [("e", b"2")]
    assert departures.departed == 0, "an event before it is not on the bus"
