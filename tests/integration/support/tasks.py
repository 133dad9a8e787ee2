"""Task classes for the tests: they wait until the test lets them go, and tell what they saw."""

import asyncio
import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict

from aico_sched.tasks import BaseTask, TaskContext, TaskResult, TransientError


class Gate:
    """Holds tasks until `open`. `inside` counts those that wait, `entered` all that ever came."""

    known: ClassVar[dict[str, "Gate"]] = {}
    _numbers: ClassVar[Iterator[int]] = itertools.count(1)

    def __init__(self) -> None:
        self.name = f"gate{next(self._numbers)}"
        self.inside = self.entered = self.most_inside = 0
        self.order: list[str] = []
        self.contexts: list[TaskContext[Any]] = []
        self._open = asyncio.Event()
        self._moved = asyncio.Event()

    def open(self) -> None:
        self._open.set()

    def shut(self) -> None:
        self._open.clear()

    async def has_entered(self, count: int = 1) -> None:
        """Until so many runs have ever come here."""
        async with asyncio.timeout(20):
            while self.entered < count:
                self._moved.clear()
                await self._moved.wait()

    async def passed_by(self, context: TaskContext[Any]) -> None:
        self.inside += 1
        self.entered += 1
        self.most_inside = max(self.most_inside, self.inside)
        self.order.append(context.task_id)
        self.contexts.append(context)
        self._moved.set()
        try:
            await self._open.wait()
        finally:
            self.inside -= 1


@contextmanager
def new_gate() -> Iterator[Gate]:
    gate = Gate()
    Gate.known[gate.name] = gate
    yield gate
    del Gate.known[gate.name]


class Gated(BaseTask):
    """Runs until its gate is opened."""

    name = "user.gated"

    class Config(BaseModel):
        model_config = ConfigDict(frozen=True, extra="forbid")

        gate: str

    async def execute(self, context: TaskContext[Config]) -> TaskResult:
        await Gate.known[context.config.gate].passed_by(context)
        return TaskResult.ok("let through")


class Stubborn(BaseTask):
    """Swallows its cancellation once, then ends."""

    name = "user.stubborn"

    async def execute(self, context: TaskContext[Any]) -> TaskResult:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return TaskResult.ok("as if nothing had been")
        return TaskResult.ok()


class Raises(BaseTask):
    """Raises the built-in exception it is told to."""

    name = "user.raises"
    permanent_errors = (LookupError,)
    transient_errors = (UnicodeError,)

    class Config(BaseModel):
        model_config = ConfigDict(frozen=True, extra="forbid")

        kind: str

    async def execute(self, context: TaskContext[Config]) -> TaskResult:
        kinds = {
            kind.__name__: kind for kind in (ValueError, TypeError, KeyError, RuntimeError, SystemExit, UnicodeError)
        }
        kinds["TransientError"] = TransientError
        raise kinds[context.config.kind]("as it was told")


class Paces(BaseTask):
    """Takes a step each second, with a checkpoint, and tells how many it has taken."""

    name = "user.paces"

    class Config(BaseModel):
        model_config = ConfigDict(frozen=True, extra="forbid")

        steps: int

    async def execute(self, context: TaskContext[Config]) -> TaskResult:
        for step in range(context.config.steps):
            await context.sleep(1.0)
            await context.progress(None, str(step + 1))
        return TaskResult.ok()


class Says(BaseTask):
    """Logs so many lines of a text."""

    name = "user.says"

    class Config(BaseModel):
        model_config = ConfigDict(frozen=True, extra="forbid")

        lines: int = 1
        text: str = "so it is"

    async def execute(self, context: TaskContext[Config]) -> TaskResult:
        for n in range(context.config.lines):
            (context.log.warning if n % 2 else context.log.info)(context.config.text, n=n)
        return TaskResult.ok()


class Progresses(BaseTask):
    """Reports its progress."""

    name = "user.progresses"

    async def execute(self, context: TaskContext[Any]) -> TaskResult:
        await context.progress(0.25, "a quarter", part=1)
        await context.progress(1.0, "all of it", part=4)
        return TaskResult.ok("done", parts=4)


class Reports(BaseTask):
    """Returns what its context holds."""

    name = "user.reports"

    async def execute(self, context: TaskContext[Any]) -> TaskResult:
        return TaskResult.ok(
            trigger=context.trigger,
            attempt=context.attempt,
            task_id=context.task_id,
            execution_id=context.execution_id,
            scheduled_for=context.scheduled_for.isoformat(),
        )
