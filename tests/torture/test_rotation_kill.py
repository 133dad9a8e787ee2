"""`kill -9` of what `security.key_rotation` has done to the database: the backup first, then the new key."""

import signal
from pathlib import Path

import pytest

from aico_sched.security.database_key import key_from_file
from aico_sched.store.maintenance.operations import verify
from tests.torture.test_rekey_kill import begin, check, made

STEPS = {
    # Step → whether there is a whole backup by then.
    "backup": False,
    "copy_private": False,
    "_publish": False,
    "encrypt_anew": True,
    "swap.begin": True,
    "swap.resolve": True,
    "replace:2": True,
    "unlink:journal": True,
}


@pytest.mark.parametrize("step", STEPS)
def test_killed_at_a_step_one_known_key_opens_it_and_a_backup_is_whole_or_not_there(tmp_path: Path, step: str) -> None:
    database, key_file = made(tmp_path)
    old, backup = key_from_file(key_file), tmp_path / "before-rekey.db"
    process = begin(database, key_file, step, backup)
    assert process.wait(60) == -signal.SIGKILL
    staged = key_file.with_name("db.key.staged")
    keys = [old, *([key_from_file(staged)] if staged.exists() else []), key_from_file(key_file)]
    check(database, key_file, keys)
    assert backup.exists() is STEPS[step]
    if backup.exists():
        assert sum(verify(backup, old).values()) > 0
    # The next run is not in the way of what is left.
    again = begin(database, key_file, "", tmp_path / "before-rekey-2.db")
    assert again.wait(60) == 0
    check(database, key_file, [key_from_file(key_file)])
