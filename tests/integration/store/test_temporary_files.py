"""A worker leaves no plaintext in a temporary file, also not in one that has no name any more."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from aico_sched.store.connection import Database

KEY = "k" * 32
MARKER = b"PLAINTEXT-MARKER-91d2"
ROWS = 4_000

ON_DISK = """
import sys
from aico_sched.store.maintenance import raw, worker
real = raw.Raw.run
def run(self, sql, parameters=()):
    return real(self, sql.replace("temp_store=MEMORY", "temp_store=FILE"), parameters)
raw.Raw.run = run
sys.exit(worker.main())
"""


def filled(path: Path) -> None:
    """A database with the marker in every row, and room to give back."""
    database = Database.open(path, KEY)
    database.begin()
    database.run_many("set_meta", [(f"k{i:06}", f"{MARKER.decode()} {i:06} " * 100) for i in range(ROWS)])
    database.commit()
    database.close()


def found_in_open_files(process: "subprocess.Popen[bytes]", database: Path) -> Iterator[str]:
    """The files that the process has open, beside the database's own, and that hold the marker."""
    for descriptor in Path(f"/proc/{process.pid}/fd").iterdir():
        with suppress(OSError):
            target = str(descriptor.readlink())
            if not target.startswith("/") or target.startswith(("/dev", "/proc", str(database))):
                continue
            if MARKER in descriptor.read_bytes():
                yield target


def vacuum(path: Path, program: list[str]) -> set[str]:
    """Vacuum it by a worker; returns in which files the marker was seen on the way."""
    request = {"operation": "vacuum", "path": str(path), "key": KEY, "options": {}, "parent": os.getpid()}
    scratch = path.parent / "scratch"
    scratch.mkdir(exist_ok=True)
    root = str(Path(__file__).parents[3])
    process = subprocess.Popen(
        [sys.executable, *program], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": root, "TMPDIR": str(scratch), "SQLITE_TMPDIR": str(scratch)},
    )  # fmt: skip
    assert process.stdin is not None and process.stdout is not None
    process.stdin.write(json.dumps(request).encode() + b"\n")
    process.stdin.close()
    seen: set[str] = set()
    while process.poll() is None:
        with suppress(FileNotFoundError):
            seen.update(found_in_open_files(process, path))
    said = process.stdout.read().splitlines()
    process.stdout.close()
    assert process.returncode == 0, said
    assert json.loads(said[-1])["result"]["mode"] == "full"
    seen.update(str(file) for file in path.parent.rglob("*") if file.is_file() and MARKER in file.read_bytes())
    return seen


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks into /proc")
def test_a_vacuum_leaves_no_plaintext(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    filled(path)
    assert vacuum(path, ["-m", "aico_sched.store.maintenance.worker"]) == set()
    # The same with temporary files on the disk is seen, so the look means something.
    assert vacuum(path, ["-c", ON_DISK]) != set()


def test_the_service_sorts_in_memory(tmp_path: Path) -> None:
    """A temporary file of its own connection would be plaintext, too."""
    database = Database.open(tmp_path / "s.db", KEY)
    assert database._raw("PRAGMA temp_store") == [(2,)]
    database.close()
