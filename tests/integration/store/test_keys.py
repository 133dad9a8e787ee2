"""Where the database's key may come from, each by the real command line or the real service."""

import hashlib
import os
import secrets
from pathlib import Path
from typing import Any

import libsql_experimental as libsql
import pytest

from aico_sched.security.database_key import KEY_LENGTH, encoded
from aico_sched.security.key_sources import GivenByProgram, aico_database_key
from aico_sched.service import SchedulerService
from tests.integration.support.process import command, environment, server
from tests.integration.support.running import settings_for

KEYRING = """
import json, os
from keyring.backend import KeyringBackend

class Keyring(KeyringBackend):
    priority = 1
    def _all(self):
        path = os.environ["TEST_KEYRING"]
        return json.load(open(path)) if os.path.exists(path) else {}
    def get_password(self, service, username):
        return self._all().get(service + "/" + username)
    def set_password(self, service, username, password):
        entries = {**self._all(), service + "/" + username: password}
        with open(os.environ["TEST_KEYRING"], "w") as file:
            json.dump(entries, file)
"""


def data(folder: Path) -> Path:
    return folder / ".local/share/aico/scheduler"


async def runs(folder: Path, **settings: Any) -> None:
    """A start, a task, a stop."""
    async with server(folder, "run", **settings) as service:
        await service.says("service_started")
        assert await service.stop() == 0


async def refusal(folder: Path, **settings: Any) -> str:
    """What a start that fails says."""
    ended = await command(folder, "run", **settings)
    assert ended.code == 1
    return ended.errors


async def test_the_environment(tmp_path: Path) -> None:
    await runs(tmp_path, store__key_source="environment", database_key="k" * KEY_LENGTH)
    assert not (data(tmp_path) / "keys" / "database.key").exists()
    said = await refusal(tmp_path, store__key_source="environment", database_key="j" * KEY_LENGTH)
    assert "the key does not fit" in said
    assert "the variable is not set" in await refusal(tmp_path, store__key_source="environment")


async def test_a_passphrase(tmp_path: Path) -> None:
    await runs(tmp_path, store__key_source="passphrase", database_passphrase="correct horse")
    await runs(tmp_path, store__key_source="passphrase", database_passphrase="correct horse")
    salt = data(tmp_path) / "keys" / "database.salt"
    assert salt.stat().st_mode & 0o777 == 0o600
    said = await refusal(tmp_path, store__key_source="passphrase", database_passphrase="wrong horse")
    assert "the key does not fit" in said
    salt.rename(salt.with_name("moved"))
    said = await refusal(tmp_path, store__key_source="passphrase", database_passphrase="correct horse")
    assert "Put the key back" in said


async def test_the_keyring(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "test_keyring.py").write_text(KEYRING)
    monkeypatch.setattr(
        "tests.integration.support.process.environment",
        lambda folder, **settings: {
            **environment(folder, **settings),
            "PYTHON_KEYRING_BACKEND": "test_keyring.Keyring",
            "TEST_KEYRING": str(tmp_path / "ring.json"),
            "PYTHONPATH": os.pathsep.join([str(tmp_path), environment(folder)["PYTHONPATH"]]),
        },
    )
    await runs(tmp_path, store__key_source="keyring")
    await runs(tmp_path, store__key_source="keyring")
    assert not (data(tmp_path) / "keys" / "database.key").exists()
    (tmp_path / "ring.json").unlink()
    assert "Put the key back" in await refusal(tmp_path, store__key_source="keyring")
    assert not (tmp_path / "ring.json").exists(), "no new key is made for a database that has one"


async def test_aicos_own_derivation_opens_aicos_database(tmp_path: Path) -> None:
    master, salt = secrets.token_bytes(32), secrets.token_bytes(16)
    path = tmp_path / "aico.db"
    path.with_name("aico.db.salt").write_bytes(salt)
    derived = hashlib.pbkdf2_hmac("sha256", master + b"aico-db-libsql", salt, 100_000, 32).hex()
    theirs = libsql.connect(str(path), encryption_key=f'x"{derived}"')
    theirs.execute("CREATE TABLE events (id INTEGER PRIMARY KEY)")
    theirs.commit()
    theirs.close()
    assert len(aico_database_key(master, salt)) == KEY_LENGTH
    await runs(tmp_path, store__path=path, store__key_source="aico", aico_master_key=master.hex())
    theirs = libsql.connect(str(path), encryption_key=f'x"{derived}"')
    assert theirs.execute("SELECT count(*) FROM events").fetchone() == (0,)
    assert theirs.execute("SELECT count(*) FROM scheduled_tasks").fetchone() is not None
    theirs.close()


@pytest.mark.parametrize("given", ["g" * KEY_LENGTH, b"\x00\xff" * 16])
async def test_a_callback_of_the_embedding_program(tmp_path: Path, given: str | bytes) -> None:
    settings = settings_for(tmp_path / "data")
    async with SchedulerService(settings, database_key=lambda: given):
        pass
    key = given if isinstance(given, str) else encoded(given)
    assert len(key) == KEY_LENGTH
    connection = libsql.connect(str(settings.database_path), encryption_key=key)
    assert connection.execute("SELECT count(*) FROM scheduled_tasks").fetchone() is not None
    connection.close()
    assert "gggg" not in repr(GivenByProgram(lambda: given))


async def test_a_lost_key_file_is_not_replaced_by_a_new_key(tmp_path: Path) -> None:
    await runs(tmp_path)
    key = data(tmp_path) / "keys" / "database.key"
    key.rename(key.with_name("moved"))
    assert "Put the key back" in await refusal(tmp_path)
    assert not key.exists()
