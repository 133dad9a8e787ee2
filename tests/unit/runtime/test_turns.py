"""A turn happens as a whole or not at all, and a crash of the handlers loses no message and no effect."""

import asyncio
from collections import Counter
from typing import Any

import msgpack
import pytest

from aico_sched.runtime.actor import Actor, answers, handles
from aico_sched.runtime.cell import TryAgain
from aico_sched.runtime.supervisor import RestartBudgetSpent
from aico_sched.topics.errors import CommandError, ErrorCode
from aico_sched.topics.internal import RepliesReady, ReplyReady, Request
from aico_sched.topics.names import REPLIES_READY
from tests.support.actors import Bench, Note
from tests.support.clock import turns

World = dict[str, list[Any]]


@pytest.fixture
def world() -> World:
    """What the actors of a test have done to the world."""
    return {"calls": [], "got": [], "made": [], "children": [], "replies": [], "log": []}


class Worker(Actor):
    """Does one of everything for each message; `trouble` decides when it raises."""

    name = "worker"

    def __init__(self, clock: Any, world: World, trouble: Any = None) -> None:
        super().__init__(clock)
        self.world, self.trouble = world, trouble or (lambda place, value: None)
        world["made"].append(self)

    @handles("work", Note)
    def work(self, note: Note) -> None:
        value = note.value
        self.busy = True
        self.trouble("begin", value)
        self.send("done", note)
        self.effects.call(self.world["calls"].append, value)
        self.effects.spawn(f"child {value}", value, lambda: self.child(value))
        self.trouble("end", value)

    async def child(self, value: Any) -> None:
        self.effects.post("child.done", Note(value))

    @handles("child.done", Note)
    def child_done(self, note: Note) -> None:
        self.effects.release(f"child {note.value}")
        self.effects.call(self.world["children"].append, note.value)

    def begin_turn(self) -> None:
        self.busy = False

    def end_turn(self) -> None:
        if self.busy:
            self.trouble("end_turn", None)

    async def on_stop(self) -> None:
        self.world["log"].append("stopped")

    def abort_turn(self) -> None:
        self.world["log"].append("aborted")


class Sink(Actor):
    name = "sink"

    def __init__(self, clock: Any, world: World) -> None:
        super().__init__(clock)
        self.world = world

    @handles("done", Note)
    def done(self, note: Note) -> None:
        self.effects.call(self.world["got"].append, note.value)

    @handles(REPLIES_READY, RepliesReady)
    def replies(self, ready: RepliesReady) -> None:
        answers = [ReplyReady(*row) for row in ready.replies]
        self.effects.call(
            self.world["replies"].extend, [(one.message_id, msgpack.unpackb(one.body)) for one in answers]
        )


async def started(bench: Bench, world: World, trouble: Any = None, kind: type[Any] = Worker) -> Bench:
    await bench.start((kind, lambda: kind(bench.clock, world, trouble)), (Sink, lambda: Sink(bench.clock, world)))
    return bench


class Once:
    """Raises at the first `place` for each of `values`."""

    def __init__(self, *events: tuple[str, Any]) -> None:
        self.events = set(events)

    def __call__(self, place: str, value: Any) -> None:
        if (place, value) in self.events:
            self.events.discard((place, value))
            raise RuntimeError(f"{place} {value}")


@pytest.mark.parametrize("event", [("begin", 2), ("end", 2), ("end", 5), ("end_turn", None)])
async def test_a_turn_that_raises_has_no_effect_and_is_handled_again(
    bench: Bench, world: World, event: tuple[str, Any]
) -> None:
    await started(bench, world, Once(event))
    bench.send("work", *range(6))
    await bench.quiet()
    assert world["got"] == world["calls"] == sorted(world["children"]) == list(range(6))
    assert len(world["made"]) == 2, "a fresh instance"
    assert world["log"] == ["aborted", "stopped"]
    assert bench.figures("worker")["restarts"] == 1
    assert bench.router.under_way == 0


async def test_crashes_around_every_send_of_every_actor_lose_and_double_nothing(make_bench: Any, world: World) -> None:
    raised: set[tuple[str, str, str, int]] = set()
    seen: Counter[tuple[str, str, str]] = Counter()

    def fault(actor: str, phase: str, topic: str) -> None:
        seen[actor, phase, topic] += 1
        key = (actor, phase, topic, seen[actor, phase, topic])
        if seen[actor, phase, topic] % 3 == 1 and len(raised) < 60:
            raised.add(key)
            raise RuntimeError(f"injected {key}")

    bench = make_bench(fault=fault, restart_budget=1_000, batch_size=7)
    await started(bench, world)
    bench.send("work", *range(100))
    await bench.quiet()
    assert world["got"] == world["calls"] == sorted(world["children"]) == list(range(100))
    assert {(actor, phase) for actor, phase, _, _ in raised} == {("worker", "before"), ("worker", "after")}
    assert bench.figures("worker")["dropped"] == 0


