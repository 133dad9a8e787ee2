"""What the sandbox stops, tried as root and as an ordinary user, and what a task may still do inside it."""

import fcntl
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest

# Children give way to everything else: on a busy machine the whole program takes minutes.
pytestmark = pytest.mark.timeout(300)

ORDINARY = 54_321
LONG = os.environ.get("AICO_SCHED_LONG") == "1"
IDENTITIES = (("root", "ordinary") if LONG else ("root",)) if os.geteuid() == 0 else ("ordinary",)
"""Each costs some 15 s of processor time, so only the long suite has both; root has more to be kept from."""


def command(identity: str, folder: Path) -> list[str]:
    """The program of escapes, run as `identity`."""
    program = [sys.executable, "-m", "tests.integration.execution.escapes", str(folder)]
    if identity == "root" or os.geteuid() != 0:
        return program
    drop = [str(shutil.which("setpriv")), f"--reuid={ORDINARY}", f"--regid={ORDINARY}", "--clear-groups"]
    # Where Python itself is in root's home folder, the right to pass through that is kept; it opens no door that
    # Landlock closes.
    return [*drop, "--inh-caps=-all,+dac_read_search", "--ambient-caps=+dac_read_search", *program]


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], dict[str, Any]]:
    """What became of everything that was tried, by identity. The program runs once, whichever of the processes that
    share the tests comes first; the others wait for what it found."""
    here = tmp_path_factory.getbasetemp()
    shared = here.parent if "PYTEST_XDIST_WORKER" in os.environ else here

    @cache
    def run(identity: str) -> dict[str, Any]:
        kept = shared / f"escapes-{identity}.json"
        with (shared / f"escapes-{identity}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not kept.exists():
                kept.write_text(json.dumps(tried(identity)))
            found: dict[str, Any] = json.loads(kept.read_text())
            return found

    def tried(identity: str) -> dict[str, Any]:
        folder = tmp_path_factory.mktemp(identity)
        if os.geteuid() == 0 and identity == "ordinary":
            os.chown(folder, ORDINARY, ORDINARY)
        done = subprocess.run(command(identity, folder), capture_output=True, text=True, timeout=280, check=False)
        lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
        assert len(lines) == 1, done.stderr[-3_000:] + done.stdout[-3_000:]
        found: dict[str, Any] = json.loads(lines[0])
        return found

    return run


def ended(one: dict[str, Any], kind: str, words: str) -> None:
    """Whether a run was ended with this reason, and its record says where it ran and what it used."""
    assert (one.get("error"), words in one.get("message", "")) == (kind, True), one
    assert one["usage"]["sandbox"] in ("full", "reduced")
    assert one["usage"]["cpu_seconds"] > 0


@pytest.mark.parametrize("identity", IDENTITIES)
def test_nothing_outside_is_reached(seen: Callable[[str], dict[str, Any]], identity: str) -> None:
    found = seen(identity)
    tries = found["tries"]["tries"]
    assert len(tries) > 40
    assert {name: became for name, became in tries.items() if became.startswith("ESCAPED")} == {}
    refused = (
        "PermissionError",
        "OSError: [Errno 38]",
        "OSError: [Errno 18]",
        "OSError: [Errno 95]",
        "ValueError: not allowed",
        "ValueError: tasks cannot",
    )
    assert {name: became for name, became in tries.items() if not became.startswith(refused)} == {}
    assert found["planted"] == []


@pytest.mark.parametrize("identity", IDENTITIES)
def test_nothing_is_inherited(seen: Callable[[str], dict[str, Any]], identity: str) -> None:
    found = seen(identity)["tries"]
    allowed = {"LANG", "LC_ALL", "LC_CTYPE", "TZ", "HOME", "TMPDIR", "SSL_CERT_FILE", "SSL_CERT_DIR", "LD_LIBRARY_PATH"}
    ours = {"OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "PYTHONPATH", "PYTHONDONTWRITEBYTECODE", "PYTHONUNBUFFERED"}
    assert set(found["environ"]) <= allowed | ours
    kinds = sorted(found["descriptors"].values())
    # Input and output; the loop's selector and its own pair of sockets; the pipe to the service.
    assert kinds == ["?", "c", "p", "p", "s", "s", "s"]
    assert found["uid"] != 0
    assert found["groups"] == []


@pytest.mark.parametrize("identity", IDENTITIES)
def test_a_task_works_in_its_own_folder(seen: Callable[[str], dict[str, Any]], identity: str) -> None:
    assert seen(identity)["uses"] == {
        "text": "text",
        "copy": "text",
        "inside": True,
        "zone": "Europe/Berlin",
        "thread": 42,
        "cwd": True,
        "home": True,
    }


@pytest.mark.parametrize("identity", IDENTITIES)
def test_what_takes_too_much_is_ended_and_says_what(seen: Callable[[str], dict[str, Any]], identity: str) -> None:
    found = seen(identity)
    assert found["fork bomb"]["result"] == {"forks": 0}
    assert found["thread bomb"]["result"]["threads"] < 100
    ended(found["memory"], "MemoryLimitExceeded", "sandbox.memory_mb")
    ended(found["one big file"], "DiskLimitExceeded", "sandbox.disk_mb = 16 MB")
    ended(found["many files"], "DiskLimitExceeded", "sandbox.max_files = 100")
    ended(found["many big files"], "DiskLimitExceeded", "sandbox.disk_mb = 16 MB")
    ended(found["files without a name"], "DiskLimitExceeded", "sandbox.disk_mb = 16 MB")
    ended(found["for ever"], "CpuLimitExceeded", "1 s of processor time")
    ended(found["in the face of signals"], "CpuLimitExceeded", "1 s of processor time")
    ended(found["on import"], "TaskClassUnavailable", "Operation not permitted")


@pytest.mark.parametrize("identity", IDENTITIES)
def test_the_level_says_what_is_in_force(seen: Callable[[str], dict[str, Any]], identity: str) -> None:
    level = seen(identity)["level"]
    assert (level["level"], level["missing"]) == ("full", [])
    assert level["no_new_privileges"]
    assert level["system_call_filter"]
    assert level["landlock"] >= 1
    assert level["network_namespace"] is (identity == "root")
    assert (level["uid"] == 65_534) is (identity == "root")
