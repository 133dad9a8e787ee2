"""`aico-sched backup` and `restore` as a user runs them, and that nothing they leave is plaintext."""

import os
from pathlib import Path

import pytest

from aico_sched.security.database_key import key_from_file
from aico_sched.store.connection import Database
from tests.integration.support.process import command, server

MARKER = "PLAINTEXT-MARKER-7c1f"


async def make_task(folder: Path, name: str) -> None:
    config = f"note={MARKER * 50}"
    ended = await command(folder, "create", name, "@yearly", "--task-class", "demo.echo", "--config", config)
    assert ended.code == 0, ended.errors


def data(folder: Path) -> Path:
    return folder / ".local/share/aico/scheduler"


def tasks_in(database: Path, folder: Path) -> list[str]:
    opened = Database.open(database, key_from_file(data(folder) / "keys" / "database.key"))
    try:
        return [name for name in ("user.one", "user.two") if opened.one("task", (name,)) is not None]
    finally:
        opened.close()


def files_with_marker(*folders: Path) -> list[Path]:
    found = (path for folder in folders for path in folder.rglob("*") if path.is_file())
    return [path for path in found if MARKER.encode() in path.read_bytes()]


async def test_backup_while_it_runs_and_restore_without_it(tmp_path: Path) -> None:
    backup = tmp_path / "one.backup"
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    async with server(tmp_path, "run") as service:
        await service.says("service_started")
        await make_task(tmp_path, "user.one")
        made = await command(tmp_path, "backup", str(backup), "--json")
        assert made.code == 0, made.errors
        assert made.json["bytes"] == backup.stat().st_size
        await make_task(tmp_path, "user.two")
        refused = await command(tmp_path, "restore", str(backup))
        assert refused.code == 1
        assert "is using it. Stop that one" in refused.errors
        assert (await command(tmp_path, "database", "vacuum", "--full")).code == 0
        assert (await command(tmp_path, "database", "check")).code == 0
        assert (await command(tmp_path, "database", "rekey")).code == 0
        assert files_with_marker(tmp_path) == []
        await service.stop()
    assert tasks_in(data(tmp_path) / "scheduler.db", tmp_path) == ["user.one", "user.two"]

    again = await command(tmp_path, "backup", str(tmp_path / "two.backup"), "--json")
    assert again.code == 0, again.errors
    exists = await command(tmp_path, "backup", str(backup))
    assert exists.code == 1
    assert "exists already" in exists.errors

    restored = await command(tmp_path, "restore", str(backup), "--json")
    assert restored.code == 0, restored.errors
    assert restored.json["with_former_key"], "the backup was made before the rekey"
    assert tasks_in(data(tmp_path) / "scheduler.db", tmp_path) == ["user.one"]
    assert tasks_in(Path(restored.json["aside"]), tmp_path) == ["user.one", "user.two"]
    assert files_with_marker(tmp_path) == []


@pytest.mark.parametrize("damage", ["cut", "overwritten", "other"])
async def test_what_is_no_backup_is_refused_and_changes_nothing(tmp_path: Path, damage: str) -> None:
    async with server(tmp_path, "run") as service:
        await service.says("service_started")
        await make_task(tmp_path, "user.one")
        await service.stop()
    backup = tmp_path / "x.backup"
    assert (await command(tmp_path, "backup", str(backup))).code == 0
    content = backup.read_bytes()
    wrong = {
        "cut": content[: len(content) // 2],
        "overwritten": content[:8192] + os.urandom(4096) + content[12288:],
        "other": b"hello" * 1000,
    }
    backup.write_bytes(wrong[damage])
    before = (data(tmp_path) / "scheduler.db").read_bytes()
    refused = await command(tmp_path, "restore", str(backup))
    assert refused.code == 1
    assert "cannot be restored" in refused.errors
    assert (data(tmp_path) / "scheduler.db").read_bytes() == before
    assert sorted(path.name for path in data(tmp_path).glob("scheduler.db*")) == [
        "scheduler.db", "scheduler.db.lock", "scheduler.db.made",
    ]  # fmt: skip
