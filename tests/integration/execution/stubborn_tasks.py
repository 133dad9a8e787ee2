"""Task classes whose runs never end, whatever they are told."""

import asyncio
import sys
import time
from typing import Any

from aico_sched.tasks import BaseTask, BlockingContext, BlockingTask, TaskContext


class Swallows(BaseTask):
    """Swallows every cancellation."""

    name = "maintenance.swallows_all"

    async def execute(self, context: TaskContext[Any]) -> None:
        await context.progress(0.0)
        while True:
            try:
                await asyncio.sleep(3_600)
            except asyncio.CancelledError:
                continue


class Blocks(BaseTask):
    """Waits for a thread that does not end."""

    name = "maintenance.waits_for_a_thread"

    async def execute(self, context: TaskContext[Any]) -> None:
        await context.progress(0.0)
        await asyncio.to_thread(time.sleep, 3_600)


class Deaf(BlockingTask):
    """Hears nothing in its thread."""

    name = "maintenance.deaf_thread"

    def run(self, context: BlockingContext[Any]) -> None:
        context.progress(0.0)
        print("begun", file=sys.stderr, flush=True)
        while True:
            time.sleep(1)
