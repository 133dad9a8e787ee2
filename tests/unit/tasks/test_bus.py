from typing import Any

import pytest

from aico_sched.tasks import TaskResult, TransientError
from aico_sched.tasks.bus import BusPublish, BusRequest
from aico_sched.tasks.errors import InvalidTaskConfig
from aico_sched.testing import run_task


async def test_a_message_is_published_as_configured() -> None:
    run = await run_task(BusPublish, {"topic": "lamp.on", "payload": {"room": "hall"}})
    assert run.published == [("lamp.on", {"room": "hall"})]
    assert run.result == TaskResult.ok("published on lamp.on")


async def test_a_good_reply_is_the_result() -> None:
    config = {"topic": "lamp.state", "payload": {"room": "hall"}, "timeout": 2}
    run = await run_task(BusRequest, config, replies={"lamp.state": lambda asked: {"ok": True, "on": asked["room"]}})
    assert run.requested == [("lamp.state", {"room": "hall"})]
    assert run.result == TaskResult.ok("lamp.state replied", reply={"ok": True, "on": "hall"})


async def test_a_reply_that_does_not_say_ok_is_good_too() -> None:
    run = await run_task(BusRequest, {"topic": "a.b"}, replies={"a.b": {"value": 1}})
    assert run.result is not None and run.result.success


@pytest.mark.parametrize(
    ("error", "message"),
    [
        ({"code": "task_not_found", "message": "there is no task x"}, "task_not_found: there is no task x"),
        ({"message": "no"}, "no"),
        ({}, "the request was refused"),
        ("broken", "broken"),
        (None, "the request was refused"),
    ],
)
async def test_a_bad_reply_fails_the_run_with_its_error(error: Any, message: str) -> None:
    reply = {"ok": False, "error": error}
    run = await run_task(BusRequest, {"topic": "a.b"}, replies={"a.b": reply})
    assert run.result == TaskResult.failed(message, reply=reply)


async def test_no_reply_is_a_transient_error() -> None:
    run = await run_task(BusRequest, {"topic": "a.b", "timeout": 1.5})
    assert isinstance(run.error, TransientError)
    assert str(run.error) == "no reply on a.b within 1.5 s"


@pytest.mark.parametrize("task", [BusPublish, BusRequest])
@pytest.mark.parametrize(
    ("config", "field"),
    [
        ({}, "topic"),
        ({"topic": "scheduler.task.create"}, "topic"),
        ({"topic": "scheduler"}, "topic"),
        ({"topic": ""}, "topic"),
        ({"topic": "a", "payload": []}, "payload"),
        ({"topic": "a", "more": 1}, "more"),
    ],
)
async def test_bad_configurations_are_refused(task: Any, config: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidTaskConfig) as caught:
        await run_task(task, config)
    assert caught.value.field == field


@pytest.mark.parametrize("timeout", [0, -1, 3_601, "soon"])
async def test_a_timeout_has_bounds(timeout: Any) -> None:
    with pytest.raises(InvalidTaskConfig):
        await run_task(BusRequest, {"topic": "a", "timeout": timeout})
