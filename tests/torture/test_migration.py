"""Databases of every earlier schema are brought to the newest with all they hold, also by a process that is killed."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from aico_sched.store.connection import Database
from aico_sched.store.named_sql import numbered
from tests.support.schemas import KEY, NEWEST, Content, built, content, schema

LONG = os.environ.get("AICO_SCHED_LONG") == "1"
SAMPLES = 1_000 if LONG else 6

RENAMED = {"counters": "scheduler_counters"}

KILLED = """
import os, signal, sys
from pathlib import Path
from aico_sched.store import connection, opening

left, real = [int(sys.argv[2])], connection.execute
def execute(*args, **more):
    if left[0] == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    left[0] -= 1
    return real(*args, **more)
connection.execute = opening.execute = execute
connection.Database.open(Path(sys.argv[1]), sys.argv[3]).close()
print(int(sys.argv[2]) - left[0])
"""


def opened_by_a_process(path: Path, statements: int) -> subprocess.CompletedProcess[str]:
    """Open the database in a process that is killed after so many statements."""
    return subprocess.run(
        [sys.executable, "-c", KILLED, str(path), str(statements), KEY],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def check(path: Path, before: Content) -> None:
    """Open it here: it is like a new one of the newest schema, and holds what it held."""
    database = Database.open(path, KEY)
    fresh = Database.open(path.with_name(f"{path.name}.fresh"), KEY)
    try:
        assert schema(database) == schema(fresh)
        assert database.integrity_check() == []
        assert database._raw("PRAGMA foreign_key_check") == []
        versions = [row[0] for row in database._raw("SELECT version FROM scheduler_schema ORDER BY 1")]
        assert versions == list(range(1, NEWEST + 1)), "each step once"
        after = content(database)
        for old_name, (columns, rows) in before.items():
            table = RENAMED.get(old_name, old_name)
            kept = [after[table][0].index(column) for column in columns]
            assert [tuple(row[i] for i in kept) for row in after[table][1]] == rows, table
            assert rows, table
    finally:
        database.close()
        fresh.close()


@pytest.mark.parametrize("version", range(1, NEWEST + 1))
def test_from_every_version(tmp_path: Path, version: int) -> None:
    path = tmp_path / "s.db"
    before = built(path, version)
    check(path, before)
    check(path, before)


@pytest.mark.parametrize("version", [0, 1, NEWEST - 1])
def test_killed_in_the_middle_it_is_resumed(tmp_path: Path, version: int) -> None:
    path = tmp_path / "s.db"

    def anew() -> Content:
        for file in tmp_path.glob("s.db*"):
            file.unlink()
        return built(path, version) if version else {}

    anew()
    ended = opened_by_a_process(path, 1_000_000)
    assert ended.returncode == 0, ended.stderr
    statements = int(ended.stdout)
    step = max(1, statements // SAMPLES)
    for kill_at in range(statements - 1, -1, -step):
        before = anew()
        assert opened_by_a_process(path, kill_at).returncode == -signal.SIGKILL
        check(path, before)


def test_killed_again_and_again(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    before = built(path, 1)
    for kill_at in range(12, 40, 4 if LONG else 14):
        if opened_by_a_process(path, kill_at).returncode == 0:
            break
    check(path, before)


@pytest.mark.parametrize("files", [("0001_a.sql", "0001_b.sql"), ("0001_a.sql", "0003_b.sql"), ("0002_a.sql",)])
def test_steps_with_gaps_or_of_one_number_are_refused(tmp_path: Path, files: tuple[str, ...]) -> None:
    for name in files:
        (tmp_path / name).write_text("SELECT 1;")
    with pytest.raises(ValueError, match="numbered from 1 on, each number once"):
        numbered(tmp_path)
