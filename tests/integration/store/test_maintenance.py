"""Vacuum, check, backup and rekey of a running service's database."""

import asyncio
from pathlib import Path

import pytest

from aico_sched.client.errors import SchedulerError
from aico_sched.security.database_key import key_from_file
from aico_sched.store.connection import Database
from aico_sched.topics import names
from tests.integration.conftest import Start
from tests.integration.support.running import Running


async def fill(run: Running, count: int = 60) -> None:
    config = {"note": "x" * 4_000}
    await asyncio.gather(
        *(run.client.create(f"user.t{i:03}", "@yearly", task_class="demo.echo", config=config) for i in range(count))
    )


def key_of(run: Running) -> str:
    return key_from_file(run.settings.data_dir / "keys" / "database.key")


async def test_a_vacuum_makes_the_file_smaller_and_commands_given_meanwhile_are_answered(run: Running) -> None:
    await fill(run)
    for i in range(50):
        await run.client.delete(f"user.t{i:03}")
    run.close()
    vacuum = asyncio.create_task(run.client.request(names.STORE_VACUUM, {"mode": "full"}))
    created = [run.client.create(f"user.new{i}", "@yearly", task_class="demo.echo") for i in range(30)]
    views = await asyncio.gather(*created)
    result = await vacuum
    assert result["mode"] == "full"
    assert result["bytes_after"] <= result["bytes_before"]
    assert len({view.task_id for view in views}) == 30
    page = await run.client.list(prefix="user.new")
    assert len(page.tasks) == 30


async def test_health_says_what_is_going_on_and_is_not_critical(run: Running) -> None:
    await fill(run, 10)
    run.close()
    work = [asyncio.create_task(run.client.request(names.STORE_CHECK, {}))]
    seen = []
    while not work[0].done():
        health = await run.client.health()
        seen.append(health.status)
        assert health.status != "critical"
        assert health.ready
    assert (await work[0])["ok"]
    assert (await run.client.health()).status == "healthy"


async def test_a_backup_opens_with_the_key_and_holds_the_tasks(run: Running, tmp_path: Path) -> None:
    await fill(run, 20)
    run.close()
    target = tmp_path / "copy.backup"
    result = await run.client.request(names.STORE_BACKUP, {"file": str(target)})
    assert result["bytes"] == target.stat().st_size
    assert target.stat().st_mode & 0o777 == 0o600
    assert sorted(path.name for path in tmp_path.glob("copy.backup*")) == ["copy.backup"]
    database = Database.open(target, key_of(run))
    assert database.one("count_tasks")[0] >= 20
    database.close()
    with pytest.raises(SchedulerError, match="exists already") as refused:
        await run.client.request(names.STORE_BACKUP, {"file": str(target)})
    assert refused.value.code == "conflict"


async def test_a_new_key_opens_the_database_and_the_old_one_is_kept_for_old_backups(run: Running, start: Start) -> None:
    await fill(run, 20)
    old = key_of(run)
    run.close()
    result = await run.client.request(names.STORE_REKEY, {})
    assert key_of(run) != old
    assert key_from_file(Path(result["retired_key"])) == old
    await run.client.create("user.after", "@yearly", task_class="demo.echo")
    await run.service.stop()
    database = Database.open(run.settings.database_path, key_of(run))
    assert database.integrity_check() == []
    assert database.one("task", ("user.after",)) is not None
    database.close()
    folder = run.settings.data_dir
    assert not list(folder.glob("*.incoming*")) and not list(folder.glob("*.swap"))


@pytest.mark.parametrize("file", ["relative.backup", "/no/such/folder/x.backup"])
async def test_a_file_that_cannot_be_written_is_refused_before_anything_stops(run: Running, file: str) -> None:
    with pytest.raises(SchedulerError) as refused:
        await run.client.request(names.STORE_BACKUP, {"file": file})
    assert refused.value.code == "invalid_message"


async def test_only_an_admin_may(start: Start) -> None:
    run = await start(roles={"operator1": "operator"})
    from aico_sched.client import SchedulerClient

    async with SchedulerClient.discover(run.settings.data_dir, "operator1", timeout=5) as client:
        with pytest.raises(SchedulerError) as refused:
            await client.request(names.STORE_VACUUM, {})
    assert refused.value.code == "permission_denied"


async def test_a_repeated_command_gets_the_first_answer(run: Running) -> None:
    await fill(run, 5)
    run.close()
    first = await run.client.request(names.STORE_VACUUM, {"mode": "full"})
    assert first["mode"] == "full"
    audit = [line for line in run.audit() if line["action"] == names.STORE_VACUUM]
    assert [line["outcome"] for line in audit] == ["ok"]


async def test_a_stop_cuts_maintenance_short_and_loses_no_command(start: Start) -> None:
    run = await start()
    await fill(run, 20)
    run.close()
    work = asyncio.create_task(run.client.request(names.STORE_CHECK, {}))
    await run.events.until(lambda: True, "")
    await run.service.stop()
    work.cancel()
    await asyncio.gather(work, return_exceptions=True)
    database = Database.open(run.settings.database_path, key_of(run))
    assert database.integrity_check() == []
    database.close()


async def test_small_steps_where_they_suffice(run: Running) -> None:
    await fill(run)
    for i in range(50):
        await run.client.delete(f"user.t{i:03}")
    result = await run.client.request(names.STORE_VACUUM, {"mode": "incremental"})
    assert result["mode"] == "incremental"
    assert run.query("PRAGMA freelist_count") == [(0,)]


async def test_work_that_takes_too_long_is_ended_and_changes_nothing(start: Start) -> None:
    run = await start(store__maintenance_timeout=0.01)
    with pytest.raises(SchedulerError, match=r"store\.maintenance_timeout") as refused:
        await run.client.request(names.STORE_VACUUM, {"mode": "full"})
    assert refused.value.code == "unavailable"
    await run.client.create("user.after", "@yearly", task_class="demo.echo")