async def test_an_effect_that_raises_keeps_no_other_from_happening(bench: Bench, world: World) -> None:
    class Careless(Worker):
        name = "careless"

        @handles("work", Note)
        def work(self, note: Note) -> None:
            self.effects.call(self.fail, note.value)
            super().work(note)

        def fail(self, value: int) -> None:
            if value == 1 and len(self.world["made"]) == 1:
                raise RuntimeError("a call must not raise")

    await started(bench, world, kind=Careless)
    bench.send("work", 0, 1, 2)
    await bench.quiet()
    assert world["got"] == world["calls"] == sorted(world["children"]) == [0, 1, 2]
    assert len(world["made"]) == 2


def poison(place: str, value: Any) -> None:
    if value == "poison":
        raise RuntimeError("I cannot read this")


@pytest.mark.parametrize("position", [0, 1, 5, 19])
async def test_a_message_no_instance_survives_is_dropped_and_all_others_are_handled(
    bench: Bench, world: World, position: int
) -> None:
    """Within the default restart budget, wherever in its batch it stands."""
    values: list[Any] = list(range(20))
    values[position] = "poison"
    await started(bench, world, poison)
    bench.send("work", *values)
    await bench.quiet()
    assert world["got"] == [value for value in values if value != "poison"]
    assert bench.figures("worker")["dropped"] == 1
    assert bench.figures("worker")["restarts"] <= 5
    assert not bench.supervisor.failed.is_set()
    assert bench.router.under_way == 0


async def test_many_bad_messages_do_not_spend_the_restart_budget(bench: Bench, world: World) -> None:
    await started(bench, world, poison)
    bench.send("work", *["poison"] * 10, 7)
    await bench.quiet()
    assert world["got"] == [7]
    assert bench.figures("worker")["dropped"] == 10
    assert not bench.supervisor.failed.is_set()


async def test_what_crashes_on_input_from_outside_costs_no_message(make_bench: Any, world: World) -> None:
    class Reader(Worker):
        name = "reader"

        broken = False

        def take_input(self) -> bool:
            if Reader.broken:
                raise RuntimeError("bad input")
            return False

    bench = make_bench(restart_budget=1_000)
    await started(bench, world, kind=Reader)
    Reader.broken = True
    bench.send("work", *range(5))
    async with asyncio.timeout(10):
        while len(world["got"]) < 5:
            await asyncio.sleep(0)
    assert world["got"] == list(range(5))
    Reader.broken = False
    assert bench.figures("reader")["dropped"] == 0


class Answering(Worker):
    name = "answering"

    @answers("ask")
    def ask(self, topic: str, request: Request) -> dict[str, Any] | None:
        what = request.payload["what"]
        if what == "refuse":
            raise CommandError(ErrorCode.CONFLICT, "no", field="what")
        if what == "crash":
            raise RuntimeError("a bug")
        if what == "later":
            return None
        return {"topic": topic, "what": what}


def request(message_id: str, what: str) -> Request:
    return Request(message_id, "alice", "operator", "scheduler.reply.alice", message_id, "msgpack", {"what": what})


async def test_every_command_is_answered_once_also_one_that_is_dropped(bench: Bench, world: World) -> None:
    await started(bench, world, kind=Answering)
    for message_id, what in (("1", "fine"), ("2", "refuse"), ("3", "crash"), ("4", "fine"), ("5", "later")):
        bench._outside.post("ask", request(message_id, what))
    await bench.quiet()
    replies = dict(world["replies"])
    assert len(replies) == len(world["replies"]) == 4
    assert replies["1"] == {"ok": True, "result": {"topic": "ask", "what": "fine"}}
    assert replies["4"]["ok"]
    assert replies["2"]["error"]["code"] == "conflict"
    assert replies["2"]["error"]["details"] == {"field": "what"}
    assert replies["3"]["error"]["code"] == "internal"
    assert replies["3"]["error"]["retryable"]


class Postponing(Worker):
    name = "postponing"
    left = 0

    def end_turn(self) -> None:
        if Postponing.left:
            Postponing.left -= 1
            raise TryAgain(0.25, RuntimeError("database is locked"))


async def test_a_turn_that_asks_to_be_tried_again_is_undone_and_no_crash(bench: Bench, world: World) -> None:
    await started(bench, world, kind=Postponing)
    Postponing.left = 3
    bench.send("work", 1, 2)
    await bench.quiet()
    assert world["got"] == world["calls"] == sorted(world["children"]) == [1, 2]
    assert len(world["made"]) == 1, "the same instance"
    assert bench.figures("postponing")["retried"] == 3
    assert bench.figures("postponing")["restarts"] == 0
    assert bench.clock.slept == [0.25] * 3  # type: ignore[attr-defined]


