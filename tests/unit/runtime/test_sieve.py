"""An actor that can handle only some of its messages for a while."""

from collections.abc import Callable
from typing import Any

from aico_sched.runtime.actor import Actor, handles
from tests.support.actors import Bench, Note


class NoSpace(Exception):
    pass


class Picky(Actor):
    """Writes and answers. While `full` its writes fail, and it takes answers only."""

    name = "picky"
    full = False
    refusing = False
    wrote: list[int]
    answered: list[int]

    def sieve(self) -> Callable[[str], bool] | None:
        return (lambda topic: topic != "write") if Picky.refusing else None

    def recovers(self, error: Exception) -> float | None:
        Picky.refusing = True
        return 0.0 if isinstance(error, NoSpace) else None

    @handles("write", Note)
    def write(self, note: Note) -> None:
        if Picky.full:
            raise NoSpace
        self.effects.call(Picky.wrote.append, note.value)

    @handles("answer", Note)
    def answer(self, note: Note) -> None:
        self.effects.call(Picky.answered.append, note.value)

    @handles("room", Note)
    def room(self, _: Note) -> None:
        Picky.full = Picky.refusing = False


async def begun(make_bench: Any) -> Bench:
    Picky.full, Picky.refusing, Picky.wrote, Picky.answered = True, False, [], []
    bench: Bench = make_bench(restart_budget=0)
    await bench.start(Picky)
    return bench


async def test_what_cannot_be_handled_waits_in_its_order_and_the_rest_goes_on(make_bench: Any) -> None:
    bench = await begun(make_bench)
    for value in range(5):
        bench.send("write", value)
        bench.send("answer", value)
    bench.send("room", 0)
    bench.send("write", 5)
    await bench.quiet()
    assert Picky.answered == [0, 1, 2, 3, 4]
    assert Picky.wrote == [0, 1, 2, 3, 4, 5]
    assert bench.figures("picky")["retried"] >= 1
    assert bench.figures("picky")["restarts"] == 0


async def test_a_stop_does_not_wait_for_what_waits(make_bench: Any) -> None:
    bench = await begun(make_bench)
    bench.send("write", 1, 2)
    bench.send("answer", 1)
    await bench.stop()
    assert (Picky.wrote, Picky.answered) == ([], [1])
    assert bench.figures("picky")["dropped"] == 2
    assert bench.router.under_way == 0
