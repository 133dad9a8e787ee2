"""What the tests about tasks share: a clock that moves when told, a context over recorded ports, code on disk."""

import asyncio
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from aico_sched.clock import Timeout
from aico_sched.tasks import EmptyConfig, TaskContext, TaskPorts


@dataclass
class ManualTimer:
    when: float
    callback: Callable[[], None]
    cancelled: bool = False

    def cancel(self) -> None:
        self.cancelled = True


@dataclass
class ManualClock:
    """Stands still until `advance`; `tick` seconds pass with each look at it."""

    time: float = 1_000.0
    tick: float = 0.0
    timers: list[ManualTimer] = field(default_factory=list)
    slept: list[float] = field(default_factory=list)

    def now_us(self) -> int:
        return int(self.time * 1_000_000)

    def monotonic(self) -> float:
        self.time += self.tick
        return self.time

    def call_at(self, when: float, callback: Callable[[], None]) -> ManualTimer:
        timer = ManualTimer(when, callback)
        self.timers.append(timer)
        return timer

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.advance(seconds)

    def timeout(self, seconds: float) -> AbstractAsyncContextManager[Timeout]:
        return asyncio.timeout(seconds)

    def advance(self, seconds: float) -> None:
        self.time += seconds
        due = [timer for timer in self.timers if timer.when <= self.time and not timer.cancelled]
        self.timers = [timer for timer in self.timers if timer not in due]
        for timer in due:
            timer.callback()


@dataclass
class Outside:
    """Ports that remember what went through them."""

    clock: ManualClock = field(default_factory=ManualClock)
    progress: list[dict[str, Any]] = field(default_factory=list)
    published: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    holds: int = 0
    hold: Callable[[], Any] | None = None

    def context(self, folder: Path, **given: Any) -> TaskContext[Any]:
        async def publish(topic: str, payload: dict[str, Any], attributes: dict[str, str]) -> None:
            self.published.append((topic, payload))

        async def request(topic: str, payload: dict[str, Any], timeout: float) -> dict[str, Any]:
            return {"topic": topic, "payload": payload, "timeout": timeout}

        async def hold() -> None:
            self.holds += 1
            if self.hold is not None:
                await self.hold()

        values: dict[str, Any] = {
            "task_id": "user.x",
            "execution_id": "e1",
            "attempt": 1,
            "scheduled_for_us": 1_700_000_000_123_456,
            "trigger": "manual",
            "config": EmptyConfig(),
            "data_dir": folder / "data",
            "ports": TaskPorts(self.clock, self.progress.append, publish, request, hold),
        }
        return TaskContext(**(values | given))


@pytest.fixture
def outside() -> Outside:
    return Outside()


@pytest.fixture
def context(outside: Outside, tmp_path: Path) -> TaskContext[Any]:
    return outside.context(tmp_path)


TASK = """
from aico_sched.tasks import BaseTask
{before}
class {attribute}(BaseTask):
    '''Does {name}.'''
    name = "{name}"
    {body}
    async def execute(self, context):
        return {{"by": "{attribute}"}}
"""


def task_source(name: str, attribute: str = "ATask", body: str = "", before: str = "") -> str:
    return TASK.format(name=name, attribute=attribute, body=body, before=before)


def write(path: Path, text: str) -> Path:
    """A file only its owner can write to, whatever the umask."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    path.write_text(text)
    path.chmod(0o600)
    return path


@pytest.fixture
def source() -> Callable[..., str]:
    return task_source


@pytest.fixture
def put() -> Callable[[Path, str], Path]:
    return write


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder on the import path; what was imported during the test is forgotten after it."""
    folder = tmp_path / "library"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    before = set(sys.modules)
    yield folder
    for name in set(sys.modules) - before:
        del sys.modules[name]


@pytest.fixture
def user_folder(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "user_tasks"
    folder.mkdir(mode=0o700)
    before = set(sys.modules)
    yield folder
    for name in set(sys.modules) - before:
        del sys.modules[name]
