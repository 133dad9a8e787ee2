"""Task classes that run on workers of a cluster."""

import asyncio
import os
import threading
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from aico_sched.tasks import BaseTask, BlockingContext, BlockingTask, TaskContext, TaskResult
from aico_sched.tasks.powers import DatabaseRefused


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


class Asks(BaseTask):
    """Asks the service for this and that."""

    name = "maintenance.asks"
    environment = "cluster"

    async def execute(self, context: TaskContext[Any]) -> dict[str, Any]:
        rows = await context.query("SELECT task_id FROM scheduled_tasks WHERE task_id = ?", [self.name])
        try:
            await context.query("DELETE FROM scheduled_tasks")
        except DatabaseRefused as error:
            refused = type(error).__name__
        try:
            await context.request("nobody.there", {}, 0.2)
        except TimeoutError:
            silent = "TimeoutError"
        answers = await asyncio.gather(*(context.request("double.ask", {"n": n}, 20) for n in range(3)))
        await context.checkpoint()
        return {"rows": rows, "refused": refused, "silent": silent, "answers": answers}


class AsksForEver(BaseTask):
    """Waits for an answer that does not come."""

    name = "maintenance.asks_for_ever"
    environment = "cluster"

    async def execute(self, context: TaskContext[Any]) -> dict[str, Any]:
        await context.progress(0.1, "asking")
        return await context.request("nobody.there", {}, 600)


class BreaksOnce(BaseTask):
    """Declares what it raises to be worth another try."""

    class Odd(ValueError): ...

    name = "maintenance.breaks_once"
    environment = "cluster"
    transient_errors = (Odd,)

    async def execute(self, context: TaskContext[Any]) -> dict[str, Any]:
        if context.attempt == 1:
            raise self.Odd("the first time")
        return {"attempt": context.attempt}


class Deaf(BaseTask):
    """Swallows every cancellation, for ever."""

    name = "maintenance.deaf_there"
    environment = "cluster"

    async def execute(self, context: TaskContext[Any]) -> None:
        await context.progress(0.1, "begun")
        while True:
            try:
                await asyncio.sleep(3_600)
            except asyncio.CancelledError:
                continue


class DeafBlocking(BlockingTask):
    """Waits in a thread, and asks nobody whether it is to end."""

    name = "maintenance.deaf_blocking_there"
    environment = "cluster"

    def run(self, context: BlockingContext[Any]) -> None:
        context.progress(0.1, "begun")
        threading.Event().wait(3_600)
