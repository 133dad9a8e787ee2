from typing import Any

import pytest

from aico_sched.tasks import PermanentError, TaskResult, TransientError
from aico_sched.tasks.demo import DemoEcho, DemoFail, DemoSleep
from aico_sched.testing import run_task


async def test_echo_returns_its_configuration() -> None:
    run = await run_task(DemoEcho, {"a": [1, {"b": None}]})
    assert run.result == TaskResult(data={"a": [1, {"b": None}]})


async def test_sleep_waits_in_steps_and_reports_each(outside: Any) -> None:
    run = await run_task(DemoSleep, {"seconds": 60, "steps": 4}, clock=outside.clock)
    assert outside.clock.slept == [15.0] * 4
    assert [report["fraction"] for report in run.progress] == [0.25, 0.5, 0.75, 1.0]
    assert run.result == TaskResult.ok("slept 60 s", steps=4)


@pytest.mark.parametrize(("kind", "error"), [("transient", TransientError), ("permanent", PermanentError)])
async def test_fail_fails_as_often_as_asked(kind: str, error: type[Exception]) -> None:
    config = {"times": 2, "kind": kind}
    errors = [(await run_task(DemoFail, config, attempt=attempt)).error for attempt in (1, 2, 3)]
    assert [type(raised) for raised in errors] == [error, error, type(None)]
