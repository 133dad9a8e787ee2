"""A database that was there and is gone, or is empty, is never replaced by a new one in silence."""

from pathlib import Path

import pytest

from aico_sched.store.connection import Database
from aico_sched.store.errors import DatabaseLost
from tests.integration.store.test_full_disk import data
from tests.integration.store.test_start_errors import failure, is_kept, used
from tests.integration.support.process import command

KEY = "k" * 32


async def test_it_says_so_and_restore_brings_it_back(tmp_path: Path) -> None:
    await used(tmp_path)
    backup, database = tmp_path / "one.backup", data(tmp_path) / "scheduler.db"
    assert (await command(tmp_path, "backup", str(backup))).code == 0
    database.write_bytes(b"")
    said = await failure(tmp_path)
    assert "gone or empty" in said and "aico-sched restore FILE" in said
    assert database.stat().st_size == 0
    assert (await command(tmp_path, "restore", str(backup))).code == 0
    await is_kept(tmp_path)


async def test_a_first_start_that_was_interrupted_is_no_loss(tmp_path: Path) -> None:
    data(tmp_path).mkdir(parents=True)
    (data(tmp_path) / "scheduler.db").touch(mode=0o600)
    await used(tmp_path)


def test_who_wants_an_empty_one_is_told_how(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    Database.open(path, KEY).close()
    path.unlink()
    with pytest.raises(DatabaseLost) as lost:
        Database.open(path, KEY)
    assert f"remove {lost.value.marker}" in str(lost.value)
    lost.value.marker.unlink()
    Database.open(path, KEY).close()
