"""A disk that is full, seen by a real process: the size its files may have is limited while it runs."""

import asyncio
import json
import resource
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from aico_sched.client import SchedulerClient
from aico_sched.client.errors import SchedulerError
from aico_sched.store.connection import Database
from aico_sched.store.errors import StoreFull
from aico_sched.topics import names
from tests.integration.conftest import Start
from tests.integration.support.process import Server, environment, server
from tests.integration.support.running import Recorder

FULL = 4096
ENDLESS = resource.RLIM_INFINITY


def data(folder: Path) -> Path:
    return folder / ".local/share/aico/scheduler"


def limit(service: Server, size: int) -> None:
    """No file of the process may be written beyond `size` bytes from now on."""
    resource.prlimit(service.process.pid, resource.RLIMIT_FSIZE, (size, ENDLESS))


@asynccontextmanager
async def started(folder: Path) -> AsyncIterator[tuple[Server, SchedulerClient, Recorder]]:
    async with server(folder, "run") as service:
        await service.says("service_started")
        async with SchedulerClient.discover(data(folder), timeout=10) as client:
            recorder = Recorder(client)
            await client.health()
            try:
                yield service, client, recorder
            finally:
                await recorder.close()


async def test_changes_are_refused_until_there_is_room_and_nothing_is_lost(tmp_path: Path) -> None:
    async with started(tmp_path) as (service, client, events):
        await client.create("user.kept", "@yearly", task_class="demo.echo")
        await client.create("user.long", "@yearly", task_class="demo.sleep", config={"seconds": 1.0})
        run = await client.trigger("user.long")
        await events.first("scheduler.event.execution.started", execution_id=run.execution_id)
        limit(service, FULL)
        wanted = [client.create(f"user.more{i}", "@yearly", task_class="demo.echo") for i in range(5)]
        for refused in await asyncio.gather(*wanted, return_exceptions=True):
            assert isinstance(refused, SchedulerError), refused
            assert (refused.code, refused.retryable) == ("unavailable", True)
            assert "disk is full" in str(refused) and "Make room" in str(refused)
        alert = await events.first(names.ALERT, key="database", severity="critical")
        assert alert.payload["details"] == {"state": "full"} and alert.seq == 0
        with pytest.raises(SchedulerError, match="disk is full"):
            await client.pause("user.kept")
        # Questions are answered as ever.
        assert (await client.status("user.kept")).task.state == "active"
        assert (await client.audit(limit=1)).lines
        health = await client.health()
        assert health.status == "critical"
        assert health.checks["database"]["state"] == "full"
        assert health.checks["actors"]["restarts"] == {}, "a full disk is no crash"
        # The run ends with nowhere to write that to.
        async with asyncio.timeout(20):
            while (await client.stats()).executions["ended"] == 0:
                pass
        assert (await client.executions(task_id="user.long")).executions[0].status == "running"

        limit(service, ENDLESS)
        assert (await client.wait(run.execution_id, 20)).status == "succeeded"
        over = await events.first(names.ALERT, key="database", resolved=True)
        assert over.seq > 0
        assert (await client.health()).checks["database"]["ok"]
        for name in ("user.more0", "user.more1"):
            await client.create(name, "@yearly", task_class="demo.echo")
        service.process.send_signal(signal.SIGKILL)
        await service.process.communicate()
    async with started(tmp_path) as (service, client, _):
        assert {task.task_id for task in (await client.list(prefix="user.")).tasks} == {
            "user.kept", "user.long", "user.more0", "user.more1",
        }  # fmt: skip
        assert await service.stop() == 0


async def test_a_command_is_carried_out_once_though_its_repeat_comes_when_the_disk_is_full(tmp_path: Path) -> None:
    async with started(tmp_path) as (service, client, _):
        payload = {"task_id": "user.once", "schedule": "@yearly", "task_class": "demo.echo"}
        message_id = "00000000-0000-4000-8000-00000000000a"
        first = await client.request(names.TASK_CREATE, payload, message_id=message_id)
        limit(service, FULL)
        with pytest.raises(SchedulerError, match="disk is full"):
            await client.create("user.more", "@yearly", task_class="demo.echo")
        assert await client.request(names.TASK_CREATE, payload, message_id=message_id) == first


async def test_a_stop_on_a_full_disk(tmp_path: Path) -> None:
    async with started(tmp_path) as (service, client, _):
        await client.create("user.kept", "@yearly", task_class="demo.echo")
        limit(service, FULL)
        with pytest.raises(SchedulerError, match="disk is full"):
            await client.create("user.more", "@yearly", task_class="demo.echo")
        assert await service.stop() == 0
    async with started(tmp_path) as (_, client, _events):
        assert [task.task_id for task in (await client.list(prefix="user.")).tasks] == ["user.kept"]


def begin_full(folder: Path) -> str:
    """The one error of a start with no room for anything."""

    def no_room() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))

    ended = subprocess.run(
        [sys.executable, "-B", "-m", "aico_sched.cli.app", "run"],
        env=environment(folder), capture_output=True, text=True, timeout=60, check=False, preexec_fn=no_room,
    )  # fmt: skip
    assert ended.returncode != 0
    return ended.stderr


async def test_a_start_on_a_full_disk_says_so_once_and_leaves_nothing_half_made(tmp_path: Path) -> None:
    said = begin_full(tmp_path)
    assert "Traceback" not in said and "traceback" not in said, said
    assert "room" in said
    files = [path for path in data(tmp_path).rglob("*") if path.is_file() and not path.name.endswith(".lock")]
    assert files == [], "an empty key file would be taken for a key"
    async with started(tmp_path) as (service, client, _):
        await client.create("user.kept", "@yearly", task_class="demo.echo")
        await service.stop()
    said = begin_full(tmp_path)
    errors = [json.loads(line) for line in said.splitlines() if json.loads(line)["level"] in ("error", "critical")]
    assert [line["event"] for line in errors] == ["service_failed"]
    assert "Make room" in errors[0]["reason"], errors
    async with started(tmp_path) as (service, client, _):
        assert (await client.status("user.kept")).task.state == "active"
        assert await service.stop() == 0


async def test_questions_go_on_for_longer_than_there_is_room_for_their_audit_lines(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aico_sched.recorded.AUDIT_KEPT", 5)
    monkeypatch.setattr("aico_sched.runtime.cell.ASIDE_LIMIT", 5)
    real, full = Database.commit, [True]

    def commit(self: Database) -> None:
        if full[0] and self.in_transaction:
            self.rollback()
            raise StoreFull("database or disk is full")
        real(self)

    run = await start()
    await run.client.create("user.kept", "@yearly", task_class="demo.echo")
    monkeypatch.setattr(Database, "commit", commit)
    with pytest.raises(SchedulerError, match="disk is full"):
        await run.client.pause("user.kept")
    for _ in range(30):
        assert (await run.client.status("user.kept")).task.state == "active"
    full[0] = False
    await run.events.first(names.ALERT, key="database", resolved=True)
    await run.client.pause("user.kept")
    dropped = [line["detail"] for line in run.audit() if line["source"] == "aico-sched" and "dropped" in line["detail"]]
    assert len(dropped) == 1
