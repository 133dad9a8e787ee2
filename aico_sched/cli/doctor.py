"""Looks at everything that can keep the service from running well, and says how to mend it."""

import asyncio
import json
import os
import shutil
import socket
import stat
import sys
import time
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path
from typing import Any, Literal, NamedTuple

PACKAGES = ("chromadb", "libsql-experimental", "msgpack", "psutil", "pydantic", "pyzmq", "structlog")
PYTHONS = ((3, 11), (3, 14))
# Nothing of ours existed before: a clock that shows an earlier time was never set.
_RELEASED = 1_760_000_000
_LOW_DISK = 200 * 1024 * 1024


class Check(NamedTuple):
    """What was found, and how to mend it where it is not well."""

    name: str
    status: Literal["ok", "warning", "failed"]
    detail: str
    mend: str = ""


def versions() -> dict[str, str]:
    """The installed version of each package that matters, `missing` where there is none."""
    found = {}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = "missing"
    return found


def examine(load: Callable[[], Any]) -> Iterator[Check]:
    """All checks. Where the configuration is wrong, those that need one are left out."""
    yield _python()
    yield _packages()
    yield _clock()
    from aico_sched.settings import ConfigurationError

    try:
        settings = load()
    except ConfigurationError as error:
        yield Check(
            "configuration", "failed", str(error), "correct these keys; config/defaults/core.yaml explains each"
        )
        return
    yield Check("configuration", "ok", f"data in {settings.data_dir}")
    yield _zone(settings)
    yield _folder(settings.data_dir)
    yield _disk(settings.data_dir)
    yield _private_file("database", settings.database_path)
    yield _keys(settings.data_dir / "keys")
    running = _running(settings.data_dir)
    yield running
    if not running.detail.startswith("runs"):
        yield _ports(settings)
    yield _modules(settings)
    yield _sandbox(settings)


def _sandbox(settings: Any) -> Check:
    """How well tasks of users are kept apart, tried out."""
    if not settings.sandbox.enabled:
        return Check("sandbox", "warning", "tasks of users run with all the service's rights", "set sandbox.enabled")
    from aico_sched.execution.child.probe import reached
    from aico_sched.execution.environments import RemoteFailure
    from aico_sched.process_wiring import sandbox_rules

    try:
        level = asyncio.run(reached(sandbox_rules(settings)))
    except (RemoteFailure, OSError, TimeoutError) as error:
        mend = "mend what it says, or set sandbox.enabled to false; until then no task of a user runs"
        return Check("sandbox", "failed", str(error) or type(error).__name__, mend)
    if level["missing"]:
        mend = "a newer kernel, or a container that allows it; such tasks run with what there is"
        return Check("sandbox", "warning", f"without {'; '.join(level['missing'])}", mend)
    parts = [f"Landlock {level['landlock']}", "a filter of system calls", f"user {level['uid']}"]
    return Check("sandbox", "ok", ", ".join([*parts, *(["no network"] if level["network_namespace"] else [])]))


def _python() -> Check:
    found = ".".join(map(str, sys.version_info[:3]))
    if PYTHONS[0] <= sys.version_info[:2] < PYTHONS[1]:
        return Check("python", "ok", found)
    return Check("python", "failed", found, "use Python 3.11, 3.12 or 3.13")


def _packages() -> Check:
    missing = [name for name, found in versions().items() if found == "missing"]
    if missing:
        return Check("packages", "failed", f"missing: {', '.join(missing)}", "install aico-sched again with pip")
    return Check("packages", "ok", ", ".join(f"{name} {found}" for name, found in versions().items()))


def _clock() -> Check:
    now = time.time()
    shown = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(now))
    if now < _RELEASED:
        return Check("clock", "failed", shown, "set the machine's clock; every schedule depends on it")
    return Check("clock", "ok", shown)


def _zone(settings: Any) -> Check:
    from aico_sched.host_zone import host_zone

    if settings.scheduler.timezone is None and host_zone() == "UTC" and time.localtime().tm_gmtoff:
        mend = "set scheduler.timezone, or TZ, to the IANA name of your zone"
        return Check("time zone", "warning", "the host's zone has no name, so schedules are read as UTC", mend)
    return Check("time zone", "ok", settings.timezone)


