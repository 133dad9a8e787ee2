"""`aico-sched restore` on a machine that has no key: what fails leaves nothing behind, what works leaves one key."""

import shutil
from pathlib import Path

import pytest

from aico_sched.security import key_sources
from aico_sched.security.database_key import MissingDatabaseKey
from aico_sched.security.key_sources import source_of
from tests.integration.support.process import command, server

DATA = ".local/share/aico/scheduler"


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


@pytest.fixture
async def made(tmp_path: Path) -> Path:
    """A folder with a backup in it, and the keys that it was made with."""
    home = tmp_path / "made"
    home.mkdir()
    async with server(home, "run") as service:
        await service.says("service_started")
        assert (await command(home, "create", "user.one", "@yearly", "--task-class", "demo.echo")).code == 0
        assert (await command(home, "backup", "x.backup")).code == 0
        await service.stop()
    return home


async def test_nothing_is_left_where_it_fails_and_the_right_key_makes_it_work(made: Path, tmp_path: Path) -> None:
    home = tmp_path / "bare"
    home.mkdir()
    (home / "torn.backup").write_bytes((made / "x.backup").read_bytes()[:5_000])
    shutil.copy(made / "x.backup", home)
    before = files(home)
    for name in ("absent.backup", "torn.backup", "x.backup"):
        refused = await command(home, "restore", name, "--json")
        assert refused.code == 1, refused.errors
        assert files(home) == before
    assert "store.key_source" in refused.json["error"]["message"]

    keys = home / DATA / "keys"
    keys.mkdir(parents=True, mode=0o700)
    shutil.copy(made / DATA / "keys" / "database.key", keys)
    restored = await command(home, "restore", "x.backup", "--json")
    assert restored.code == 0, restored.errors
    assert not restored.json["with_former_key"]
    assert sorted(path.name for path in keys.iterdir()) == ["database.key"]


async def test_a_new_key_is_made_only_when_a_former_one_has_opened_the_backup(made: Path, tmp_path: Path) -> None:
    home = tmp_path / "bare"
    retired = home / DATA / "keys" / "retired"
    retired.mkdir(parents=True, mode=0o700)
    retired.parent.chmod(0o700)
    shutil.copy(made / DATA / "keys" / "database.key", retired / "database-until-20260101T000000000000Z.key")
    (home / "torn.backup").write_bytes((made / "x.backup").read_bytes()[:5_000])
    shutil.copy(made / "x.backup", home)
    assert (await command(home, "restore", "torn.backup")).code == 1
    assert files(home / DATA / "keys") == ["retired", "retired/database-until-20260101T000000000000Z.key"]
    restored = await command(home, "restore", "x.backup", "--json")
    assert restored.code == 0, restored.errors
    assert restored.json["with_former_key"]
    async with server(home, "run") as service:
        await service.says("service_started")
        assert (await command(home, "status", "user.one")).code == 0
        await service.stop()


@pytest.mark.parametrize("kind", ["file", "passphrase", "aico"])
def test_to_look_for_a_key_makes_none(kind: str, tmp_path: Path) -> None:
    environ = {key_sources.PASSPHRASE: "open sesame", key_sources.MASTER_KEY: "00" * 32}
    database = tmp_path / "x.db"
    source = source_of(kind, tmp_path / "keys" / "database.key", database, environ)
    assert source.kept() is None
    assert files(tmp_path) == []
    made = source.current()
    assert source.kept() == made
    fresh = source_of(kind, tmp_path / "other" / "database.key", tmp_path / "y.db", environ)
    (tmp_path / "y.db").write_bytes(b"x")
    with pytest.raises(MissingDatabaseKey):
        fresh.kept()
