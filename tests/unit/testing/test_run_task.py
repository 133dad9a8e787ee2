import asyncio
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from aico_sched.tasks import BaseTask, TaskContext, TaskResult
from aico_sched.tasks.errors import InvalidTaskConfig
from aico_sched.testing import run_task


class Busy(BaseTask):
    name = "user.busy"

    class Config(BaseModel):
        items: list[int] = []

    async def execute(self, context: TaskContext[Config]) -> dict[str, Any]:
        await context.progress(0.0, "begin")
        await context.progress(0.5, "half")
        await context.publish("busy.seen", {"items": context.config.items})
        context.config.items.append(9)
        (context.data_dir / "kept").write_text("x")
        answer = await context.request("busy.ask", {"n": 1}, 5)
        return {"answer": answer, "slot": context.scheduled_for, "id": context.task_id, "attempt": context.attempt}


async def test_a_run_shows_all_it_did(tmp_path: Path) -> None:
    slot = datetime(2026, 3, 1, 12, 0, 0, 1, tzinfo=UTC)
    config = {"items": [1]}
    run = await run_task(
        Busy,
        config,
        attempt=2,
        scheduled_for=slot,
        data_dir=tmp_path,
        replies={"busy.ask": lambda asked: {"n": asked["n"] + 1}},
    )
    assert run.error is None
    assert run.result == TaskResult(data={"answer": {"n": 2}, "slot": slot, "id": "user.busy", "attempt": 2})
    assert [report["message"] for report in run.progress] == ["begin", "half"]
    assert run.published == [("busy.seen", {"items": [1]})]
    assert run.requested == [("busy.ask", {"n": 1})]
    assert config == {"items": [1]}
    assert (tmp_path / "kept").exists()


async def test_what_the_task_raises_is_told_and_not_raised() -> None:
    run = await run_task(Busy)
    assert isinstance(run.error, TimeoutError)
    assert run.result is None
    assert run.published == [("busy.seen", {"items": []})]


async def test_a_configuration_the_class_refuses_is_raised() -> None:
    with pytest.raises(InvalidTaskConfig) as caught:
        await run_task(Busy, {"items": "many"})
    assert caught.value.field == "items"


async def test_a_wrong_return_value_is_an_error() -> None:
    class Odd(BaseTask):
        name = "user.odd"

        async def execute(self, context: TaskContext[Any]) -> Any:
            return 7

    assert isinstance((await run_task(Odd)).error, TypeError)


async def test_a_run_that_never_ends_meets_its_deadline() -> None:
    class Endless(BaseTask):
        name = "user.endless"

        async def execute(self, context: TaskContext[Any]) -> None:
            await asyncio.Event().wait()

    assert isinstance((await run_task(Endless, deadline=0.01)).error, TimeoutError)
