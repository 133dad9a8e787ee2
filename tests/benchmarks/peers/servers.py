"""The servers that some peers need: Redis and PostgreSQL, on 127.0.0.1, on ports and folders of the bench's own.

What is installed is used. Redis is otherwise unpacked, not installed, from Debian's packages, so that nothing else of
the machine changes and no root is needed. Each is ended by the process id it was started with.
"""

from __future__ import annotations

import os
import platform
import pwd
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from peers.environments import CACHE, Missing

REDIS_PACKAGES = (
    # The program is in the tools; the server's package has the link of its name.
    "redis-server", "redis-tools", "liblzf1", "libjemalloc2", "liblua5.1-0", "lua-cjson", "lua-bitop", "libatomic1",
)  # fmt: skip
WITHIN = 30.0
CLUSTERS = Path("/usr/lib/postgresql")


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _listening(port: int, process: subprocess.Popen[bytes], name: str) -> None:
    deadline = time.monotonic() + WITHIN
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise Missing(f"{name} ended with exit code {process.returncode}")
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise Missing(f"{name} did not answer within {WITHIN:g} s")


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(WITHIN)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _redis() -> tuple[str, dict[str, str]]:
    """The command, and the environment it needs."""
    if found := shutil.which("redis-server"):
        return found, {}
    place = CACHE / "debian"
    command = place / "usr" / "bin" / "redis-server"
    libraries = {"LD_LIBRARY_PATH": str(place / "usr" / "lib" / f"{platform.machine()}-linux-gnu")}
    if not command.exists():
        if not (shutil.which("apt-get") and shutil.which("dpkg")):
            raise Missing("there is no redis-server, and no apt-get to fetch Debian's package with")
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
        fetched = subprocess.run(
            ["apt-get", "download", "--quiet=2", *REDIS_PACKAGES],
            cwd=place, capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        if fetched.returncode:
            last = fetched.stderr.strip().splitlines()[-1:]
            raise Missing(f"Redis could not be fetched (apt-get update may help): {' '.join(last)}")
        for package in place.glob("*.deb"):
            subprocess.run(["dpkg", "-x", str(package), str(place)], check=True, timeout=60)
        if not command.exists():
            raise Missing(f"there is no {command.name} in Debian's packages {', '.join(REDIS_PACKAGES)}")
    return str(command), libraries


@contextmanager
def redis(folder: Path) -> Iterator[int]:
    """A Redis that answers only when a change is on the disk; yields its port. Raises `Missing`."""
    command, more = _redis()
    port = free_port()
    options = {
        "bind": "127.0.0.1",
        "port": port,
        "dir": folder,
        "appendonly": "yes",
        "appendfsync": "always",
        "save": "",
    }
    process = subprocess.Popen(
        [command, *(part for name, value in options.items() for part in (f"--{name}", str(value)))],
        env={**os.environ, **more},
        stdout=subprocess.DEVNULL,
    )
    try:
        _listening(port, process, "redis-server")
        yield port
    finally:
        _end(process)


def _postgresql() -> Path:
    """The folder of initdb and postgres."""
    found = sorted(CLUSTERS.glob("*/bin/initdb"), key=lambda path: int(path.parents[1].name))
    if not found:
        raise Missing("PostgreSQL is not installed (on Debian: apt-get install postgresql)")
    return found[-1].parent


def _server_user() -> int | None:
    """Whom to run PostgreSQL as, which refuses to be root; None to remain who we are."""
    if os.geteuid():
        return None
    try:
        return pwd.getpwnam("postgres").pw_uid
    except KeyError:
        return pwd.getpwnam("nobody").pw_uid


@contextmanager
def postgresql(folder: Path) -> Iterator[str]:
    """A PostgreSQL with its default durability; yields what libpq connects with. Raises `Missing`."""
    binaries, user, port = _postgresql(), _server_user(), free_port()
    data = folder / "cluster"
    data.mkdir()
    if user is not None:
        os.chown(data, user, -1)
        for parent in (folder, folder.parent):
            # Both were made for this user alone; the server's may pass through, and read nothing.
            parent.chmod(parent.stat().st_mode & 0o7777 | 0o011)
    initdb = [str(binaries / "initdb"), "-D", str(data), "-U", "bench", "-A", "trust", "-E", "UTF8", "--no-locale"]
    made = subprocess.run(initdb, user=user, cwd="/", capture_output=True, text=True, timeout=120, check=False)
    if made.returncode:
        raise Missing(f"initdb failed: {' '.join(made.stderr.strip().splitlines()[-1:])}")
    process = subprocess.Popen(
        [str(binaries / "postgres"), "-D", str(data), "-h", "127.0.0.1", "-p", str(port), "-k", ""],
        user=user, cwd="/", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        _listening(port, process, "postgres")
        yield f"host=127.0.0.1 port={port} user=bench dbname=postgres"
    finally:
        _end(process)
