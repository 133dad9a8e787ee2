"""The lock that lets one process at a time schedule from a database file."""

import fcntl
import os
from contextlib import suppress
from pathlib import Path

from aico_sched.store.errors import AlreadyInUse, CannotOpen
from aico_sched.store.room import cannot_open


class DatabaseLock:
    """`<path>.lock`, held by this process until `release`; the kernel frees it with the process, however that ends.

    The file names the process that holds it, for people. It is never removed: another could lock the removed one.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor: int | None = descriptor

    @classmethod
    def take(cls, path: Path) -> "DatabaseLock":
        """Take the lock of the database at `path`, waiting for nobody. Raises `AlreadyInUse`, or `CannotOpen` where
        there can be no lock file."""
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            file = path.with_name(path.name + ".lock")
            descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise cannot_open(path, error) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.pread(descriptor, 20, 0).decode(errors="replace").strip()
            os.close(descriptor)
            if not isinstance(error, BlockingIOError):
                raise CannotOpen(path, f"its lock file cannot be used: {error.strerror}") from error
            raise AlreadyInUse(path, int(holder) if holder.isdecimal() else None) from error
        # On a full disk it stays nameless: it is held all the same.
        with suppress(OSError):
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, b"%d\n" % os.getpid(), 0)
        return cls(descriptor)

    def share(self) -> "DatabaseLock":
        """Another hold on the same lock: it is free when all of them are released."""
        assert self._descriptor is not None, "the lock has been released"
        descriptor = os.dup(self._descriptor)
        os.set_inheritable(descriptor, False)
        return DatabaseLock(descriptor)

    def fileno(self) -> int:
        """Its descriptor, for a child process that works on the database in this one's stead."""
        assert self._descriptor is not None, "the lock has been released"
        return self._descriptor

    def release(self) -> None:
        """Let others in. Safe to call twice."""
        if self._descriptor is not None:
            descriptor, self._descriptor = self._descriptor, None
            os.close(descriptor)
