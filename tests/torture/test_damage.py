"""Pages of the encrypted file are overwritten, of a stopped and of a running service: what can be read is answered,
what cannot is said, nothing is changed any more, and `aico-sched restore` mends it."""

import asyncio
import os
from pathlib import Path

import pytest

from aico_sched.client import SchedulerClient
from aico_sched.client.errors import SchedulerError
from aico_sched.security.database_key import key_from_file
from aico_sched.store.connection import Database
from aico_sched.topics import names
from tests.integration.store.test_full_disk import data, started
from tests.integration.support.process import command, server

LONG = os.environ.get("AICO_SCHED_LONG") == "1"
TASKS = 60
PAGE = 4096
WIDE = (0.3, 0.7)
"""A part of the file that holds some of whatever is asked for."""
CONFIG = {"note": "ä" * 3_000}
"""More than a page holds: what overflows has no structure in which damage would show."""


def name_of(i: int) -> str:
    return f"user.t{i:03}"


async def fill(client: SchedulerClient) -> None:
    create = [client.create(name_of(i), "@yearly", task_class="demo.echo", config=CONFIG) for i in range(TASKS)]
    await asyncio.gather(*create)


async def seeded(folder: Path) -> Path:
    """A stopped service with tasks, and a backup of it."""
    async with started(folder) as (service, client, _):
        await fill(client)
        backup = folder / "whole.backup"
        await client.request(names.STORE_BACKUP, {"file": str(backup)})
        assert await service.stop() == 0
    return backup


def overwrite(folder: Path, first: float, last: float) -> None:
    """Random bytes over all pages from one part of the file to another."""
    file = data(folder) / "scheduler.db"
    pages = file.stat().st_size // PAGE
    begin, end = int(pages * first), int(pages * last)
    assert 2 < begin < end
    with file.open("r+b") as writing:
        writing.seek(begin * PAGE)
        writing.write(os.urandom((end - begin) * PAGE))


async def restored(folder: Path, backup: Path) -> None:
    """A restore mends it: every task is there again."""
    ended = await command(folder, "restore", str(backup))
    assert ended.code == 0, ended.errors
    async with started(folder) as (service, client, _):
        for i in range(TASKS):
            assert (await client.status(name_of(i))).task.config == CONFIG
        await client.create("user.after", "@yearly", task_class="demo.echo")
        assert (await client.health()).checks["database"]["ok"]
        assert await service.stop() == 0


@pytest.mark.parametrize("pages", [WIDE, *([(0.1, 0.2), (0.5, 0.6), (0.6, 0.9), (0.9, 1.0)] if LONG else [])])
async def test_damage_while_it_runs(tmp_path: Path, pages: tuple[float, float]) -> None:
    backup = await seeded(tmp_path)
    async with started(tmp_path) as (service, client, events):
        overwrite(tmp_path, *pages)
        answered, refused = 0, []
        for i in range(TASKS):
            try:
                view = await client.status(name_of(i))
            except SchedulerError as error:
                refused.append(error)
            else:
                assert view.task.config == CONFIG
                answered += 1
        assert answered
        assert {error.code for error in refused} <= {"unavailable"}, refused[:3]
        key = "database"
        if not refused:
            # What was asked for lies elsewhere, or was in memory still; the check reads every page of the file.
            assert pages != WIDE
            try:
                assert (await client.request(names.STORE_CHECK, {}))["findings"]
                key = "database_damaged"
            except SchedulerError as error:
                # The service has met it by itself meanwhile.
                assert error.code == "unavailable"
        with pytest.raises(SchedulerError, match="aico-sched restore FILE") as change:
            await client.create("user.new", "@yearly", task_class="demo.echo")
        assert change.value.code == "unavailable"
        alert = await events.first(names.ALERT, key=key, severity="critical")
        assert alert.payload["details"].get("state", "damaged") == "damaged"
        health = await client.health()
        assert health.status == "critical"
        assert health.checks["database"]["state"] == "damaged"
        assert health.checks["actors"] == {"ok": True, "silent": [], "restarts": {}}
        assert await service.stop() == 0
    await restored(tmp_path, backup)


async def test_damage_while_it_is_stopped(tmp_path: Path) -> None:
    backup = await seeded(tmp_path)
    key = key_from_file(data(tmp_path) / "keys" / "database.key")
    database = Database.open(data(tmp_path) / "scheduler.db", key)
    root = next(page for page, table in database.roots().items() if table == "scheduled_tasks")
    database.close()
    with (data(tmp_path) / "scheduler.db").open("r+b") as writing:
        writing.seek((root - 1) * PAGE)
        writing.write(os.urandom(PAGE))
    async with server(tmp_path, "run") as service:
        said = await service.says("service_failed")
        assert "aico-sched restore FILE" in said["reason"]
        assert "traceback" not in said
        assert await service.process.wait() == 1
    await restored(tmp_path, backup)
