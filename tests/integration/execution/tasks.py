"""Task classes for the tests of environments: they block, burn, swallow and meet threading events of the test."""

import asyncio
import os
import threading
import time
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict

from aico_sched.tasks import BaseTask, BlockingContext, BlockingTask, TaskContext, TaskResult, TransientError


class Spot:
    """Where a task in a thread meets the test, by name."""

    known: ClassVar[dict[str, "Spot"]] = {}

    def __init__(self) -> None:
        self.reached, self.go = threading.Event(), threading.Event()
        self.cancelled = False
        self.count = 0

    @classmethod
    def of(cls, name: str) -> "Spot":
        return cls.known.setdefault(name, cls())


class AtSpot(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    spot: str = ""
    seconds: float = 0.0
    times: int = 0


class Computes(BlockingTask):
    """Says where it runs."""

    name = "maintenance.computes"
    Config = AtSpot

    def run(self, context: BlockingContext[AtSpot]) -> TaskResult:
        context.progress(1.0, "counted", n=3)
        assert context.query("SELECT 1 AS one") == [{"one": 1}]
        return TaskResult.ok(thread=threading.current_thread().name, folder=str(context.data_dir.name))


class Deaf(BlockingTask):
    """Hears nothing until its spot lets it go."""

    name = "maintenance.deaf"
    Config = AtSpot

    def run(self, context: BlockingContext[AtSpot]) -> None:
        spot = Spot.of(context.config.spot)
        spot.reached.set()
        spot.go.wait(30)


class Polite(BlockingTask):
    """Works in small pieces until it is told to end."""

    name = "maintenance.polite"
    Config = AtSpot

    def run(self, context: BlockingContext[AtSpot]) -> None:
        spot = Spot.of(context.config.spot)
        spot.reached.set()
        try:
            while True:
                context.checkpoint()
        finally:
            spot.cancelled = context.cancelled


class Burns(BlockingTask):
    """Uses the processor until it is told to end."""

    name = "maintenance.burns"
    Config = AtSpot

    def run(self, context: BlockingContext[AtSpot]) -> None:
        while not context.cancelled:
            sum(range(1_000))
        raise TransientError("it was told to end")


class Moved(BaseTask):
    """A coroutine that names the thread it is in, and uses its context there."""

    name = "maintenance.moved"
    Config = AtSpot
    environment = "thread"

    async def execute(self, context: TaskContext[AtSpot]) -> dict[str, Any]:
        await context.progress(0.5, "half")
        await context.checkpoint()
        await context.sleep(0.01)
        await asyncio.sleep(0.01)
        await context.publish("user.moved", {"by": context.task_id})
        rows = await context.query("SELECT task_id FROM scheduled_tasks WHERE task_id = ?", [context.task_id])
        return {"thread": threading.current_thread().name, "rows": rows}


class Swallows(BaseTask):
    """Outlives every cancellation until its spot lets it go."""

    name = "maintenance.swallows"
    Config = AtSpot

    async def execute(self, context: TaskContext[AtSpot]) -> None:
        spot = Spot.of(context.config.spot)
        spot.reached.set()
        while not spot.go.is_set():
            try:
                await asyncio.sleep(0.01)
            except asyncio.CancelledError:
                spot.cancelled = True


class Blocks(BaseTask):
    """Blocks the loop, once or more often."""

    name = "maintenance.blocks"
    Config = AtSpot

    async def execute(self, context: TaskContext[AtSpot]) -> dict[str, Any]:
        for _ in range(context.config.times or 1):
            await context.checkpoint()
            time.sleep(context.config.seconds)
        return {"thread": threading.current_thread().name}


class Counts(BaseTask):
    """Counts its checkpoints, for ever or so often."""

    name = "maintenance.counts"
    Config = AtSpot

    async def execute(self, context: TaskContext[AtSpot]) -> None:
        spot = Spot.of(context.config.spot)
        spot.reached.set()
        while not context.config.times or spot.count < context.config.times:
            await context.checkpoint()
            spot.count += 1


class IsHeld(BaseTask):
    """Passes checkpoints until one has held it, and says for how long."""

    name = "maintenance.is_held"
    Config = AtSpot

    async def execute(self, context: TaskContext[AtSpot]) -> dict[str, float]:
        Spot.of(context.config.spot).reached.set()
        held = 0.0
        while held < context.config.seconds:
            before = context.monotonic()
            await context.checkpoint()
            held = context.monotonic() - before
            await asyncio.sleep(0.01)
        return {"held": held}


class Nice(BaseTask):
    """Says with what priority it runs."""

    name = "maintenance.nice"

    async def execute(self, context: TaskContext[Any]) -> dict[str, Any]:
        return {"pid": os.getpid(), "nice": os.getpriority(os.PRIO_PROCESS, 0)}


class BurnsLoop(BaseTask):
    """Uses the processor on the loop in steps of `seconds` that are short, without end."""

    name = "maintenance.burns_loop"
    Config = AtSpot

    async def execute(self, context: TaskContext[AtSpot]) -> None:
        while True:
            end = time.perf_counter() + context.config.seconds
            while time.perf_counter() < end:
                pass
            await context.checkpoint()
