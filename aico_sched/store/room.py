"""Whether anything can be written beside the database: SQLite says of most failures only that the disk has one."""

import errno
import os
from pathlib import Path
from typing import Final

from aico_sched.store.errors import CannotOpen, CannotWrite, NoRoomToOpen

ROOM: Final = 256 * 1024
"""Bytes that must be free before a full database is tried again: with less it would be full again at once."""

FULL: Final = "full"
READ_ONLY: Final = "read_only"

_FORBIDDEN: Final = frozenset({errno.EROFS, errno.EACCES, errno.EPERM})
_NO_ROOM: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO})


def shortage(database: Path, wanted: int = ROOM) -> str:
    """Why no file of `wanted` bytes can be made beside the database, quotas included; empty if one can."""
    probe = database.with_name(f"{database.name}.probe")
    try:
        descriptor = os.open(probe, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            os.posix_fallocate(descriptor, 0, wanted)
        finally:
            os.close(descriptor)
            probe.unlink()
    except OSError as error:
        return READ_ONLY if error.errno in _FORBIDDEN else FULL
    return ""


def cannot_open(database: Path, error: OSError) -> CannotOpen:
    """The error of a database that the system would not open."""
    if error.errno in _FORBIDDEN:
        return CannotWrite(database, f"{error.strerror}; check that the folder exists and is yours to write")
    if error.errno in _NO_ROOM:
        return NoRoomToOpen(database, f"{error.strerror}. Make room on the disk and start again")
    return CannotOpen(database, f"{error.strerror}; check that the folder exists and is yours to write")