async def test_a_restarting_actor_may_ask_to_be_tried_again(make_bench: Any, world: World) -> None:
    class Slow(Worker):
        name = "slow"

        async def on_start(self) -> None:
            if 1 < len(self.world["made"]) < 12:
                raise TryAgain(0.25, RuntimeError("disk full"))

    bench = make_bench(restart_budget=1)
    await started(bench, world, Once(("begin", 1)), kind=Slow)
    bench.send("work", 1)
    await bench.quiet()
    assert world["got"] == [1]
    assert bench.figures("slow")["restarts"] == 1


class Parent(Actor):
    """Its children wait for a signal; what it knows of them decides what it does."""

    name = "parent"
    gates: dict[str, asyncio.Event]
    ended: list[str]
    known_at_start: list[list[str]]
    crash_once = True

    async def on_start(self) -> None:
        self.known_at_start.append(sorted(self.effects.children))

    @handles("spawn", Note)
    def spawn(self, note: Note) -> None:
        self.effects.spawn(note.value, {"name": note.value}, lambda: self.wait(note.value))

    async def wait(self, key: str) -> None:
        outcome = "ended"
        try:
            await self.gates[key].wait()
        except asyncio.CancelledError as error:
            outcome = f"cancelled: {error.args[0]}"
        self.effects.post("over", Note((key, outcome)))

    @handles("over", Note)
    def over(self, note: Note) -> None:
        key, outcome = note.value
        if key not in self.effects.children:
            return
        self.effects.release(key)
        self.effects.call(self.ended.append, f"{key} {outcome}")

    @handles("cancel", Note)
    def cancel(self, note: Note) -> None:
        child = self.effects.children.get(note.value)
        if child is not None:
            self.effects.call(child.cancel, "enough")

    @handles("crash", Note)
    def crash(self, note: Note) -> None:
        if type(self).crash_once:
            type(self).crash_once = False
            raise RuntimeError("crash")

    def may_stop(self) -> bool:
        return not self.effects.children


@pytest.fixture
async def parent(bench: Bench) -> Bench:
    Parent.gates, Parent.ended, Parent.known_at_start = {}, [], []
    Parent.crash_once = True
    for name in "abc":
        Parent.gates[name] = asyncio.Event()
    await bench.start(Parent)
    return bench


def open_all() -> None:
    for gate in Parent.gates.values():
        gate.set()


async def test_children_survive_a_crash_and_their_end_reaches_the_next_instance(parent: Bench) -> None:
    parent.send("spawn", "a", "b")
    await parent.quiet()
    parent.send("crash", 0)
    await parent.quiet()
    assert Parent.known_at_start == [[], ["a", "b"]]
    open_all()
    await turns()
    await parent.quiet()
    assert sorted(Parent.ended) == ["a ended", "b ended"]


async def test_children_of_a_turn_that_fails_do_not_exist(parent: Bench) -> None:
    parent.send("spawn", "a")
    parent.send("crash", 0)
    await parent.quiet()
    assert Parent.known_at_start == [[], []], "the next instance was not told of a child that never was"
    open_all()
    await turns()
    await parent.quiet()
    assert Parent.ended == ["a ended"]


async def test_a_child_can_be_cancelled_in_the_turn_that_started_it(parent: Bench) -> None:
    """Start and cancel may come in one batch; a task cancelled before its first step would never report its end."""
    parent.send("spawn", "a")
    parent.send("cancel", "a")
    await parent.quiet()
    await turns()
    await parent.quiet()
    assert Parent.ended == ["a cancelled: enough"]


async def test_a_stop_waits_for_children_and_twice_the_same_end_counts_once(parent: Bench) -> None:
    parent.send("spawn", "a")
    await parent.quiet()
    parent.send("over", ("a", "early"), ("a", "early"))
    await parent.quiet()
    assert Parent.ended == ["a early"]
    open_all()
    await parent.stop()
    assert Parent.ended == ["a early"]


async def test_too_many_crashes_fail_the_service_with_their_reason(make_bench: Any, world: World) -> None:
    count = iter(range(1_000))

    def always(place: str, value: Any) -> None:
        raise RuntimeError(f"no. {next(count)}")

    bench = make_bench(restart_budget=3)
    await started(bench, world, always)
    bench.send("work", 1)
    async with asyncio.timeout(5):
        await bench.supervisor.failed.wait()
    failure = bench.supervisor.failure
    assert isinstance(failure, RestartBudgetSpent)
    assert (failure.actor, failure.crashes) == ("worker", 4)
    assert isinstance(failure.__cause__, RuntimeError)
    assert bench.clock.slept == [0.05, 0.1, 0.2]
    await bench.quiet()
    bench.send("work", 2)
    await bench.quiet()


async def test_crashes_long_ago_are_forgotten(make_bench: Any, world: World) -> None:
    bench = make_bench(restart_budget=1, restart_window=60.0)
    await started(bench, world, Once(*(("begin", number) for number in range(10))))
    for number in range(10):
        bench.send("work", number)
        await bench.quiet()
        await bench.clock.sleep(61.0)
    assert world["got"] == list(range(10))
    assert bench.figures("worker")["restarts"] == 10
