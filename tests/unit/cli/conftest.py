"""The command line with a service that answers from a table, so that formatting and exit codes can be looked at."""

import copy
import re
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import pytest
from typer.testing import CliRunner

from aico_sched.cli import connection
from aico_sched.cli.app import app
from aico_sched.topics.views import ExecutionView, TaskView

TASK: dict[str, Any] = {
    "task_id": "user.backup",
    "task_class": "user.backup",
    "schedule": "0 3 * * *",
    "timezone": "Europe/Berlin",
    "config": {"path": "/home"},
    "options": {"timeout": 5.0},
    "state": "active",
    "note": None,
    "enabled": True,
    "protected": False,
    "created_by": "admin",
    "created_at": "2026-01-01T00:00:00.000000Z",
    "updated_at": "2026-01-01T00:00:00.000000Z",
    "last_run": None,
    "next_run": "2026-01-02T02:00:00.000000Z",
    "run_count": 0,
    "revision": 1,
    "warnings": [],
}
EXECUTION: dict[str, Any] = {
    "execution_id": "e-1",
    "task_id": "user.backup",
    "trigger": "manual",
    "status": "succeeded",
    "scheduled_for": "2026-01-01T02:00:00.000000Z",
    "run_at": None,
    "started_at": "2026-01-01T02:00:00.500000Z",
    "completed_at": "2026-01-01T02:00:02.000000Z",
    "duration_seconds": 1.5,
    "attempt": 1,
    "retry_count": 0,
    "result": {"files": 3},
    "error_message": None,
    "reason": None,
    "missed_count": None,
    "progress": None,
    "attempts": None,
}


class FakeService:
    """Answers each topic with what a test put there: a result, or an error to raise."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, dict[str, Any]]] = []
        self.answers: dict[str, Any] = {}
        self.published: list[Any] = []
        self.executions: dict[str, Any] = {}
        self.connect_error: BaseException | None = None
        self.connected_with: tuple[Any, ...] = ()

    @asynccontextmanager
    async def connect(self, *arguments: Any) -> AsyncIterator["FakeService"]:
        self.connected_with = arguments
        if self.connect_error is not None:
            raise self.connect_error
        yield self

    async def request(self, topic: str, payload: Mapping[str, Any]) -> dict[str, Any]:
        self.requests.append((topic, dict(payload)))
        answer = self.answers[topic]
        if isinstance(answer, list):
            answer = answer.pop(0)
        if isinstance(answer, BaseException):
            raise answer
        return dict(copy.deepcopy(answer))

    async def events(self, prefix: str, *, resume: bool) -> AsyncIterator[Any]:
        for event in self.published:
            if isinstance(event, BaseException):
                raise event
            if event.topic.startswith(prefix):
                yield event

    async def wait(self, execution_id: str) -> ExecutionView:
        return ExecutionView.model_validate(self.executions[execution_id])


def event(topic: str, seq: int = 1, **payload: Any) -> Any:
    return SimpleNamespace(topic=topic, seq=seq, timestamp="2026-01-01T00:00:00Z", payload=payload)


@pytest.fixture
def task() -> dict[str, Any]:
    return TaskView.model_validate(TASK).model_dump(mode="json")


@pytest.fixture
def execution() -> dict[str, Any]:
    return ExecutionView.model_validate(EXECUTION).model_dump(mode="json")


@pytest.fixture
def make_event() -> Callable[..., Any]:
    return event


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> FakeService:
    fake = FakeService()
    monkeypatch.setattr(connection, "connect", fake.connect)
    return fake


@pytest.fixture(autouse=True)
def in_utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Times are shown in the user's zone: here it is UTC."""
    import time

    with monkeypatch.context() as patch:
        patch.setenv("TZ", "UTC")
        time.tzset()
        yield
    time.tzset()


@pytest.fixture
def aico() -> Callable[..., Any]:
    """Runs a command line; the result has `exit_code`, `stdout` and `stderr`."""

    def run(*arguments: str, application: Any = app) -> Any:
        result: Any = CliRunner().invoke(application, list(arguments), prog_name="aico-sched", catch_exceptions=False)
        assert "\x1b" not in result.stdout, "colours belong on a terminal only"
        # Rich's frame around usage errors breaks lines where it likes.
        result.words = " ".join(re.sub(r"[│╭╮╰╯─]", " ", result.stderr).split())
        return result

    return run