def _folder(folder: Path) -> Check:
    if not folder.exists():
        above = next(parent for parent in folder.parents if parent.exists())
        if os.access(above, os.W_OK | os.X_OK):
            return Check("data folder", "ok", f"{folder} is made on first start")
        return Check("data folder", "failed", f"{above} cannot be written", "choose another one with --data-dir")
    if not folder.is_dir():
        return Check("data folder", "failed", f"{folder} is not a folder", "move it away, or use --data-dir")
    if not os.access(folder, os.W_OK | os.X_OK):
        return Check("data folder", "failed", f"{folder} cannot be written", f"chown it to this user: {folder}")
    if folder.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        return Check("data folder", "warning", f"others may enter {folder}", f"run: chmod 700 {folder}")
    return Check("data folder", "ok", f"{folder}, private")


def _disk(folder: Path) -> Check:
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    free = shutil.disk_usage(existing).free
    detail = f"{free / 1024**3:.1f} GiB free"
    if free < _LOW_DISK:
        return Check("disk", "warning", detail, "make room: the database stops taking tasks when the disk is full")
    return Check("disk", "ok", detail)


def _private_file(name: str, path: Path) -> Check:
    if not path.exists():
        return Check(name, "ok", f"{path} is made on first start")
    if path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        return Check(name, "warning", f"others may use {path}", f"run: chmod 600 {path}")
    return Check(name, "ok", str(path))


def _keys(folder: Path) -> Check:
    from aico_sched.security.keys import KeyRing, KeyRingError

    if not folder.exists():
        return Check("keys", "ok", f"{folder} is made on first start")
    ring = KeyRing(folder)
    try:
        ring.reload()
        live = [key.name for key in ring.list() if key.current]
    except (KeyRingError, OSError) as error:
        return Check("keys", "failed", "the keys of the bus cannot be used", str(error))
    return Check("keys", "ok", f"for {', '.join(live)}")


def _running(folder: Path) -> Check:
    """Whether a service runs with this data folder, by the file it leaves there."""
    try:
        content = json.loads((folder / "service.json").read_text(encoding="utf-8"))
        pid = int(content["pid"])
        os.kill(pid, 0)
    except FileNotFoundError:
        return Check("service", "ok", "does not run")
    except ProcessLookupError:
        return Check("service", "warning", "ended without an orderly stop", "start it again: it picks up where it was")
    except PermissionError:
        return Check("service", "ok", "runs as another user")
    except (OSError, ValueError, KeyError, TypeError):
        return Check("service", "warning", "its file service.json cannot be read", "restart the service")
    return Check("service", "ok", f"runs as process {pid}, bus at {content.get('publish')}")


def _ports(settings: Any) -> Check:
    bus = settings.bus
    if bus.connect is not None:
        return Check("bus", "ok", f"joins {bus.connect}")
    for key in ("publish_port", "subscribe_port"):
        port = getattr(bus, key)
        if port and not _is_free(bus.host, port):
            mend = f"stop what listens there, or choose another bus.{key}"
            return Check("bus", "failed", f"port {port} on {bus.host} is in use", mend)
    shown = [str(port) if port else "any free one" for port in (bus.publish_port, bus.subscribe_port)]
    return Check("bus", "ok", f"can listen on ports {' and '.join(shown)}")


def _is_free(host: str, port: int) -> bool:
    name = "" if host == "*" else host.strip("[]")
    try:
        family = socket.getaddrinfo(name or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        with socket.socket(family[0], socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(family[4])
    except OSError:
        return False
    return True


def _modules(settings: Any) -> Check:
    from importlib.util import find_spec

    missing = []
    for module in settings.scheduler.task_modules:
        try:
            known = module.startswith("aico.scheduler.tasks.") or find_spec(module) is not None
        except (ImportError, ValueError):
            known = False
        if not known:
            missing.append(module)
    if missing:
        mend = "install the package they are in, or take them out of scheduler.task_modules"
        return Check("task modules", "warning", f"not found: {', '.join(missing)}", mend)
    return Check("task modules", "ok", ", ".join(settings.scheduler.task_modules) or "none")
