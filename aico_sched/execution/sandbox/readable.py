"""What a sandboxed task may read besides its own folder: Python, installed packages, time zones; never data."""

import os
import site
import sys
import sysconfig
from importlib.util import find_spec
from pathlib import Path

_SYSTEM = (
    "/usr/lib",
    "/usr/lib64",
    "/usr/local/lib",
    "/usr/share/zoneinfo",
    "/lib",
    "/lib64",
    "/etc/ld.so.cache",
    "/etc/localtime",
    "/etc/mime.types",
)
_NETWORK = (
    "/etc/resolv.conf",
    "/etc/hosts",
    "/etc/nsswitch.conf",
    "/etc/host.conf",
    "/etc/gai.conf",
    "/etc/services",
    "/etc/ssl",
    "/etc/ca-certificates",
    "/etc/pki",
    "/usr/share/ca-certificates",
    "/run/systemd/resolve/stub-resolv.conf",
)


def code_paths(module: str | None, *, network: bool) -> tuple[str, ...]:
    """The folders and files with code: the interpreter's, what is installed in it, aico-sched itself, and the
    package that holds `module` where a task class comes from one."""
    places = {sys.prefix, sys.base_prefix, sys.exec_prefix, *site.getsitepackages()}
    places |= {sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    if site.ENABLE_USER_SITE:
        places.add(site.getusersitepackages())
    places |= {str(path) for name in ("aico_sched", module) if name for path in _package(name)}
    places |= {*_SYSTEM, *(_NETWORK if network else ())}
    return tuple(sorted({os.path.realpath(place) for place in places if Path(place).exists()}))


def _package(name: str) -> list[Path]:
    """The top-level package of a module, or its file, with what its links lead to: `aico_sched` has some in a
    checkout."""
    spec = find_spec(name.partition(".")[0])
    if spec is None:
        return []
    if spec.submodule_search_locations is None:
        return [Path(spec.origin)] if spec.origin else []
    folders = [Path(folder) for folder in spec.submodule_search_locations]
    return folders + [link.resolve() for folder in folders for link in folder.iterdir() if link.is_symlink()]
