"""Blocking tasks: what makes one, and what its context does in a thread."""

import asyncio
import threading
from types import ModuleType
from typing import Any

import pytest

from aico_sched.tasks import BaseTask, BlockingContext, BlockingTask, TaskContext
from aico_sched.tasks.loading import LoadProblem, checked_class
from aico_sched.testing import run_task


class Sums(BlockingTask):
    name = "user.sums"

    def run(self, context: BlockingContext[Any]) -> dict[str, Any]:
        context.progress(0.5, "half")
        context.publish("user.told", {"by": context.task_id})
        context.checkpoint()
        return {"thread": threading.current_thread() is not threading.main_thread(), "attempt": context.attempt}


async def test_a_blocking_task_runs_in_a_thread_and_reaches_the_service_from_there() -> None:
    run = await run_task(Sums)
    assert run.error is None
    assert run.result is not None and run.result.data == {"thread": True, "attempt": 1}
    assert [report["message"] for report in run.progress] == ["half"]
    assert run.published == [("user.told", {"by": "user.sums"})]


async def test_a_cancelled_run_hears_of_it_at_its_next_word_to_the_service() -> None:
    began, heard = threading.Event(), []

    class Waits(BlockingTask):
        name = "user.waits"

        def run(self, context: BlockingContext[Any]) -> None:
            began.set()
            try:
                context.sleep(3_600)
            except asyncio.CancelledError:
                heard.append(context.cancelled)
                with pytest.raises(asyncio.CancelledError):
                    context.checkpoint()
                raise

    task = asyncio.create_task(run_task(Waits))
    assert await asyncio.to_thread(began.wait, 10)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert heard == [True]


def checked(**attributes: Any) -> None:
    module = ModuleType("m")
    base = attributes.pop("base", BaseTask)
    module.Task = type("Task", (base,), {"name": "user.x", **attributes})  # type: ignore[attr-defined]
    checked_class(module, "Task", "user.x")


async def execute(self: Any, context: TaskContext[Any]) -> None: ...


async def run_async(self: Any, context: Any) -> None: ...


def run(self: Any, context: Any) -> None: ...


@pytest.mark.parametrize(
    ("attributes", "problem"),
    [
        ({"execute": execute, "environment": "moon"}, "environment must be one of auto, loop"),
        ({"execute": run}, "BlockingTask"),
        ({"base": BlockingTask, "run": run_async}, "must be a plain function"),
        ({"base": BlockingTask, "run": run, "execute": execute}, "no execute of its own"),
        ({"base": BlockingTask, "run": run, "environment": "loop"}, "cannot run on the loop"),
        ({"base": BlockingTask}, "abstract: run missing"),
    ],
)
def test_what_a_class_may_not_be_is_said_when_it_is_loaded(attributes: dict[str, Any], problem: str) -> None:
    with pytest.raises(LoadProblem, match=problem):
        checked(**attributes)


def test_a_class_may_name_its_environment() -> None:
    for environment in ("auto", "loop", "thread", "process", "cluster"):
        checked(execute=execute, environment=environment)
    for environment in ("auto", "thread", "process", "cluster"):
        checked(base=BlockingTask, run=run, environment=environment)
