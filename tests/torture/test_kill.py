"""`kill -9` of a real service process under load, again and again: what was acknowledged survives.

Short in CI; `make torture` kills it 200 times, `AICO_SCHED_KILLS` another number of times.
"""

import asyncio
import os
import random
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from aico_sched.client import SchedulerClient
from aico_sched.client.errors import SchedulerError
from aico_sched.security.database_key import database_key
from aico_sched.store.connection import Database
from aico_sched.topics import names

KILLS = int(os.environ.get("AICO_SCHED_KILLS", "200" if os.environ.get("AICO_SCHED_LONG") == "1" else "5"))
LONGEST_DELAY = 0.3
"""Seconds at most between an event and the kill: it is to come at any moment, not only after a commit."""
TASKS_PER_ROUND = 24
AT_BOOT = "custom.at_boot"
FINAL = frozenset({"succeeded", "dead", "cancelled", "skipped", "missed", "interrupted"})

TASK_MODULE = '''
import os
from pathlib import Path
from aico_sched.tasks import BaseTask, EmptyConfig, TaskContext, TaskResult

class Witness(BaseTask):
    """Writes down that it began, as one append, which the kernel keeps when the process is killed."""
    name = "user.witness"

    async def execute(self, context: TaskContext[EmptyConfig]) -> TaskResult:
        line = f"{context.task_id} {context.scheduled_for.isoformat()}\\n"
        descriptor = os.open(os.environ["WITNESS_FILE"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(descriptor, line.encode())
        os.close(descriptor)
        await context.sleep(0.02)
        return TaskResult.ok()
'''


@asynccontextmanager
async def service(tmp_path: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    """A service process on the data folder; killed at the end if it still runs."""
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(tmp_path), *filter(None, sys.path)]),
        "WITNESS_FILE": str(tmp_path / "witness"),
        "AICO_SCHED_DATA_DIR": str(tmp_path / "data"),
        "AICO_SCHED_BUS__PUBLISH_PORT": "0",
        "AICO_SCHED_BUS__SUBSCRIBE_PORT": "0",
        "AICO_SCHED_SCHEDULER__TASK_MODULES": '["witness_tasks"]',
        # The witness writes outside its own folder.
        "AICO_SCHED_SANDBOX__ENABLED": "false",
        "AICO_SCHED_SCHEDULER__MAX_CPU_PERCENT": "100",
        "AICO_SCHED_SCHEDULER__MAX_MEMORY_PERCENT": "100",
    }
    (tmp_path / "data" / "service.json").unlink(missing_ok=True)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "aico_sched.cli.app", "run", env=environment, stderr=asyncio.subprocess.PIPE
    )
    assert process.stderr is not None
    try:
        async with asyncio.timeout(30):
            while b"service_started" not in (line := await process.stderr.readline()):
                assert line, "the service ended before it had started"
        # Somebody has to read on, or the service would block on its log.
        reading = asyncio.create_task(process.stderr.read())
        yield process
        if process.returncode is None:
            process.send_signal(signal.SIGKILL)
        await process.wait()
        await reading
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def create(client: SchedulerClient, task_id: str, delivery: str, acknowledged: dict[str, str]) -> None:
    try:
        await client.create(task_id, "interval:0.05", task_class="user.witness", max_runs=3, delivery=delivery)
    except SchedulerError:
        return
    acknowledged[task_id] = delivery


async def create_at_boot(tmp_path: Path) -> None:
    """A task for every start of the service from the next one on; `settle` does not wait for its end, it has none."""
    async with SchedulerClient.discover(tmp_path / "data", timeout=5.0) as client:
        await client.create(AT_BOOT, "@reboot", task_class="user.witness")


async def load_until_killed(
    process: asyncio.subprocess.Process, tmp_path: Path, turn: int, draw: random.Random, acknowledged: dict[str, str]
) -> None:
    """Create tasks, watch them run, and kill the process after some number of events."""
    events_left = draw.randrange(1, 5 * TASKS_PER_ROUND)
    async with SchedulerClient.discover(tmp_path / "data", timeout=5.0) as client:
        creating = [
            asyncio.create_task(create(client, f"user.r{turn}n{number}", delivery, acknowledged))
            for number in range(TASKS_PER_ROUND)
            for delivery in [("at_least_once", "at_most_once")[number % 2]]
        ]
        async for _ in client.events(names.EVENTS):
            events_left -= 1
            if events_left <= 0:
                break
        await asyncio.sleep(draw.uniform(0, LONGEST_DELAY) * draw.randrange(2))
        process.send_signal(signal.SIGKILL)
        await process.wait()
        for task in creating:
            task.cancel()
        await asyncio.gather(*creating, return_exceptions=True)


async def settle(tmp_path: Path) -> tuple[list[Any], dict[str, int]]:
    """Every execution, and the totals of all time, once all tasks have finished and nothing is under way."""
    async with service(tmp_path), SchedulerClient.discover(tmp_path / "data", timeout=10.0) as client:
        while True:
            stats = await client.stats()
            active = await client.list(state="active", prefix="user.", limit=1)
            if not active.tasks and not stats.actors["store"]["statuses"]:
                break
        rows: list[Any] = []
        cursor = None
        while True:
            page = await client.executions(limit=1000, cursor=cursor)
            rows += page.executions
            cursor = page.next_cursor
            if cursor is None:
                return rows, (await client.stats()).totals


@pytest.mark.timeout(120 + 15 * KILLS)
async def test_kill_9_loses_and_doubles_nothing(tmp_path: Path) -> None:
    draw = random.Random(20_260_101)
    (tmp_path / "witness_tasks.py").write_text(TASK_MODULE)
    acknowledged: dict[str, str] = {}
    async with asyncio.timeout(60 + 15 * KILLS):
        for turn in range(KILLS):
            async with service(tmp_path) as process:
                if turn == 0:
                    await create_at_boot(tmp_path)
                await load_until_killed(process, tmp_path, turn, draw, acknowledged)
            check_integrity(tmp_path)
        executions, totals = await settle(tmp_path)

    known = Counter(row.task_id for row in executions if row.trigger == "schedule")
    assert set(acknowledged) <= set(known), "an acknowledged task never ran"
    assert known[AT_BOOT] == KILLS, "every start but the first queues it once, whatever became of the one before"
    assert {row.status for row in executions} <= FINAL
    statuses = Counter(row.status for row in executions)
    assert {name: totals.get(name, 0) for name in ("succeeded", "skipped")} == {
        name: statuses[name] for name in ("succeeded", "skipped")
    }, "a kill lost or doubled something of the totals"
    begun = Counter((tmp_path / "witness").read_text().splitlines())
    assert begun.total() >= len(acknowledged) > 0
    for row in executions:
        if row.task_id not in acknowledged or row.trigger != "schedule":
            continue
        times = begun[f"{row.task_id} {row.scheduled_for.replace('Z', '+00:00')}"]
        if acknowledged[row.task_id] == "at_most_once":
            assert times <= 1, f"{row.task_id} ran {times} times for the slot {row.scheduled_for}"
        elif row.status == "succeeded":
            assert times >= 1
        if acknowledged[row.task_id] == "at_least_once":
            assert row.status in ("succeeded", "missed", "skipped"), f"{row.task_id} {row.status} {row.reason}"


def check_integrity(tmp_path: Path) -> None:
    """What the kill left is an intact database."""
    key = database_key(tmp_path / "data" / "keys" / "database.key", {})
    database = Database.open(tmp_path / "data" / "scheduler.db", key)
    try:
        assert database.integrity_check() == []
    finally:
        database.close()
