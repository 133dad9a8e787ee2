"""One attempt: every return, raise and cancellation is a named outcome, and nothing a task does escapes."""

import asyncio
import contextvars
import gc
import json
from collections.abc import Callable
from math import inf
from pathlib import Path
from typing import Any

import msgpack
import pytest
import structlog
from pydantic import BaseModel, ConfigDict

from aico_sched.execution.attempt import Attempt, GiveUp, broken, ended_unbegun, run_attempt
from aico_sched.execution.environments import Environments
from aico_sched.execution.on_loop import LoopRunner
from aico_sched.execution.watch import LoopWatch
from aico_sched.tasks.base import BaseTask, PermanentError, TaskResult, TransientError
from aico_sched.tasks.ports import TaskPorts
from aico_sched.topics import limits
from aico_sched.topics.envelope import decode, encode, new_envelope
from aico_sched.topics.internal import AttemptEnd, AttemptStart
from tests.support.clock import START_US, FakeClock, turns

RETRY = {"max_attempts": 4, "delay": 60.0, "max_delay": 3600.0, "multiplier": 2.0, "jitter": "none"}
Body = Callable[[Any], Any]


class Config(BaseModel):
    model_config = ConfigDict(extra="allow")


class Runner:
    """Runs `body` as a task, with this attempt."""

    def __init__(self, folder: Path) -> None:
        self.clock, self.folder = FakeClock(), folder
        self.progress: list[dict[str, Any]] = []
        self.given_up: list[AttemptEnd] = []
        self.give_up = GiveUp(6.0, self.given_up.append)
        self.attempt = Attempt(self.start(), begun=True)
        self.permanent: tuple[type[BaseException], ...] = ()

    def start(self, **given: Any) -> AttemptStart:
        values: dict[str, Any] = {
            "execution_id": "e1",
            "task_id": "user.x",
            "attempt": 1,
            "task_class": "user.x",
            "config": {},
            "scheduled_for_us": START_US,
            "claimed_us": START_US,
            "timeout": 300.0,
            "retry": RETRY,
            "trigger": "schedule",
            "creator": "alice",
            "role": "operator",
        }
        return AttemptStart(**(values | given))

    def load(self, name: str) -> type[BaseTask]:
        runner = self

        class Task(BaseTask):
            name = "user.x"
            permanent_errors = runner.permanent

            async def execute(self, context: Any) -> Any:
                return await runner.body(context)

        Task.Config = Config
        return Task

    async def run(self, body: Body, **given: Any) -> AttemptEnd:
        async with asyncio.timeout(10):
            return await self.begin(body, **given)

    def begin(self, body: Body, **given: Any) -> "asyncio.Task[AttemptEnd]":
        self.body = body
        self.attempt.start = self.start(**given)

        async def publish(topic: str, payload: dict[str, Any], attributes: dict[str, str]) -> None: ...

        async def request(topic: str, payload: dict[str, Any], timeout: float) -> dict[str, Any]:
            return {}

        async def hold() -> None: ...

        ports = TaskPorts(self.clock, self.progress.append, publish, request, hold)
        environments = Environments({"loop": LoopRunner(LoopWatch(inf, frozenset()))})
        attempt = run_attempt(
            self.attempt, environments, self, ports, self.folder, self.clock, lambda: 0.5, self.give_up
        )
        return asyncio.create_task(attempt)


@pytest.fixture
def runner(tmp_path: Path) -> Runner:
    return Runner(tmp_path)


def returning(value: Any) -> Body:
    async def body(context: Any) -> Any:
        return value

    return body


def raising(error: BaseException) -> Body:
    async def body(context: Any) -> Any:
        raise error

    return body


def carried(end: AttemptEnd) -> AttemptEnd:
    """The end as it arrives at the store; its result is one that a client can read in the list of executions."""
    arrived = AttemptEnd(*msgpack.unpackb(msgpack.packb(end)))
    if arrived.result is not None:
        row = {"result": json.loads(arrived.result)}
        decode(encode(new_envelope("scheduler.reply.a", "s", {"ok": True, "result": {"executions": [row]}})))
    return arrived


@pytest.mark.parametrize(
    ("returned", "result"),
    [
        (None, {"message": "", "data": {}}),
        ({"n": 1}, {"message": "", "data": {"n": 1}}),
        (TaskResult.ok("done", n=1), {"message": "done", "data": {"n": 1}}),
        (TaskResult.skip("nothing"), {"message": "nothing", "data": {}, "skipped": True}),
    ],
)
async def test_what_a_task_returns_is_its_result(runner: Runner, returned: Any, result: Any) -> None:
    end = await runner.run(returning(returned))
    assert (end.outcome, end.retry_at_us, end.error_type) == ("succeeded", 0, None)
    assert json.loads(end.result or "") == result


