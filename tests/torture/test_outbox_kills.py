"""The service dies between a commit and the publishing of its events, again and again: no event is lost or doubled for
who resumes, and every command has one effect and one answer.

5 deaths by default, 100 with `AICO_SCHED_LONG=1`.
"""

import asyncio
import os
import random
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from aico_sched.client import SchedulerClient
from aico_sched.client.events import Event
from aico_sched.security.database_key import database_key
from aico_sched.store.connection import Database
from aico_sched.store.outbox import Outbox
from aico_sched.topics import names

DEATHS = 100 if os.environ.get("AICO_SCHED_LONG") else 5
WORKERS = 4
ROOT = Path(__file__).parents[2]


def free_ports() -> tuple[int, int]:
    """Two ports of one kind for all the service's lives."""
    with socket.socket() as one, socket.socket() as other:
        for each in (one, other):
            each.bind(("127.0.0.1", 0))
        return one.getsockname()[1], other.getsockname()[1]


@asynccontextmanager
async def victim(folder: Path, ports: tuple[int, int], commits: int) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.torture.outbox_victim", str(folder), *map(str, ports), str(commits),
        cwd=ROOT, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    try:
        async with asyncio.timeout(60):
            while (line := await process.stdout.readline()) != b"started\n":
                assert line, "the service ended before it had started"
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


@pytest.mark.timeout(60 + 10 * DEATHS)
async def test_no_event_is_lost_when_the_process_dies_before_it_publishes(tmp_path: Path) -> None:
    draw, folder, ports = random.Random(5), tmp_path / "data", free_ports()
    heard: list[Event] = []
    asked: list[str] = []
    made: list[str] = []
    enough: list[bool] = []
    async with victim(folder, ports, 0):
        client = await SchedulerClient.discover(folder, timeout=60).__aenter__()
        stream = client.events(resume=True)
        await client.health()

    async def listen() -> None:
        async for event in stream:
            heard.append(event)

    async def create() -> None:
        """One task after the other, each until it is acknowledged, through all deaths."""
        while not enough:
            task_id = f"user.t{len(asked)}"
            asked.append(task_id)
            made.append((await client.create(task_id, "interval:86400", task_class="demo.echo")).task_id)

    listening = asyncio.create_task(listen())
    creating = [asyncio.create_task(create()) for _ in range(WORKERS)]
    for _ in range(DEATHS):
        async with victim(folder, ports, draw.randrange(1, 5)) as process, asyncio.timeout(30):
            assert await process.wait() == -signal.SIGKILL
    enough.append(True)
    async with victim(folder, ports, 0) as process:
        await asyncio.gather(*creating)
        assert sorted(made) == sorted(asked)
        async with asyncio.timeout(30):
            while set(asked) - {str(event.payload.get("task_id")) for event in heard}:
                await client.health()
        await client.close()
        await listening
        process.terminate()
        await process.wait()
    assert len(made) >= DEATHS
    check(folder, heard, len(made))


def check(folder: Path, heard: list[Event], made: int) -> None:
    """Every event about the tasks of this test came once, and each topic's in order."""
    database = Database.open(folder / "scheduler.db", database_key(folder / "keys" / "database.key", {}))
    try:
        rows = database._raw("SELECT topic, seq, message_id FROM scheduler_events")
        tasks = database._raw("SELECT count(*) FROM scheduled_tasks WHERE task_id LIKE 'user.%'")
    finally:
        database.close()
    assert tasks == [(made,)]
    durable = {(topic, seq): message_id for topic, seq, message_id in rows}
    numbered = [(event.topic, event.seq) for event in heard if event.seq]
    assert len(set(numbered)) == len(numbered), "an event came twice"
    for event in heard:
        if event.seq:
            assert durable[event.topic, event.seq] == event.message_id
    for topic in {topic for topic, _ in numbered}:
        seqs = [seq for each, seq in numbered if each == topic]
        assert seqs == list(range(seqs[0], seqs[0] + len(seqs))), f"{topic} has gaps or another order"


async def test_the_next_life_publishes_what_was_committed_and_not_published(tmp_path: Path) -> None:
    """The subscribers that fill gaps by themselves would hide it, if it did not."""
    folder, ports = tmp_path / "data", free_ports()
    async with victim(folder, ports, 0) as process:
        process.terminate()
        assert await process.wait() == 0
    async with victim(folder, ports, 1) as process, SchedulerClient.discover(folder, timeout=60) as client:
        creating = asyncio.create_task(client.create("user.t", "interval:86400", task_class="demo.echo"))
        async with asyncio.timeout(30):
            assert await process.wait() == -signal.SIGKILL
        left = unpublished(folder)
        assert names.TASK_CREATED in left
        async with victim(folder, ports, 0) as again:
            await creating
            stats = await client.stats()
            assert stats.actors["bridge"]["events"] >= len(left)
            again.terminate()
            assert await again.wait() == 0
    assert unpublished(folder) == []


def unpublished(folder: Path) -> list[str]:
    """The topics of events that are not known to be on the bus."""
    database = Database.open(folder / "scheduler.db", database_key(folder / "keys" / "database.key", {}))
    try:
        return [event.topic for event in Outbox(database).unpublished(1_000)]
    finally:
        database.close()
