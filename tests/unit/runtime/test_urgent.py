"""Messages that need not wait for others."""

from typing import Any

import pytest

from aico_sched.runtime import urgency
from aico_sched.runtime.actor import Actor, handles
from tests.support.actors import Note


class Hurried(Actor):
    name = "hurried"
    urgent = frozenset(("now",))
    seen: list[tuple[str, int]]
    turns: list[int]

    def begin_turn(self) -> None:
        Hurried.turns.append(0)

    @handles("now", Note)
    def now(self, note: Note) -> None:
        self._handled("now", note.value)

    @handles("later", Note)
    def later(self, note: Note) -> None:
        self._handled("later", note.value)

    def _handled(self, topic: str, value: int) -> None:
        self.turns[-1] += 1
        self.effects.call(Hurried.seen.append, (topic, value))


async def begun(make_bench: Any, **policy: Any) -> Any:
    Hurried.seen, Hurried.turns = [], []
    bench = make_bench(**policy)
    await bench.start(Hurried)
    return bench


async def test_urgent_messages_go_first_in_a_turn_of_their_own_and_in_their_order(make_bench: Any) -> None:
    bench = await begun(make_bench)
    for value in range(3):
        bench.send("later", value)
        bench.send("now", value)
    await bench.quiet()
    assert Hurried.seen == [*(("now", value) for value in range(3)), *(("later", value) for value in range(3))]
    assert [turn for turn in Hurried.turns if turn] == [3, 3]


class Flooded(Hurried):
    """Each urgent message brings another one."""

    name = "flooded"
    left = 100

    @handles("now", Note)
    def now(self, note: Note) -> None:
        self._handled("now", note.value)
        if note.value < self.left:
            self.send("now", Note(note.value + 1))


async def test_a_flood_of_urgent_messages_does_not_keep_the_others_from_their_turn(make_bench: Any) -> None:
    Flooded.seen, Flooded.turns = Hurried.seen, Hurried.turns = [], []
    bench = make_bench()
    await bench.start(Flooded)
    bench.send("later", 0)
    bench.send("now", 0)
    await bench.quiet()
    assert Hurried.seen.index(("later", 0)) <= urgency.URGENT_TURNS
    assert len(Hurried.seen) == 102


class Claimer(Hurried):
    """Hands on what is urgent."""

    name = "claimer"

    @handles("now", Note)
    def now(self, note: Note) -> None:
        self.send("begin", note)


class Starter(Actor):
    name = "starter"

    @handles("begin", Note)
    def begin(self, note: Note) -> None:
        async def child() -> None:
            Hurried.seen.append(("begun", note.value))

        self.effects.spawn(str(note.value), None, child)


async def test_what_an_urgent_message_starts_has_begun_before_the_others_are_handled(make_bench: Any) -> None:
    Hurried.seen, Hurried.turns = [], []
    bench = make_bench()
    await bench.start(Claimer, Starter)
    bench.send("later", 0)
    bench.send("now", 0)
    await bench.quiet()
    assert Hurried.seen == [("begun", 0), ("later", 0)]


class Telling(Claimer):
    """Hands on what is urgent, and tells of it."""

    name = "telling"

    @handles("now", Note)
    def now(self, note: Note) -> None:
        self.send("tell", note)
        self.send("begin", note)


class Teller(Actor):
    name = "teller"
    patient = True

    @handles("tell", Note)
    def tell(self, note: Note) -> None:
        self.effects.call(Hurried.seen.append, ("told", note.value))


async def test_a_patient_actor_waits_until_what_is_urgent_has_begun(make_bench: Any) -> None:
    Hurried.seen, Hurried.turns = [], []
    bench = make_bench()
    await bench.start(Teller, Telling, Starter)
    bench.send("now", 0)
    await bench.quiet()
    assert Hurried.seen == [("begun", 0), ("told", 0)]


class Endless(Flooded):
    name = "endless"
    left = 1_000

    @handles("now", Note)
    def now(self, note: Note) -> None:
        if note.value == 0:
            self.send("tell", note)
        super().now(note)


async def test_a_patient_actor_has_its_turn_within_a_flood(make_bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(urgency, "PATIENCE", 0.001)
    Hurried.seen, Hurried.turns = [], []
    bench = make_bench()
    await bench.start(Teller, Endless)
    bench.send("now", 0)
    await bench.quiet()
    assert ("told", 0) in Hurried.seen[:-1]
