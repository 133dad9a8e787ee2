"""Messages that an actor wants together."""

from typing import Any

from aico_sched.runtime.actor import Actor, handles
from tests.support.actors import Bench, Note


def gatherer(got: list[Any], bad: Any = None) -> type[Actor]:
    class Gatherer(Actor):
        name = "gatherer"

        @handles("many", Note, gathered=True)
        def many(self, notes: list[Note]) -> None:
            got.append([note.value for note in notes])
            if any(note.value == bad for note in notes):
                raise ValueError("bad")

        @handles("one", Note)
        def one(self, note: Note) -> None:
            got.append(note.value)

    return Gatherer


async def test_what_follows_one_another_comes_as_one_list_and_keeps_its_place() -> None:
    got: list[Any] = []
    bench = Bench()
    await bench.start(gatherer(got))
    bench.send("many", 1, 2, 3)
    bench.send("one", 4)
    bench.send("many", 5)
    await bench.quiet()
    await bench.close()
    assert got == [[1, 2, 3], 4, [5]]


async def test_a_bad_one_costs_itself_and_none_of_those_it_came_with() -> None:
    got: list[Any] = []
    bench = Bench()
    await bench.start(gatherer(got, bad=2))
    bench.send("many", 1, 2, 3)
    await bench.quiet()
    assert bench.figures("gatherer")["dropped"] == 1
    await bench.close()
    assert got[0] == [1, 2, 3]
    assert [1] in got and [3] in got
