"""The host's own time zone by its IANA name. Python knows only its present offset, and a schedule needs the rules."""

import os
from collections.abc import Mapping
from pathlib import Path
from zoneinfo import ZoneInfo

FALLBACK = "UTC"


def host_zone(environ: Mapping[str, str] | None = None, etc: Path = Path("/etc")) -> str:
    """The zone named by `$TZ`, by the link `/etc/localtime` or by `/etc/timezone`, the first that is one of the
    IANA database; UTC on a host that names none."""
    environ = os.environ if environ is None else environ
    for name in (environ.get("TZ", "").removeprefix(":"), _linked(etc / "localtime"), _written(etc / "timezone")):
        if name and _exists(name):
            return name
    return FALLBACK


def _linked(path: Path) -> str:
    """The zone that a link into the system's database points to, however the database is mounted."""
    try:
        return str(path.readlink()).partition("zoneinfo/")[2]
    except OSError:
        return ""


def _written(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return ""


def _exists(name: str) -> bool:
    try:
        ZoneInfo(name)
    # A missing zone, a path that leaves the database, a folder of it: each is another error class.
    except (KeyError, ValueError, OSError):
        return False
    return True
