"""A service that kills itself at a chosen moment; run by `test_real_time.py` as `victim.py FOLDER WHEN SCHEDULE`."""

import asyncio
import json
import os
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from aico_sched.actors import executor
from aico_sched.client import SchedulerClient
from aico_sched.client.errors import TaskExists
from aico_sched.schedule import format_rfc3339
from aico_sched.service import SchedulerService
from aico_sched.settings import Settings
from aico_sched.tasks.demo import DemoEcho
from aico_sched.testing import MemoryBus
from aico_sched.testing.simulation import CalmHost

TASK = "user.x"


def die(*_: Any, **__: Any) -> Any:
    os.kill(os.getpid(), signal.SIGKILL)


async def die_running(self: DemoEcho, context: Any) -> Any:
    die()


async def main(folder: Path, when: str, schedule: str) -> None:
    if when == "claimed":
        executor.ExecutorActor._spawn = die  # type: ignore[method-assign]
    elif when == "running":
        DemoEcho.execute = die_running  # type: ignore[method-assign]
    settings = Settings.load(environ={"AICO_SCHED_DATA_DIR": str(folder)}, scheduler__auto_discover=False)
    bus = MemoryBus()
    async with (
        asyncio.timeout(30),
        SchedulerService(settings, bus=bus, sampler=CalmHost()),
        SchedulerClient(bus.endpoint("admin")) as client,
    ):
        at = f"at:{format_rfc3339(time.time_ns() // 1_000 + 100_000)}"
        # At a restart the task is there, and the service takes up what was left.
        with suppress(TaskExists):
            await client.create(TASK, at if schedule == "at" else "interval:0.2", task_class="demo.echo")
        wanted = 1 if schedule == "at" else 3
        succeeded = 0
        while succeeded < wanted:
            page = await client.executions(task_id=TASK, limit=1_000)
            succeeded = sum(row.status == "succeeded" for row in page.executions)
        rows = [row.model_dump(mode="json") for row in reversed(page.executions)]
    sys.stdout.write(json.dumps(rows) + "\n")


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2], sys.argv[3]))
