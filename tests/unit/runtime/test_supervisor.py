"""Start and stop of the actors: in order, twice, before the start, and when one of them does not play along."""

import asyncio
from typing import Any

import pytest

from aico_sched.runtime import cell
from aico_sched.runtime.actor import Actor, handles
from aico_sched.runtime.supervisor import StartFailed
from tests.support.actors import Bench, Note
from tests.support.clock import FakeClock, turns

Log = list[str]


@pytest.fixture
def log() -> Log:
    return []


def make_actor(label: str, log: Log, **given: Any) -> Any:
    """A plan of an actor that writes down what happens to it. `given` replaces methods."""

    class Logged(Actor):
        name = label

        async def on_start(self) -> None:
            log.append(f"{label} starts")

        @handles(f"{label}.work", Note)
        def work(self, note: Note) -> None:
            log.append(f"{label} works {note.value}")

        def begin_stop(self) -> None:
            log.append(f"{label} begins to stop")

        async def on_stop(self) -> None:
            log.append(f"{label} stops")

    for name, method in given.items():
        setattr(Logged, name, method)
    return Logged, lambda: Logged(FakeClock(hurried=True))


async def test_actors_start_and_stop_in_the_orders_given(bench: Bench, log: Log) -> None:
    await bench.start(*(make_actor(label, log) for label in "abc"))
    assert log == ["a starts", "b starts", "c starts"]
    log.clear()
    async with asyncio.timeout(10):
        await bench.supervisor.stop(["b", "c", "a"])
    assert log == [line for label in "bca" for line in (f"{label} begins to stop", f"{label} stops")]
    assert bench.open_sockets == 0


async def test_what_is_under_way_is_handled_before_the_stop(bench: Bench, log: Log) -> None:
    await bench.start(*(make_actor(label, log) for label in "ab"))
    log.clear()
    bench.send("b.work", 1, 2)
    await bench.stop()
    assert log[:2] == ["b works 1", "b works 2"]
    assert bench.router.under_way == 0


async def test_stop_twice_and_before_the_start_is_harmless(bench: Bench, log: Log) -> None:
    await bench.stop()
    await bench.start(make_actor("a", log))
    await bench.stop()
    await bench.stop()
    assert log.count("a stops") == log.count("a begins to stop") == 1


async def test_two_stops_at_the_same_time_end_together(bench: Bench, log: Log) -> None:
    await bench.start(make_actor("a", log))
    await asyncio.gather(bench.stop(), bench.stop())
    assert log.count("a stops") == log.count("a begins to stop") == 1


async def test_a_failed_start_leaves_nothing_running_and_nothing_open(bench: Bench, log: Log) -> None:
    async def fail(self: Actor) -> None:
        log.append("b starts")
        raise OSError("no database")

    with pytest.raises(StartFailed, match="the b actor could not start") as caught:
        await bench.start(make_actor("a", log), make_actor("b", log, on_start=fail), make_actor("c", log))
    assert isinstance(caught.value.__cause__, OSError)
    assert log == ["a starts", "b starts", "b stops", "a stops"], "each instance releases what it holds"
    assert bench.open_sockets == 0
    assert all(task.done() for task in bench.supervisor._tasks.values())


async def test_an_actor_that_cannot_be_made_fails_the_start(bench: Bench, log: Log) -> None:
    def make() -> Any:
        raise ValueError("wrong settings")

    kind, _ = make_actor("b", log)
    with pytest.raises(StartFailed) as caught:
        await bench.start(make_actor("a", log), (kind, make))
    assert isinstance(caught.value.__cause__, ValueError)
    assert log == ["a starts", "a stops"]


async def test_a_start_that_takes_too_long_fails(make_bench: Any, log: Log) -> None:
    async def hang(self: Actor) -> None:
        await asyncio.Event().wait()

    bench = make_bench(start_timeout=0.01)
    with pytest.raises(StartFailed) as caught:
        await bench.start(make_actor("a", log), make_actor("b", log, on_start=hang))
    assert isinstance(caught.value.__cause__, TimeoutError)
    assert log == ["a starts", "b stops", "a stops"]


async def test_a_start_fails_when_an_actor_before_crashes_meanwhile(bench: Bench, log: Log) -> None:
    def crash(self: Actor) -> bool:
        if log[-1] == "b hangs":
            raise RuntimeError("boom")
        return False

    async def hang(self: Actor) -> None:
        log.append("b hangs")
        bench.send("a.work", 1)
        await asyncio.Event().wait()

    plan = make_actor("a", log, take_input=crash, work=lambda self, note: None)
    with pytest.raises(StartFailed, match="the a actor"):
        await bench.start(plan, make_actor("b", log, on_start=hang))
    log.remove("b hangs")
    assert log == ["a starts", "a stops", "b stops"]