async def test_a_result_that_says_it_failed_is_a_failure_that_is_retried(runner: Runner) -> None:
    end = await runner.run(returning(TaskResult.failed("disk full")))
    assert (end.outcome, end.error_message) == ("failed", "disk full")
    assert end.retry_at_us == START_US + 60_000_000


@pytest.mark.parametrize("returned", [7, "text", [1], object()])
async def test_any_other_return_is_a_mistake_that_stays(runner: Runner, returned: Any) -> None:
    end = await runner.run(returning(returned))
    assert (end.outcome, end.error_type, end.retry_at_us) == ("failed", "TypeError", 0)


class Declared(Exception):
    pass


@pytest.mark.parametrize(
    ("error", "retried"),
    [
        (ValueError("x"), False),
        (TypeError("x"), False),
        (UnicodeDecodeError("utf-8", b"x", 0, 1, "bad"), False),
        (PermanentError("x"), False),
        (Declared("x"), False),
        (TransientError("x"), True),
        (OSError("x"), True),
        (RuntimeError("x"), True),
        (TimeoutError("its own"), True),
        (SystemExit(3), True),
        (KeyboardInterrupt(), True),
        (GeneratorExit(), True),
        (BaseExceptionGroup("several", [SystemExit(1)]), True),
        (type("PanicException", (BaseException,), {})("a Rust panic"), True),
        (StopAsyncIteration(), True),
    ],
)
async def test_every_exception_is_a_failure_retried_unless_permanent(
    runner: Runner, error: BaseException, retried: bool
) -> None:
    runner.permanent = (Declared,)
    end = await runner.run(raising(error))
    assert end.outcome == "failed"
    assert bool(end.retry_at_us) is retried
    assert end.error_message
    assert "test_attempt.py" in (end.traceback or "")


async def test_an_error_without_text_is_named_by_its_type(runner: Runner) -> None:
    end = await runner.run(raising(RuntimeError()))
    assert (end.error_type, end.error_message) == ("RuntimeError", "RuntimeError")


@pytest.mark.parametrize(("attempt", "delay"), [(1, 60), (2, 120), (3, 240), (4, None)])
async def test_retries_back_off_until_the_last_attempt(runner: Runner, attempt: int, delay: int | None) -> None:
    end = await runner.run(raising(OSError("x")), attempt=attempt)
    assert end.retry_at_us == (0 if delay is None else START_US + delay * 1_000_000)


