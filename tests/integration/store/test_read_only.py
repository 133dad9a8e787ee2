"""A database that can no longer be written while the service runs: changes are refused, and it goes on by
itself when they can be."""

import asyncio
import os
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from aico_sched.client import SchedulerClient
from aico_sched.client.errors import SchedulerError
from aico_sched.store.connection import Database
from aico_sched.topics import names
from tests.integration.conftest import Start
from tests.integration.support.process import Server, server
from tests.integration.support.running import Recorder


async def refused(client: SchedulerClient) -> None:
    for change in (client.create("user.more", "@yearly", task_class="demo.echo"), client.pause("user.kept")):
        with pytest.raises(SchedulerError, match="Let its user write") as refusal:
            await change
        assert (refusal.value.code, refusal.value.retryable) == ("unavailable", True)


async def test_a_database_that_turns_read_only(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """SQLite itself says so of each write, as it does where the file or its file system has become read-only."""
    opened: list[Database] = []
    real = Database.take_lease

    def noted(self: Database, holder: str) -> None:
        opened.append(self)
        real(self, holder)

    monkeypatch.setattr(Database, "take_lease", noted)
    run = await start()
    await run.client.create("user.kept", "@yearly", task_class="demo.echo")
    before = run.content()
    opened[0]._connection.execute("PRAGMA query_only=ON")
    await refused(run.client)
    alert = await run.events.first(names.ALERT, key="database", severity="critical")
    assert alert.payload["details"] == {"state": "read_only"}
    assert (await run.client.status("user.kept")).task.state == "active"
    health = await run.client.health()
    assert (health.status, health.checks["database"]["state"]) == ("critical", "read_only")
    assert run.content() == before
    # A try that fails changes nothing of that.
    await run.barrier()
    await refused(run.client)

    opened[0]._connection.execute("PRAGMA query_only=OFF")
    await run.events.first(names.ALERT, key="database", resolved=True)
    assert (await run.ran("user.kept")).status == "succeeded"
    assert (await run.client.health()).checks["database"]["ok"]
    assert (await run.client.stats()).actors["store"]["restarts"] == 0


def bound_by_permissions(folder: Path) -> AbstractAsyncContextManager[Server]:
    """A service whose user may not write where permissions say so, also if that is root."""
    drop = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"] if os.geteuid() == 0 else []
    under = ["env", "PYTHONDONTWRITEBYTECODE=1", *drop]
    return server(folder, "run", "--data-dir", str(folder / "data"), under=under)


async def test_a_file_that_may_no_longer_be_written(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    database = folder / "scheduler.db"
    async with bound_by_permissions(tmp_path) as service:
        await service.says("service_started")
        async with SchedulerClient.discover(folder, timeout=15) as client:
            events = Recorder(client)
            await client.create("user.kept", "@yearly", task_class="demo.echo")
            database.chmod(0o400)
            # What is open can be written still. For maintenance it is closed, and then opened anew.
            vacuum = asyncio.create_task(client.request(names.STORE_VACUUM, {"mode": "full"}))
            alert = await events.first(names.ALERT, key="database", severity="critical")
            assert alert.payload["details"] == {"state": "read_only"}
            await refused(client)
            with pytest.raises(SchedulerError, match="Let its user write"):
                await client.status("user.kept")
            assert (await client.health()).checks["database"]["state"] == "read_only"
            database.chmod(0o600)
            await events.first(names.ALERT, key="database", resolved=True)
            with pytest.raises(SchedulerError, match="readonly database"):
                await vacuum
            assert (await client.status("user.kept")).task.state == "active"
            run = await client.trigger("user.kept")
            assert (await client.wait(run.execution_id, 15)).status == "succeeded"
            await events.close()
        assert await service.stop() == 0
