"""Steps on the meter: counted, timed, attributed, and transparent to what runs."""

import asyncio
import time
from collections.abc import Iterator
from math import inf
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aico_sched.execution.limits import CpuLimitExceeded
from aico_sched.execution.metering import METER, Board, Meter, metered, task_factory


def meter(limit: float = inf, board: Board | None = None) -> Meter:
    return Meter(board or Board(), "user.x", "e1", limit)


def burn(seconds: float) -> None:
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        pass


async def steps(count: int) -> str:
    for _ in range(count):
        await asyncio.sleep(0)
    return "done"


async def test_every_step_is_counted_and_the_result_comes_through() -> None:
    on = meter()
    assert await metered(steps(5), on) == "done"
    assert on.steps == 6
    assert 0 < on.longest <= on.seconds < 1
    assert set(on.usage()) == {"steps", "loop_seconds", "cpu_seconds", "longest_step_seconds"}


async def test_waiting_is_no_step_but_blocking_is() -> None:
    async def waits() -> None:
        await asyncio.sleep(0.05)
        time.sleep(0.03)  # what a task must not do

    on = meter()
    await metered(waits(), on)
    assert on.steps == 2
    assert 0.03 <= on.longest <= on.seconds < 0.05
    assert on.cpu_seconds < 0.02


async def test_work_counts_as_processor_time() -> None:
    async def works() -> None:
        burn(0.03)

    on = meter()
    begun = time.thread_time()
    await metered(works(), on)
    assert 0 < on.cpu_seconds <= on.seconds
    assert on.cpu_seconds <= time.thread_time() - begun + 0.01


class Odd(BaseException):
    pass


@pytest.mark.parametrize("error", [ValueError("x"), Odd("x"), asyncio.CancelledError(), SystemExit(2)])
async def test_what_the_code_raises_is_raised(error: BaseException) -> None:
    async def fails() -> None:
        await asyncio.sleep(0)
        raise error

    with pytest.raises(type(error)) as caught:
        await metered(fails(), meter())
    assert caught.value is error


async def test_a_cancellation_reaches_the_code_and_may_be_answered() -> None:
    heard = []

    async def hears() -> str:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            heard.append(1)
            await asyncio.sleep(0)
        return "went on"

    async def run() -> str:
        return await metered(hears(), meter())

    task = asyncio.create_task(run())
    await asyncio.sleep(0)
    task.cancel()
    assert await task == "went on"
    assert heard == [1]


def test_a_run_that_is_dropped_cleans_up() -> None:
    closed = []

    async def holds() -> None:
        try:
            await asyncio.sleep(0)
        finally:
            closed.append(1)

    run = metered(holds(), meter())
    next(run)
    run.close()
    assert closed == [1]


async def test_beyond_the_limit_every_step_begins_with_the_error() -> None:
    on, seen = meter(limit=0.02), []

    async def stubborn() -> None:
        for _ in range(30):
            burn(0.005)
            try:
                await asyncio.sleep(0)
            except CpuLimitExceeded:
                seen.append(1)

    await metered(stubborn(), on)
    assert on.over
    assert 10 < len(seen) < 28


@pytest.fixture
async def factory() -> Any:
    loop = asyncio.get_running_loop()
    loop.set_task_factory(task_factory(loop.get_task_factory()))
    yield
    loop.set_task_factory(None)


@pytest.mark.usefixtures("factory")
async def test_the_tasks_a_task_starts_are_on_its_meter_and_no_others() -> None:
    on = meter()

    async def parent() -> list[str]:
        async with asyncio.TaskGroup() as group:
            children = [group.create_task(steps(10), name=f"child {n}") for n in range(3)]
        assert [child.get_name() for child in children] == ["child 0", "child 1", "child 2"]
        return list(await asyncio.gather(*(steps(10) for _ in range(2))))

    async def run() -> list[str]:
        METER.set(on)
        return await metered(parent(), on)

    stranger = asyncio.create_task(steps(500))
    assert await asyncio.create_task(run()) == ["done", "done"]
    assert await stranger == "done"
    assert 55 <= on.steps <= 62


@pytest.mark.usefixtures("factory")
async def test_a_factory_that_was_there_before_still_makes_the_tasks() -> None:
    made = []

    def before(loop: Any, work: Any, **options: Any) -> Any:
        made.append(work)
        return asyncio.Task(work, loop=loop, **options)

    loop = asyncio.get_running_loop()
    loop.set_task_factory(task_factory(before))
    assert await asyncio.create_task(steps(1)) == "done"
    assert len(made) == 1


async def test_the_board_shows_whose_step_it_is_and_hears_of_long_ones() -> None:
    told: list[tuple[str, bool, float]] = []

    def tell(which: Meter, began: float, seconds: float, cpu: float) -> None:
        told.append((which.task_id, seconds >= 0.02, cpu))

    board = Board(0.02, tell)
    on = meter(board=board)

    async def looks() -> None:
        assert board.meter is on
        await asyncio.sleep(0)
        burn(0.03)

    await metered(looks(), on)
    assert board.meter is None
    ((who, long, cpu),) = told
    assert (who, long) == ("user.x", True)
    assert cpu > 0


class Awaits:
    """An awaitable of the kind that futures are made of, with `count` yields."""

    def __init__(self, count: int) -> None:
        self.count = count

    def __await__(self) -> Iterator[None]:
        for _ in range(self.count):
            yield None


@given(st.lists(st.integers(0, 20), max_size=10))
def test_there_are_as_many_steps_as_waits_and_one(waits: list[int]) -> None:
    async def work() -> None:
        for count in waits:
            await Awaits(count)

    on = meter()
    asyncio.run(_run(work(), on))
    assert on.steps == sum(waits) + 1


async def _run(work: Any, on: Meter) -> None:
    await metered(work, on)
