"""`aico-sched run-task` of the tasks that come with it, on a real encrypted database and without a service."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
from typer.testing import CliRunner

from aico_sched.cli.app import app
from aico_sched.security.database_key import key_from_file
from aico_sched.security.keys import KeyRing
from aico_sched.settings import Settings
from aico_sched.store.lock import DatabaseLock
from aico_sched.store.maintenance.operations import verify
from aico_sched.wiring import database_keys, open_database
from tests.integration.test_key_rotation import made_before

BUILT_IN = (
    "maintenance.log_cleanup",
    "security.key_rotation",
    "maintenance.health_check",
    "maintenance.database_vacuum",
    "maintenance.vector_optimization",
    "agency.background_learning",
    "agency.memory_consolidation",
    "agency.emotion_training",
    "agency.personality_evolution",
)
FILL = """INSERT INTO scheduler_seen_messages
WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?1)
SELECT 'filler/' || i, 1, randomblob(3500) FROM n"""


def environment(folder: Path) -> dict[str, str]:
    return {
        "AICO_SCHED_DATA_DIR": str(folder / "data"),
        "AICO_SCHED_CONFIG_DIR": str(folder / "config"),
        "AICO_DATA_DIR": str(folder / "aico"),
        "AICO_LOGS_DIR": str(folder / "logs"),
    }


@pytest.fixture
def aico(tmp_path: Path) -> Any:
    def run(*arguments: str) -> Any:
        return CliRunner().invoke(app, ["run-task", *arguments], env=environment(tmp_path))

    return run


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Of a service that ran before; a good part of its database is free."""
    settings = Settings.load(environ=environment(tmp_path))
    KeyRing(settings.data_dir / "keys").ensure()
    database = open_database(settings, database_keys(settings))
    database.run_text(FILL, (1_000,))
    database.run_text("DELETE FROM scheduler_seen_messages", ())
    database.close()
    return settings


def rows(settings: Settings) -> int:
    """Proves the database with its present key."""
    return sum(verify(settings.database_path, database_keys(settings).current()).values())


@pytest.mark.parametrize("dry", [[], ["--dry-run"]])
@pytest.mark.parametrize("task", BUILT_IN)
def test_each_does_its_work_or_says_what_is_missing(aico: Any, settings: Settings, task: str, dry: list[str]) -> None:
    before = rows(settings)
    done = aico(task, *dry, "--json")
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert found["success"] and "may not" not in found["message"], found
    if found["skipped"]:
        assert any(words in found["message"] for words in ("there is no", "no such table")), found
    # The health check leaves a note of its probe.
    assert 0 <= rows(settings) - before <= 1


@pytest.mark.parametrize("task", BUILT_IN)
def test_each_refuses_a_key_it_does_not_know_before_it_does_anything(aico: Any, task: str) -> None:
    result = aico(task, "--config", "nonsense=1")
    assert result.exit_code == 2 and "nonsense: Extra inputs are not permitted" in result.output


@pytest.mark.parametrize("mode", ["auto", "incremental", "full"])
def test_a_vacuum_by_hand_gives_free_pages_back(aico: Any, settings: Settings, mode: str) -> None:
    before = settings.database_path.stat().st_size
    dry = json.loads(aico("maintenance.database_vacuum", "--dry-run", "--json").stdout)
    assert dry["data"]["free_share"] > 0.5 and settings.database_path.stat().st_size == before
    done = json.loads(aico("maintenance.database_vacuum", "--config", f"mode={mode}", "--json").stdout)
    assert done["data"]["mode"] == ("incremental" if mode == "incremental" else "full")
    assert settings.database_path.stat().st_size == done["data"]["bytes_after"] < before / 2
    assert rows(settings) > 0


def test_keys_are_rotated_by_hand_the_databases_too(aico: Any, settings: Settings) -> None:
    ring, key_file = KeyRing(settings.data_dir / "keys"), settings.data_dir / "keys" / "database.key"
    made_before(ring)
    ring.reload()
    old, key = ring.client("admin").public, key_from_file(key_file)
    done = json.loads(aico("security.key_rotation", "--config", "rotate_database_keys=true", "--json").stdout)
    assert done["success"] and "admin" in done["data"]["rotated"], done
    ring.reload()
    assert ring.client("admin").public != old and ring.lookup(old) is not None
    assert key_from_file(key_file) != key and rows(settings) > 0
    assert sum(verify(Path(done["data"]["database"]["backup"]), key).values()) > 0


def test_what_needs_the_database_for_itself_says_how_the_service_does_it(aico: Any, settings: Settings) -> None:
    lock = DatabaseLock.take(settings.database_path)
    try:
        vacuum = aico("maintenance.database_vacuum")
        assert vacuum.exit_code == 1
        assert "aico-sched trigger maintenance.database_vacuum" in vacuum.output
        # It is read beside the service all the same.
        assert "would free" in aico("maintenance.database_vacuum", "--dry-run").output
        health = json.loads(aico("maintenance.health_check", "--json", "--config", "min_free_mb=0").stdout)
        assert health["data"]["checks"]["database"]["ok"] and not health["data"]["checks"]["database"]["written"]
    finally:
        lock.release()


def test_a_key_that_does_not_fit_is_told_with_what_to_do(aico: Any, settings: Settings) -> None:
    (settings.data_dir / "keys" / "database.key").write_text("0" * 32)
    for arguments in ([], ["--dry-run"]):
        result = aico("maintenance.database_vacuum", *arguments)
        assert result.exit_code == 1 and "Traceback" not in result.output
        assert "key" in result.output or "not a database" in result.output


def test_ctrl_c_in_the_middle_of_a_vacuum_leaves_the_database_whole_and_nobody_behind(
    settings: Settings, tmp_path: Path
) -> None:
    before = rows(settings)
    command = [sys.executable, "-m", "aico_sched.cli.app", "run-task", "maintenance.database_vacuum"]
    process = subprocess.Popen(
        [*command, "--config", "mode=full", "--config", "check=false"],
        env={**os.environ, **environment(tmp_path)}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    worker = _worker_of(process)
    # It cannot get through before it is told to end.
    worker.suspend()
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=30)
    assert process.returncode == 130 and b"Traceback" not in output, output
    psutil.wait_procs([worker], timeout=10)
    assert not worker.is_running()
    DatabaseLock.take(settings.database_path).release()
    assert rows(settings) == before


def _worker_of(process: "subprocess.Popen[bytes]") -> psutil.Process:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        assert process.poll() is None, process.stdout and process.stdout.read()
        for child in psutil.Process(process.pid).children():
            if "aico_sched.store.maintenance.worker" in " ".join(child.cmdline()):
                return child
        os.sched_yield()
    raise AssertionError("no worker was started")
