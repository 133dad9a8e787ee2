"""A program that embeds the service, for the measure from `start()` to the code of an overdue task.

python start_inside.py DATA_DIR LOG, LOG being the file into which the overdue task writes when its code began. Prints
one JSON object: seconds from the call of `start()`, and resident megabytes.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from pathlib import Path

import psutil

from aico_sched.service import SchedulerService
from aico_sched.settings import Settings

WITHIN = 60.0


async def main(log: Path) -> None:
    """Start, wait for the task, stop."""
    settings = Settings.load()
    began = time.time()
    async with SchedulerService(settings):
        deadline = time.monotonic() + WITHIN
        while not log.exists() or not log.read_text(encoding="ascii").endswith("\n"):
            if time.monotonic() > deadline:
                raise SystemExit("the overdue task did not run")
            await asyncio.sleep(0.002)
        took = float(log.read_text(encoding="ascii").split()[0]) - began
        await asyncio.sleep(1.0)
        memory = psutil.Process().memory_info().rss / 1e6
    print(json.dumps({"from_start": took, "megabytes": memory}))


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[2])))
