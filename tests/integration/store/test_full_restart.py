"""The store begins anew, or opens its file again, while the disk is full: every command has one answer meanwhile."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from aico_sched.client import SchedulerClient
from aico_sched.client.errors import SchedulerError
from aico_sched.execution.child.judge import ConfigJudge
from aico_sched.service import SchedulerService
from aico_sched.store.connection import Database
from aico_sched.store.errors import StoreFull
from aico_sched.topics import names
from aico_sched.verdicts import Verdict
from tests.integration.conftest import Start
from tests.integration.execution.test_config_judged import begun
from tests.integration.store.test_full_disk import ENDLESS, FULL, limit, started
from tests.integration.support.running import Recorder, settings_for
from tests.integration.test_store_restart import OneCrash


async def refused(client: SchedulerClient, count: int = 3) -> None:
    """Changes of several kinds get one clear error each."""
    wanted: list[Any] = [client.create(f"user.more{i}", "@yearly", task_class="demo.echo") for i in range(count)]
    wanted += [client.pause("user.kept"), client.request(names.STORE_CHECK, {})]
    for answer in await asyncio.gather(*wanted, return_exceptions=True):
        assert isinstance(answer, SchedulerError), answer
        assert (answer.code, answer.retryable) == ("unavailable", True)
        assert "disk is full" in str(answer) and "Make room" in str(answer)


@pytest.mark.parametrize("opens", [True, False], ids=["it can be opened", "it cannot be opened"])
async def test_a_store_that_starts_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, opens: bool) -> None:
    fault, full = OneCrash(), [False]
    real_commit, real_open = Database.commit, Database.open.__func__  # type: ignore[attr-defined]

    def commit(self: Database) -> None:
        if full[0] and self.in_transaction:
            self.rollback()
            raise StoreFull("database or disk is full")
        real_commit(self)

    def reopened(kind: type[Database], *arguments: Any, **options: Any) -> Database:
        if full[0] and not opens:
            raise StoreFull("database or disk is full")
        opened: Database = real_open(kind, *arguments, **options)
        return opened

    monkeypatch.setattr(Database, "commit", commit)
    monkeypatch.setattr(Database, "open", classmethod(reopened))
    async with (
        asyncio.timeout(60),
        SchedulerService(settings_for(tmp_path), fault=fault) as service,
        SchedulerClient.discover(tmp_path, timeout=10) as client,
    ):
        events = Recorder(client)
        await client.create("user.kept", "@yearly", task_class="demo.echo")
        full[0] = fault.armed = True
        await refused(client)
        await refused(client)
        if opens:
            assert (await client.status("user.kept")).task.state == "active"
        else:
            with pytest.raises(SchedulerError, match="disk is full"):
                await client.status("user.kept")
        alert = await events.first(names.ALERT, key="database", severity="critical")
        assert alert.payload["details"] == {"state": "full"}
        assert (await client.health()).checks["database"]["state"] == "full"
        stats = await client.stats()
        assert stats.actors["store"]["restarts"] == 1, "a full disk is no crash"
        assert stats.actors["store"]["turns"] < stats.actors["store"]["messages"] + 20, "it waits between two tries"

        full[0] = False
        await events.first(names.ALERT, key="database", resolved=True)
        run = await client.trigger("user.kept")
        assert (await client.wait(run.execution_id, 10)).status == "succeeded"
        assert (await client.health()).checks["database"]["ok"]
        assert service.running
        await events.close()


async def test_a_file_that_cannot_be_opened_again_after_maintenance(tmp_path: Path) -> None:
    async with started(tmp_path) as (service, client, events):
        await client.create("user.kept", "@yearly", task_class="demo.echo")
        limit(service, FULL)
        vacuum = asyncio.create_task(client.request(names.STORE_VACUUM, {"mode": "full"}))
        await events.first(names.ALERT, key="database", severity="critical")
        await refused(client)
        with pytest.raises(SchedulerError, match="disk is full"):
            await client.status("user.kept")
        assert (await client.health()).checks["database"]["state"] == "full"
        limit(service, ENDLESS)
        await events.first(names.ALERT, key="database", resolved=True)
        with pytest.raises(SchedulerError) as failed:
            await vacuum
        assert failed.value.code == "unavailable"
        assert (await client.status("user.kept")).task.state == "active"
        await client.pause("user.kept")
        assert await service.stop() == 0


async def test_a_stop_while_it_cannot_be_opened(tmp_path: Path) -> None:
    async with started(tmp_path) as (service, client, events):
        await client.create("user.kept", "@yearly", task_class="demo.echo")
        limit(service, FULL)
        vacuum = asyncio.create_task(client.request(names.STORE_VACUUM, {"mode": "full"}))
        await events.first(names.ALERT, key="database", severity="critical")
        assert await service.stop() == 0
        with pytest.raises(SchedulerError):
            await vacuum
    async with started(tmp_path) as (service, client, _):
        assert (await client.status("user.kept")).task.state == "active"
        assert await service.stop() == 0


async def test_a_command_whose_configuration_is_being_judged_is_answered_too(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, judged, full = asyncio.Event(), asyncio.Event(), [False]
    real = Database.commit

    async def ask(*_: Any) -> Verdict:
        asked.set()
        await judged.wait()
        return Verdict()

    def commit(self: Database) -> None:
        if full[0] and self.in_transaction:
            self.rollback()
            raise StoreFull("database or disk is full")
        real(self)

    monkeypatch.setattr(ConfigJudge, "ask", ask)
    monkeypatch.setattr(Database, "commit", commit)
    run = await begun(start)
    create = asyncio.create_task(run.client.create("user.strict", "@yearly", config={"count": 1}))
    await asked.wait()
    full[0] = True
    with pytest.raises(SchedulerError, match="disk is full"):
        await run.client.create("user.other", "@yearly", task_class="demo.echo")
    judged.set()
    with pytest.raises(SchedulerError, match="disk is full"):
        await create
    full[0] = False
    await run.events.first(names.ALERT, key="database", resolved=True)
    assert (await run.client.list(prefix="user.")).tasks == []
