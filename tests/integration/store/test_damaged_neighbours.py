"""What lies beside the database is damaged: one clear error that says what to do, and nothing is changed."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from aico_sched.security.database_key import InvalidDatabaseKey, key_from_file
from aico_sched.store.connection import Database
from aico_sched.store.errors import SwapUnreadable
from tests.integration.store.test_full_disk import data
from tests.integration.store.test_start_errors import failure, is_kept, used

KEY = "k" * 32
SECRET = "0123456789abcdef-the-secret-itself".encode("utf-16")


async def test_a_start_names_the_file_and_goes_on_without_it(tmp_path: Path) -> None:
    await used(tmp_path)
    journal, key = data(tmp_path) / "scheduler.db.swap", data(tmp_path) / "keys" / "database.key"
    whole = key.read_bytes()
    journal.write_bytes(b"\0" * 200)
    said = await failure(tmp_path)
    assert str(journal) in said and "Move that file away" in said
    assert journal.exists()
    journal.unlink()
    key.write_bytes(b"\xff\xfe" * 20)
    said = await failure(tmp_path)
    assert str(key) in said and "put the key back" in said
    key.write_bytes(whole)
    await is_kept(tmp_path)


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"null", b'{"x": 1}', json.dumps({"incoming": 1, "y": 2}).encode()]
)
def test_an_unreadable_swap_changes_nothing(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "s.db"
    Database.open(path, KEY).close()
    before = path.read_bytes()
    (tmp_path / "s.db.swap").write_bytes(content)
    (tmp_path / "s.db.incoming").write_bytes(b"another")
    with pytest.raises(SwapUnreadable):
        Database.open(path, KEY)
    assert path.read_bytes() == before
    assert (tmp_path / "s.db.incoming").exists()


def a_folder(file: Path) -> None:
    file.mkdir(mode=0o700)


def no_text(file: Path) -> None:
    file.write_bytes(SECRET)
    file.chmod(0o600)


@pytest.mark.parametrize("harm", [a_folder, no_text])
def test_a_key_file_that_cannot_be_read_is_named_and_what_it_holds_is_not(
    tmp_path: Path, harm: Callable[[Path], None]
) -> None:
    file = tmp_path / "database.key"
    harm(file)
    with pytest.raises(InvalidDatabaseKey) as raised:
        key_from_file(file)
    assert str(file) in str(raised.value)
    told: BaseException | None = raised.value
    while told is not None:
        assert "secret" not in repr(told) and "s\\x00e" not in repr(told)
        told = told.__cause__