async def test_a_start_that_is_cancelled_leaves_nothing_running(bench: Bench, log: Log) -> None:
    begun = asyncio.Event()

    async def hang(self: Actor) -> None:
        begun.set()
        await asyncio.Event().wait()

    start = asyncio.create_task(bench.start(make_actor("a", log), make_actor("b", log, on_start=hang)))
    async with asyncio.timeout(5):
        await begun.wait()
        start.cancel()
        await asyncio.gather(start, return_exceptions=True)
    assert start.cancelled()
    assert log == ["a starts", "b stops", "a stops"] or sorted(log) == ["a starts", "a stops", "b stops"]
    assert bench.open_sockets == 0


async def test_an_actor_that_does_not_obey_is_cancelled_before_the_next_is_stopped(make_bench: Any, log: Log) -> None:
    bench = make_bench(stop_timeout=0.05)
    await bench.start(make_actor("a", log), make_actor("b", log, may_stop=lambda self: False))
    log.clear()
    async with asyncio.timeout(10):
        await bench.supervisor.stop(["b", "a"])
    assert log == ["b begins to stop", "b stops", "a begins to stop", "a stops"]
    assert bench.router.under_way == 0
    assert bench.open_sockets == 0


async def test_a_child_that_will_not_end_does_not_keep_the_service_from_stopping(
    make_bench: Any, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cell, "END_TIMEOUT", 0.01)
    let_go = asyncio.Event()

    async def deaf() -> None:
        while not let_go.is_set():
            try:
                await let_go.wait()
            except asyncio.CancelledError:
                continue

    async def spawn(self: Actor) -> None:
        self.effects.spawn("deaf", None, deaf)

    bench = make_bench(stop_timeout=0.05)
    await bench.start(make_actor("a", log, on_start=spawn, may_stop=lambda self: not self.effects.children))
    await turns()
    async with asyncio.timeout(10):
        await bench.supervisor.stop(["a"])
    assert log[-1] == "a stops"
    let_go.set()
    await turns()


async def test_an_instance_that_fails_to_release_its_things_is_not_restarted_for_it(bench: Bench, log: Log) -> None:
    async def fail(self: Actor) -> None:
        log.append("fails")
        raise OSError("cannot close")

    await bench.start(make_actor("a", log, on_stop=fail))
    await bench.stop()
    assert log == ["a starts", "a begins to stop", "fails"]
    assert not bench.supervisor.failed.is_set()


async def test_a_stop_survives_a_crash_on_the_way(bench: Bench, log: Log) -> None:
    def may_stop(self: Actor) -> bool:
        log.append("asked")
        if log.count("asked") == 1:
            raise RuntimeError("not now")
        return True

    await bench.start(make_actor("a", log, may_stop=may_stop))
    await bench.stop()
    assert log == [
        "a starts",
        "a begins to stop",
        "asked",
        "a stops",
        "a starts",
        "a begins to stop",
        "asked",
        "a stops",
    ]


async def test_a_stop_message_whose_turn_fails_reaches_each_instance_once(bench: Bench, log: Log) -> None:
    def end_turn(self: Actor) -> None:
        if log[-1] == "a begins to stop" and log.count("a begins to stop") == 1:
            raise RuntimeError("not now")

    await bench.start(make_actor("a", log, end_turn=end_turn))
    await bench.stop()
    assert log == ["a starts", "a begins to stop", "a stops", "a starts", "a begins to stop", "a stops"]


async def test_a_full_mailbox_still_gets_its_stop_message(make_bench: Any, log: Log) -> None:
    release = asyncio.Event()

    class Stuck(FakeClock):
        async def sleep(self, seconds: float) -> None:
            await release.wait()

    def crash(self: Actor, note: Note) -> None:
        if not release.is_set():
            raise RuntimeError("stuck")

    bench = make_bench(limit=2, clock=Stuck())
    plan = make_actor("a", log)
    plan[0].work = crash
    await bench.start(plan)
    bench.send("a.work", 1)
    await turns()
    bench.supervisor.tell("a", "a.work", Note(2))
    bench.supervisor.tell("a", "a.work", Note(3))
    bench.supervisor.tell("a", "a.work", Note(4))
    stop = asyncio.create_task(bench.supervisor._stop_one("a"))
    await turns()
    release.set()
    async with asyncio.timeout(10):
        await stop
    assert log[-1] == "a stops"
    assert bench.router.under_way == 0
