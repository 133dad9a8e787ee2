"""The peers, and a virtual environment of its own for each, made from pinned versions when it is first needed."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[3]
CACHE = ROOT / "build" / "peers"
PROGRAMS = Path(__file__).resolve().parent / "programs"
INSTALL_WITHIN = 300.0


class Missing(Exception):
    """A peer cannot be measured here; the message says why. It is reported as missing, never as beaten."""


class Peer(NamedTuple):
    """A library beside ours: its packages, the first of which is the one it is known by, and its program."""

    name: str
    packages: tuple[str, ...]
    program: str

    @property
    def version(self) -> str:
        return self.packages[0].partition("==")[2]


APS4_NEEDS = ("sqlalchemy==2.1.9", "aiosqlite==0.22.1", "sniffio==1.3.1", "greenlet==3.5.6")
"""More than it declares: the pre-release imports what newer versions of its dependencies no longer bring."""

PEERS = {
    peer.name: peer
    for peer in (
        Peer("APScheduler 3", ("apscheduler==3.11.3", "sqlalchemy==2.1.9"), "aps3.py"),
        Peer("APScheduler 4", ("apscheduler==4.0.0a6", *APS4_NEEDS), "aps4.py"),
        Peer("huey", ("huey==3.5.4",), "huey_sqlite.py"),
        Peer("arq", ("arq==0.28.0", "redis==5.3.1", "hiredis==3.5.0"), "arq_redis.py"),
        Peer("Procrastinate", ("procrastinate==3.10.0", "psycopg[binary]==3.3.9"), "procrastinate_pg.py"),
        Peer("cronsim", ("cronsim==2.8",), "crons.py"),
        Peer("croniter", ("croniter==7.0.0",), "crons.py"),
    )
}


def python_of(peer: Peer) -> Path:
    """The interpreter of the peer's environment, which is made if it is not there or has other versions. Raises
    `Missing`, also if that failed before with these versions: nobody wants to wait for it twice."""
    place = CACHE / peer.name.lower().replace(" ", "")
    python, stamp, wanted = place / "bin" / "python", place / "packages", "\n".join(peer.packages)
    if stamp.exists() and stamp.read_text(encoding="utf-8") == wanted:
        return python
    shutil.rmtree(place, ignore_errors=True)
    try:
        for command in _commands(place, python, peer):
            done = subprocess.run(command, capture_output=True, text=True, timeout=INSTALL_WITHIN, check=False)
            if done.returncode:
                last = (done.stderr or done.stdout).strip().splitlines()[-1:]
                raise Missing(f"could not be installed: {' '.join(last)}")
    except subprocess.TimeoutExpired as error:
        raise Missing(f"could not be installed within {INSTALL_WITHIN:g} s") from error
    stamp.write_text(wanted, encoding="utf-8")
    return python


def _commands(place: Path, python: Path, peer: Peer) -> list[list[str]]:
    if uv := shutil.which("uv"):
        install = [uv, "pip", "install", "--quiet", "--python", str(python)]
        return [[uv, "venv", "--quiet", "--python", sys.executable, str(place)], [*install, *peer.packages]]
    install = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    return [[sys.executable, "-m", "venv", str(place)], [*install, *peer.packages]]
