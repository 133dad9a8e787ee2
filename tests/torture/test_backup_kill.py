"""`kill -9` of a backup, of its worker at every step and of the whole service: the database is whole, the backup is
whole or not there, and the next one works."""

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from aico_sched.client.errors import SchedulerError
from aico_sched.security.database_key import key_from_file
from aico_sched.store.connection import Database
from aico_sched.store.maintenance.operations import backup, verify
from aico_sched.topics import names
from tests.integration.store.test_full_disk import data, started
from tests.torture.test_rekey_kill import made

LONG = os.environ.get("AICO_SCHED_LONG") == "1"
MOMENTS = 40 if LONG else 4
KILLS = 20 if LONG else 2

CRASHING = """
import os, signal, sys
from aico_sched.store.maintenance import operations, worker

step = os.environ["KILL_AT"]
def die(*args, **kwargs):
    os.kill(os.getpid(), signal.SIGKILL)
if step == "half":
    real = operations.copy_private
    def copy(source, target, progress):
        real(source, target, progress)
        os.truncate(target, os.stat(target).st_size // 2)
        die()
    operations.copy_private = copy
elif step == "unlink":
    real_link = os.link
    def link(*args):
        real_link(*args)
        die()
    os.link = link
elif step:
    setattr(operations, step, die)
sys.exit(worker.main())
"""


def begin(database: Path, key: str, target: Path, step: str) -> "subprocess.Popen[bytes]":
    request = {"operation": "backup", "path": str(database), "key": key, "options": {"file": str(target)}}
    process = subprocess.Popen(
        [sys.executable, "-c", CRASHING],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        env={**os.environ, "KILL_AT": step, "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    assert process.stdin is not None
    process.stdin.write(json.dumps({**request, "parent": os.getpid()}).encode() + b"\n")
    process.stdin.close()
    return process


def check(database: Path, key: str, target: Path) -> None:
    """Both are whole, as far as there are two, and another backup leaves nothing of this one behind."""
    if target.exists():
        assert verify(target, key)["scheduler_meta"] >= 1
        target.unlink()
    opened = Database.open(database, key)
    assert opened.integrity_check() == []
    assert opened.one("get_meta", ("witness",)) == ("x" * 200_000,)
    opened.close()
    assert backup(database, key, {"file": str(target)}, lambda *_, **__: None)["rows"] > 0
    assert not list(target.parent.glob("*.partial*"))
    target.unlink()


@pytest.mark.parametrize("step", ["fold_log", "copy_private", "half", "verify", "sync_file", "unlink", "sync_folder"])
def test_killed_at_a_step(tmp_path: Path, step: str) -> None:
    database, key_file = made(tmp_path)
    key, target = key_from_file(key_file), tmp_path / "copy.backup"
    assert begin(database, key, target, step).wait(60) == -signal.SIGKILL
    assert target.exists() is (step in ("unlink", "sync_folder"))
    check(database, key, target)


def test_killed_at_any_moment(tmp_path: Path) -> None:
    draw = random.Random(6)
    database, key_file = made(tmp_path)
    key, target = key_from_file(key_file), tmp_path / "copy.backup"
    for _ in range(MOMENTS):
        process = begin(database, key, target, "")
        try:
            process.wait(draw.uniform(0.05, 0.5))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        check(database, key, target)


async def test_the_whole_service_is_killed(tmp_path: Path) -> None:
    draw = random.Random(7)
    acknowledged: list[str] = []
    for round_ in range(KILLS):
        target = tmp_path / f"{round_}.backup"
        async with started(tmp_path) as (service, client, _):
            for i in range(3):
                name = f"user.r{round_}x{i}"
                await client.create(name, "@yearly", task_class="demo.echo", config={"note": "x" * 50_000})
                acknowledged.append(name)
            work = asyncio.create_task(client.request(names.STORE_BACKUP, {"file": str(target)}))
            await asyncio.wait({work}, timeout=draw.uniform(0.02, 0.5))
            service.process.send_signal(signal.SIGKILL)
            await service.process.wait()
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)
        if target.exists():
            assert verify(target, key_from_file(data(tmp_path) / "keys" / "database.key"))
    async with started(tmp_path) as (service, client, _):
        for name in acknowledged:
            assert (await client.status(name)).task.state == "active"
        with pytest.raises(SchedulerError):
            await client.status("user.never")
        last = tmp_path / "last.backup"
        assert (await client.request(names.STORE_BACKUP, {"file": str(last)}))["bytes"] == last.stat().st_size
        assert await service.stop() == 0
