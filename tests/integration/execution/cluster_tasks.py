"""Task classes that run on workers of a cluster."""

import asyncio
import os
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from aico_sched.tasks import BaseTask, BlockingContext, BlockingTask, TaskContext, TaskResult


class Where(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    folder: str = ""


class Places(BaseTask):
    """Says in which process it runs, and how far it is."""

    name = "maintenance.places"
    environment = "cluster"
    Config = Where

    async def execute(self, context: TaskContext[Where]) -> TaskResult:
        await context.progress(1.0, "there", pid=os.getpid())
        await context.publish("places.told", {"pid": os.getpid()})
        for number in range(120):
            context.log.info("there", n=number, password="x")
        return TaskResult.ok("on a worker", pid=os.getpid(), attempt=context.attempt)


class PlacesBlocking(BlockingTask):
    """The same with code that blocks."""

    name = "maintenance.places_blocking"
    environment = "cluster"

    def run(self, context: BlockingContext[Any]) -> dict[str, Any]:
        context.checkpoint()
        context.log.warning("blocking")
        return {"pid": os.getpid()}


class Marks(BaseTask):
    """Leaves a file when it begins and another when it is cancelled, in a folder that all share, and waits."""

    name = "maintenance.marks"
    environment = "cluster"
    Config = Where

    async def execute(self, context: TaskContext[Where]) -> dict[str, Any]:
        folder = Path(context.config.folder)
        context.log.info("begun")
        (folder / f"began-{context.attempt}").write_text(str(os.getpid()))
        if context.attempt > 1:
            return {"pid": os.getpid()}
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            (folder / "cancelled").write_text("")
            raise
        return {}


class Breaks(BaseTask):
    """Fails with an error that no unpickling would survive."""

    name = "maintenance.breaks"
    environment = "cluster"

    async def execute(self, context: TaskContext[Any]) -> None:
        class Odd(ValueError):
            def __reduce__(self) -> Any:
                raise AssertionError("it was pickled")

        raise Odd("as it was told")
