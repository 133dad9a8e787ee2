"""Task classes that log."""

import asyncio
from typing import Any

from pydantic import BaseModel, ConfigDict

from aico_sched.tasks import BaseTask, BlockingContext, BlockingTask, TaskContext


class Lines(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    lines: int = 1
    fail: bool = False


def write(log: Any, config: Lines) -> None:
    log.debug("not kept")
    for n in range(config.lines):
        log.info("line", n=n, token="very secret")
    if config.fail:
        log.error("about to fail", why={"password": "x", "code": 7})
        raise RuntimeError("as it was told")


class Logs(BaseTask):
    """Logs so many lines."""

    name = "maintenance.logs"
    Config = Lines

    async def execute(self, context: TaskContext[Lines]) -> None:
        write(context.log, context.config)


class LogsBlocking(BlockingTask):
    """The same in a thread."""

    name = "maintenance.logs_blocking"
    Config = Lines

    def run(self, context: BlockingContext[Lines]) -> None:
        write(context.log, context.config)


class LogsAndGoesOn(BaseTask):
    """Logs so many lines and does not end by itself."""

    name = "maintenance.logs_on"
    Config = Lines

    async def execute(self, context: TaskContext[Lines]) -> None:
        write(context.log, context.config)
        await asyncio.sleep(3_600)
