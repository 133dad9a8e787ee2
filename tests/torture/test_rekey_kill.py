"""`kill -9` of a rekey, at every step and at random moments: one of two known keys opens an intact database."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from aico_sched.security.database_key import key_from_file, stage_new_key
from aico_sched.store.connection import Database
from aico_sched.store.errors import WrongKey
from aico_sched.store.maintenance import swap
from aico_sched.store.maintenance.raw import findings, opened

LONG = os.environ.get("AICO_SCHED_LONG") == "1"
MOMENTS = 60 if LONG else 6
STEPS = (
    "copy_private", "encrypt_anew", "verify", "sync_file", "swap.begin", "swap.resolve", "replace:1", "replace:2",
    "unlink:journal",
)  # fmt: skip

CRASHING = """
import os, signal, sys
from pathlib import Path
from aico_sched.store.maintenance import operations, swap, worker

step = os.environ["KILL_AT"]
def die(*args, **kwargs):
    os.kill(os.getpid(), signal.SIGKILL)
def before(owner, name):
    setattr(owner, name, die)
if step.startswith("replace:"):
    left, real = [int(step[-1])], Path.replace
    def replace(self, target):
        if Path(target).name in ("s.db", "db.key"):
            left[0] -= 1
            if not left[0]:
                die()
        return real(self, target)
    Path.replace = replace
elif step == "unlink:journal":
    real_unlink = Path.unlink
    Path.unlink = lambda self, **more: die() if self.name == "s.db.swap" else real_unlink(self, **more)
elif step.startswith("swap."):
    before(swap, step[5:])
elif step:
    before(operations, step)
sys.exit(worker.main())
"""


def made(folder: Path) -> tuple[Path, Path]:
    database, key_file = folder / "s.db", folder / "db.key"
    fresh = Database.open(database, key_from_file(key_file))
    fresh.begin()
    fresh.run("set_meta", ("witness", "x" * 200_000))
    fresh.commit()
    fresh.close()
    return database, key_file


def begin(database: Path, key_file: Path, step: str, backup: Path | None = None) -> "subprocess.Popen[bytes]":
    options = {**stage_new_key(key_file), "backup": None if backup is None else str(backup)}
    request = {"operation": "rekey", "path": str(database), "key": key_from_file(key_file), "options": options}
    root = str(Path(__file__).parents[2])
    process = subprocess.Popen(
        [sys.executable, "-c", CRASHING],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        env={**os.environ, "KILL_AT": step, "PYTHONPATH": root},
    )
    assert process.stdin is not None
    process.stdin.write(json.dumps({**request, "parent": os.getpid()}).encode() + b"\n")
    process.stdin.close()
    return process


def opens(database: Path, key: str, folder: Path) -> bool:
    """Whether the key opens what lies there as it is, whole: on a copy with its logs, nothing being finished first."""
    folder.mkdir()
    for file in (database, *swap.sides(database)):
        if file.exists():
            shutil.copy(file, folder)
    try:
        with opened(folder / database.name, key) as connection:
            assert findings(connection) == []
            return connection.value("SELECT value FROM scheduler_meta WHERE key = 'witness'") == "x" * 200_000
    except WrongKey:
        return False
    finally:
        shutil.rmtree(folder)


def check(database: Path, key_file: Path, keys: list[str]) -> None:
    """Exactly one key opens the raw file. Then as a start does it: the swap is finished, and the key is asked."""
    raw = database.parent / "raw"
    assert [opens(database, key, raw) for key in dict.fromkeys(keys)].count(True) == 1
    started = Database.open(database, lambda: key_from_file(key_file, database))
    assert started.integrity_check() == []
    assert started.one("get_meta", ("witness",)) == ("x" * 200_000,)
    started.close()
    assert key_from_file(key_file) in keys
    assert not swap.journal(database).exists() and not swap.incoming(database).exists()


@pytest.mark.parametrize("step", STEPS)
def test_killed_at_a_step(tmp_path: Path, step: str) -> None:
    database, key_file = made(tmp_path)
    old = key_from_file(key_file)
    process = begin(database, key_file, step)
    assert process.wait(60) == -signal.SIGKILL
    staged = key_file.with_name("db.key.staged")
    keys = [old, *([key_from_file(staged)] if staged.exists() else []), key_from_file(key_file)]
    check(database, key_file, keys)
    changed = key_from_file(key_file) != old
    assert changed is (step in ("swap.resolve", "replace:1", "replace:2", "unlink:journal")), step


def test_killed_at_any_moment(tmp_path: Path) -> None:
    draw = random.Random(5)
    database, key_file = made(tmp_path)
    for _ in range(MOMENTS):
        old = key_from_file(key_file)
        process = begin(database, key_file, "")
        staged = key_from_file(key_file.with_name("db.key.staged"))
        try:
            process.wait(draw.uniform(0.05, 0.6))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        check(database, key_file, [old, staged])
