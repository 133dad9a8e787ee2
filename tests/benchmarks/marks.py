"""Task classes for the benchmarks that must know when a run's code began or ended, whatever the service says of it."""

from __future__ import annotations

import os
import time
from typing import Any

from pydantic import BaseModel, ConfigDict

from aico_sched.tasks import BaseTask, EmptyConfig, TaskContext

TASK_SECONDS = 0.02
"""As the peers' programs have it."""


class Log(BaseModel):
    """Where to write."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    log: str


def note(log: str, line: str) -> None:
    """One line as one append, which the kernel keeps when the process is killed."""
    descriptor = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(descriptor, f"{line}\n".encode())
    finally:
        os.close(descriptor)


class Mark(BaseTask):
    """Writes down the wall time at which its code began."""

    name = "bench.mark"
    Config = Log

    async def execute(self, context: TaskContext[Log]) -> dict[str, Any]:
        note(context.config.log, repr(time.time()))
        return {}


class Witness(BaseTask):
    """Writes down that it came to its end."""

    name = "bench.witness"
    Config = Log

    async def execute(self, context: TaskContext[Log]) -> dict[str, Any]:
        await context.sleep(TASK_SECONDS)
        note(context.config.log, context.task_id)
        return {}


class Nothing(BaseTask):
    """Does nothing."""

    name = "bench.nothing"
    Config = EmptyConfig

    async def execute(self, context: TaskContext[EmptyConfig]) -> dict[str, Any]:
        return {}
