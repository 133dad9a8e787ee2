"""`security.key_rotation` in a running service: clients go on, old keys count for a while, the database gets its new
key after a verified backup."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from aico_sched.client import SchedulerClient
from aico_sched.client.errors import Refused
from aico_sched.clock import Clock
from aico_sched.security.database_key import key_from_file
from aico_sched.security.keys import KeyRing
from aico_sched.store.maintenance.operations import verify
from tests.integration.conftest import Start

TASK = "security.key_rotation"
DAY = 86_400.0


def made_before(ring: KeyRing) -> None:
    """As if the keys were a hundred days old: what this second made is left alone by a run of this second."""
    for path in ring.folder.rglob("*.key*"):
        lines = path.read_text().splitlines(keepends=True) if path.name != "database.key" else []
        if any("created" in line for line in lines):
            created = next(line for line in lines if "created" in line)
            seconds = int(created.partition("=")[2]) - 100 * 86_400
            path.write_text("".join(f"    created = {seconds}\n" if line == created else line for line in lines))


async def started(start: Start, *, clock: Clock | None = None, **own: Any) -> tuple[Any, KeyRing]:
    run = await start(clock=clock, roles={"bob": "operator"}, tasks__maintenance={"key_rotation": own})
    ring = KeyRing(run.settings.data_dir / "keys")
    made_before(ring)
    ring.reload()
    return run, ring


def files(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


async def test_every_client_gets_a_new_key_and_those_that_are_connected_go_on(start: Start) -> None:
    run, ring = await started(start)
    view = (await run.client.status(TASK)).task
    assert (view.schedule, view.protected, view.state) == ("0 1 1 * *", True, "active")
    old = {name: ring.client(name) for name in ("admin", "aico-sched", "bob")}
    server = ring.server().public
    done = await run.ran(TASK)
    assert done.status == "succeeded", done.error_message
    assert done.result["data"]["rotated"] == ["admin", "aico-sched", "bob"]
    assert done.result["data"]["ages_days"]["bob"] == pytest.approx(100, abs=0.1)
    ring.reload()
    assert all(ring.client(name).public != key.public for name, key in old.items())
    assert ring.server().public == server
    lives = {key.name: (key.expires - (key.created or 0)) // DAY for key in ring.list() if key.expires}
    assert lives == {"admin": 107, "aico-sched": 107, "bob": 107}
    # Connected as before, with the old key; with a copy of it; with the new one.
    assert (await run.client.health()).ready
    async with SchedulerClient(run.service.address, old["bob"], server) as stale:
        await stale.create("user.stale", "@daily", task_class="demo.echo")
    async with SchedulerClient.discover(run.settings.data_dir, name="bob") as bob:
        assert (await bob.create("user.new", "@daily", task_class="demo.echo")).created_by == "bob"
        with pytest.raises(Refused):
            await bob.delete(TASK)
    lines = [line for line in run.audit() if line["action"] == "keys.rotate"]
    assert [(line["source"], line["target"], line["outcome"]) for line in lines] == [
        (TASK, name, "ok") for name in ("admin", "aico-sched", "bob")
    ]


async def test_a_second_run_does_no_harm(start: Start) -> None:
    run, ring = await started(start, overlap_days=1, keep_keys=["admin"])
    first = await run.ran(TASK)
    assert first.result["data"]["rotated"] == ["aico-sched", "bob"]
    key = ring.client("bob").public
    again = await run.ran(TASK)
    assert again.status == "succeeded"
    assert set(again.result["data"]["rotated"]) <= {"aico-sched", "bob"}
    ring.reload()
    assert ring.lookup(key) == ("bob", "operator")


async def test_a_dry_run_changes_nothing(start: Start) -> None:
    run, ring = await started(start, dry_run=True, rotate_database_keys=True)
    before = files(ring.folder)
    done = await run.ran(TASK)
    assert done.status == "succeeded"
    assert "would rotate the keys of 3 clients; would give the database a new key" in str(done.result)
    assert files(ring.folder) == before
    assert not list((run.settings.data_dir / "task_data" / TASK).glob("*"))


async def test_the_database_gets_a_new_key_after_a_verified_backup(start: Start) -> None:
    run, _ = await started(start, rotate_session_keys=False, rotate_database_keys=True, keep_backups=1)
    key_file = run.settings.data_dir / "keys" / "database.key"
    old = key_from_file(key_file)
    run.close()
    done = await run.ran(TASK)
    assert done.status == "succeeded", done.error_message
    found = done.result["data"]["database"]
    new = key_from_file(key_file)
    assert new != old
    assert key_from_file(Path(found["retired_key"])) == old
    assert sum(verify(Path(found["backup"]), old).values()) > 0
    # The service works on, and one backup stays.
    await run.client.create("user.after", "@daily", task_class="demo.echo")
    second = await run.ran(TASK)
    kept = [str(path) for path in Path(found["backup"]).parent.glob("*.db*")]
    assert kept == [second.result["data"]["database"]["backup"]]
    reports = await run.events.several(2, "scheduler.event.execution.progress", task_id=TASK)
    assert "backup" in json.dumps([event.payload for event in reports])


async def test_a_key_that_is_not_the_service_s_is_an_error_with_advice(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AICO_SCHED_DATABASE_PASSPHRASE", "correct horse battery staple")
    run = await start(
        store__key_source="passphrase",
        tasks__maintenance={"key_rotation": {"rotate_session_keys": False, "rotate_database_keys": True}},
    )
    done = await run.ran(TASK)
    assert done.status in ("dead", "failed")
    assert "passphrase" in (done.error_message or "").lower()


async def test_cancelled_between_two_clients_it_leaves_whole_keys(start: Start) -> None:
    run, ring = await started(start)
    old = {name: ring.client(name).public for name in ("admin", "aico-sched", "bob")}
    execution_id = (await run.client.trigger(TASK)).execution_id
    await run.events.first("scheduler.event.execution.started", execution_id=execution_id)
    await asyncio.gather(run.client.cancel(execution_id), return_exceptions=True)
    await run.finished(execution_id)
    ring.ensure()
    for name, key in old.items():
        assert ring.lookup(key) is not None
        assert ring.lookup(ring.client(name).public) is not None
        async with SchedulerClient.discover(run.settings.data_dir, name=name) as client:
            assert client.name == name
    assert (await run.client.health()).ready


async def test_a_running_client_shows_its_new_key_when_the_old_one_is_refused(start: Start) -> None:
    run, ring = await started(start)
    watch = run.service._bus._watch
    assert watch is not None
    async with SchedulerClient.discover(run.settings.data_dir, name="bob") as bob:
        stream = bob.events("scheduler.event.task.")
        await bob.create("user.before", "@daily", task_class="demo.echo")
        ring.rotate("bob", 0)
        assert await watch.look()
        await bob.create("user.after", "@daily", task_class="demo.echo")
        async with asyncio.timeout(20):
            heard: list[str] = []
            while "user.after" not in heard:
                heard.append((await anext(stream)).payload["task_id"])
        await stream.aclose()
    assert heard == ["user.before", "user.after"]


async def test_health_tells_of_keys_that_are_too_old_until_they_are_rotated(start: Start) -> None:
    run = await start(bus__key_max_age=50)
    before = await run.client.health()
    assert before.checks["keys"]["ok"]
    assert before.checks["keys"]["count"] == 2
    made_before(KeyRing(run.settings.data_dir / "keys"))
    assert run.service._bus._keys is not None
    run.service._bus._keys.reload()
    found = await run.client.health()
    assert (found.checks["keys"]["ok"], found.status) == (False, "degraded")
    assert any("days old" in reason for reason in found.reasons)
    await run.ran(TASK)
    after = await run.client.health()
    assert (after.checks["keys"]["ok"], after.checks["keys"]["oldest_days"]) == (True, 0.0)