async def test_a_class_that_cannot_be_loaded_is_a_failure(runner: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    def load(name: str) -> type[BaseTask]:
        raise ImportError("no module")

    monkeypatch.setattr(runner, "load", load)
    end = await runner.run(returning(None))
    assert (end.outcome, end.error_type) == ("failed", "ImportError")


async def wait_for_ever(context: Any) -> None:
    await asyncio.Event().wait()


async def test_a_task_that_takes_too_long_times_out(runner: Runner) -> None:
    run = runner.begin(wait_for_ever, timeout=30.0)
    await runner.clock.advance(29.9)
    assert not run.done()
    await runner.clock.advance(0.2)
    end = await run
    assert (end.outcome, end.error_type) == ("timed_out", "TimeoutError")
    assert end.reason == "it took longer than its timeout of 30 s"
    assert end.retry_at_us == end.completed_us + 60_000_000
    assert end.completed_us - end.started_us == 30_000_000


async def deaf_to(times: int, then: Body, context: Any) -> Any:
    for _ in range(times):
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            continue
    return await then(context)


@pytest.mark.parametrize("then", [returning({"n": 1}), raising(ValueError("late")), raising(SystemExit(1))])
async def test_what_a_task_does_after_its_timeout_does_not_count(runner: Runner, then: Body) -> None:
    run = runner.begin(lambda context: deaf_to(1, then, context), timeout=30.0)
    await runner.clock.advance(30.0)
    end = await run
    assert end.outcome == "timed_out"
    assert end.retry_at_us


async def test_a_task_that_swallows_its_cancellation_is_cancelled_again(runner: Runner) -> None:
    run = runner.begin(lambda context: deaf_to(5, wait_for_ever, context), timeout=30.0)
    await runner.clock.advance(40.0)
    assert run.done()
    assert (await run).outcome == "timed_out"


async def test_nothing_is_left_of_the_timers_of_an_attempt(runner: Runner) -> None:
    await runner.run(returning(None), timeout=30.0)
    assert all(timer.callback is None for _, _, timer in runner.clock._timers)


async def test_a_cancelled_run_ends_as_was_asked(runner: Runner) -> None:
    run = runner.begin(wait_for_ever)
    await turns()
    runner.attempt.end_as = ("cancelled", "cancelled by alice")
    run.cancel("whatever")
    end = await run
    assert (end.outcome, end.reason, end.retry_at_us) == ("cancelled", "cancelled by alice", 0)


async def test_a_run_the_service_ends_is_interrupted(runner: Runner) -> None:
    run = runner.begin(wait_for_ever)
    await turns()
    run.cancel()
    end = await run
    assert (end.outcome, end.reason) == ("interrupted", "the service stopped")


async def test_a_cancellation_of_the_task_s_own_making_is_a_failure(runner: Runner) -> None:
    """Nobody stopped the service; taken for an interruption it would run again at once, time after time."""

    async def body(context: Any) -> None:
        inner = asyncio.create_task(wait_for_ever(context))
        asyncio.get_running_loop().call_soon(inner.cancel)
        await inner

    end = await runner.run(body)
    assert (end.outcome, end.reason) == ("failed", None)
    assert end.error_type == "asyncio.exceptions.CancelledError"
    assert end.retry_at_us == START_US + 60_000_000


async def test_a_run_that_finishes_its_work_although_cancelled_has_succeeded(runner: Runner) -> None:
    run = runner.begin(lambda context: deaf_to(1, returning({"n": 1}), context))
    await turns()
    runner.attempt.end_as = ("cancelled", "why not")
    run.cancel()
    assert (await run).outcome == "succeeded"


def deep(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize(
    "data",
    [
        {"x": object()},
        {"x": {1, 2}},
        {"x": float("nan")},
        {"x": b"bytes"},
        {"x": "\ud800"},
        {"x": 2**64},
        {"x": -(2**63) - 1},
        {"x": deep(600)},
        {"x": deep(10)},
        {"x": deep(100_000)},
        {"x": list(range(limits.MAX_ITEMS + 1))},
    ],
    ids=lambda data: repr(type(data["x"])),
)
async def test_a_result_no_message_can_carry_is_replaced_and_the_run_still_succeeded(runner: Runner, data: Any) -> None:
    end = carried(await runner.run(returning(TaskResult(message="done", data=data))))
    assert end.outcome == "succeeded"
    result = json.loads(end.result or "")
    assert (result["message"], result["data"]) == ("done", {})
    assert result["unprintable"]


@pytest.mark.parametrize(
    "data", [{"x": deep(9)}, {"x": 2**64 - 1, "y": -(2**63), "z": 1.5}, {"ä": "☃\x00"}, {"1": None}]
)
async def test_a_result_that_can_be_carried_is_kept(runner: Runner, data: Any) -> None:
    end = carried(await runner.run(returning(data)))
    assert json.loads(end.result or "")["data"] == data


async def test_a_result_that_is_too_long_says_how_long_it_was(runner: Runner) -> None:
    end = carried(await runner.run(returning(TaskResult.ok("m" * 5_000, text="x" * limits.MAX_RESULT_BYTES))))
    result = json.loads(end.result or "")
    assert result["truncated_bytes"] > limits.MAX_RESULT_BYTES
    assert result["message"] == "m" * 1_000


async def test_a_message_that_is_no_text_does_not_fail_the_run(runner: Runner) -> None:
    end = carried(await runner.run(returning(TaskResult(message=7))))  # type: ignore[arg-type]
    assert json.loads(end.result or "")["message"] == "7"
    end = carried(await runner.run(returning(TaskResult(message="bad \udcff"))))
    assert json.loads(end.result or "")["message"] == "bad \\udcff"


async def test_error_texts_keep_their_end_and_survive_the_way_to_the_store(runner: Runner) -> None:
    """File names that are not UTF-8 come as lone surrogates, which no message can carry."""
    end = carried(await runner.run(raising(FileNotFoundError("x" * 50_000 + "the end \udcff"))))
    for text in (end.error_message, end.traceback):
        assert text is not None
        assert len(text) <= limits.MAX_ERROR_CHARS
        assert text.startswith("…")
        assert text.rstrip("'\n").endswith("the end \\udcff")


async def test_an_error_whose_text_cannot_be_had_is_ours_to_report(runner: Runner) -> None:
    class Nasty(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no text")

    with pytest.raises(RuntimeError) as caught:
        await runner.run(raising(Nasty()))
    end = carried(broken(runner.attempt, caught.value, runner.clock))
    assert (end.outcome, end.retry_at_us) == ("failed", 0)


variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="unset")


async def test_each_run_has_context_variables_of_its_own(runner: Runner) -> None:
    seen: list[Any] = []

    async def body(context: Any) -> None:
        seen.append((variable.get(), dict(structlog.contextvars.get_contextvars())))
        variable.set("mine")

    structlog.contextvars.bind_contextvars(request="of the embedding program")
    try:
        await runner.run(body)
        await runner.run(body, execution_id="e2", attempt=2)
        assert structlog.contextvars.get_contextvars() == {"request": "of the embedding program"}
    finally:
        structlog.contextvars.clear_contextvars()
    assert seen == [
        ("unset", {"task_id": "user.x", "execution_id": "e1", "attempt": 1}),
        ("unset", {"task_id": "user.x", "execution_id": "e2", "attempt": 2}),
    ]
    assert variable.get() == "unset"


async def test_the_configuration_is_a_copy(runner: Runner) -> None:
    stored = {"list": [1]}

    async def body(context: Any) -> None:
        context.config.list.append(2)

    await runner.run(body, config=stored)
    assert stored == {"list": [1]}


async def test_the_last_progress_is_out_before_the_end(runner: Runner) -> None:
    async def body(context: Any) -> None:
        await context.progress(0.1)
        await context.progress(0.2)
        raise OSError("x")

    await runner.run(body)
    assert [report["fraction"] for report in runner.progress] == [0.1, 0.2]


async def test_a_clock_set_back_makes_no_negative_duration(runner: Runner) -> None:
    async def body(context: Any) -> None:
        runner.clock.wall_us -= 3_600_000_000

    end = await runner.run(body)
    assert end.completed_us == end.started_us


async def test_an_attempt_that_never_began_ends_as_asked(runner: Runner) -> None:
    runner.attempt.end_as = ("cancelled", "not needed")
    end = ended_unbegun(runner.attempt, runner.clock)
    assert (end.outcome, end.reason, end.retry_at_us) == ("cancelled", "not needed", 0)


async def test_a_task_that_never_ends_is_given_up_and_its_late_end_is_another_matter(runner: Runner) -> None:
    released = asyncio.Event()

    async def body(context: Any) -> None:
        while not released.is_set():
            try:
                await released.wait()
            except asyncio.CancelledError:
                continue

    running = runner.begin(body, timeout=5.0)
    await runner.clock.advance(5.0 + 5.9)
    assert runner.given_up == []
    await runner.clock.advance(0.2)
    (end,) = runner.given_up
    assert (end.outcome, end.usage) == ("timed_out", {"environment": "loop", "abandoned": True})
    assert "left to itself" in (end.reason or "")
    await runner.clock.advance(30.0)
    assert len(runner.given_up) == 1
    released.set()
    await running


async def test_a_cancelled_task_that_goes_on_is_given_up_as_cancelled(runner: Runner) -> None:
    released = asyncio.Event()

    async def body(context: Any) -> None:
        while not released.is_set():
            try:
                await released.wait()
            except asyncio.CancelledError:
                continue

    running = runner.begin(body, timeout=300.0)
    await turns()
    runner.attempt.end_as = ("cancelled", "by hand")
    running.cancel()
    assert runner.attempt.insist is not None
    runner.attempt.insist()
    await runner.clock.advance(6.1)
    (end,) = runner.given_up
    assert (end.outcome, end.retry_at_us) == ("cancelled", 0)
    assert (end.reason or "").startswith("by hand; ")
    released.set()
    await running
    assert runner.attempt.insist is None


async def test_a_run_leaves_nothing_to_the_garbage_collector(runner: Runner) -> None:
    """A burst of them would fill it, and it stops the loop for a tenth of a second then."""

    async def body(context: Any) -> None:
        await turns()

    await runner.run(body)
    runner.attempt = Attempt(runner.start(), begun=True)
    gc.collect()
    gc.disable()
    try:
        await runner.run(body)
        runner.attempt = Attempt(runner.start(), begun=True)
        await turns()
        assert not [kept for kept in _unreachable() if isinstance(kept, Attempt | asyncio.Task)]
    finally:
        gc.enable()


def _unreachable() -> list[Any]:
    """What only the collector can free."""
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        gc.collect()
        return list(gc.garbage)
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
