"""The file is damaged, cut off or gone when the store opens it again: the service ends, says so once, and has changed
nothing; what was acknowledged is there when the file is whole again."""

import asyncio
import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from aico_sched.client import SchedulerClient
from aico_sched.topics import names
from tests.integration.store.test_full_disk import data, started
from tests.integration.store.test_start_errors import is_kept
from tests.integration.support.process import Server

PAGE = 4096


def overwritten(file: Path) -> None:
    file.write_bytes(b"\xa5" * PAGE + file.read_bytes()[PAGE:])


def cut_off(file: Path) -> None:
    content = file.read_bytes()
    file.write_bytes(content[: len(content) // 2 // PAGE * PAGE])


def emptied(file: Path) -> None:
    file.write_bytes(b"")


def removed(file: Path) -> None:
    file.unlink()


async def stopped_worker(service: Server, client: SchedulerClient) -> psutil.Process:
    """The child that has the database for itself, held still."""
    while (await client.health()).checks["database"]["state"] != "maintenance":
        pass
    while True:
        for child in psutil.Process(service.process.pid).children():
            if "aico_sched.store.maintenance.worker" in child.cmdline():
                child.suspend()
                return child
        await client.health()


async def last_words(service: Server) -> list[dict[str, Any]]:
    """The errors a service ends with."""
    async with asyncio.timeout(30):
        _, errors = await service.process.communicate()
    lines = [json.loads(line) for line in errors.decode().splitlines()]
    return [line for line in lines if line["level"] in ("error", "critical") and line["event"] != "worker_died"]


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (overwritten, "aico-sched restore FILE|restore a backup"),
        (cut_off, "aico-sched restore FILE"),
        (emptied, "gone or empty"),
        (removed, "gone or empty"),
    ],
)
async def test_it_ends_and_says_so_once(tmp_path: Path, harm: Callable[[Path], None], said: str) -> None:
    database = data(tmp_path) / "scheduler.db"
    async with started(tmp_path) as (service, client, _):
        await client.create("user.kept", "@yearly", task_class="demo.echo")
        vacuum = asyncio.create_task(client.request(names.STORE_VACUUM, {"mode": "full"}))
        worker = await stopped_worker(service, client)
        # Its commands wait meanwhile; they are not acknowledged.
        waiting = asyncio.create_task(client.create("user.lost", "@yearly", task_class="demo.echo"))
        sides = {file: file.read_bytes() for file in database.parent.glob("scheduler.db*") if file.is_file()}
        harm(database)
        harmed = database.read_bytes() if database.exists() else None
        worker.send_signal(signal.SIGKILL)
        errors = await last_words(service)
        assert service.process.returncode == 1
        assert [line["event"] for line in errors] == ["service_failed"]
        assert any(each in errors[0]["reason"] for each in said.split("|")), errors
        assert "traceback" not in errors[0]
        assert (database.read_bytes() if database.exists() else None) == harmed, "what is damaged is left as it is"
        # Neither was acknowledged, or ever will be.
        assert not vacuum.done()
        assert not waiting.done()
        for asked in (vacuum, waiting):
            asked.cancel()
    for file, content in sides.items():
        file.write_bytes(content)
    await is_kept(tmp_path)
