"""Files that are whole on the disk or not there at all, and private from their first byte."""

import os
from collections.abc import Callable
from pathlib import Path

COPY_CHUNK = 4 * 1024 * 1024


def sync_folder(folder: Path) -> None:
    """Make the names in `folder` durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_file(path: Path) -> None:
    """Make the content of `path` durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_private(path: Path, content: bytes) -> None:
    """Write a 0600 file in place of whatever stands there, all at once and durably."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.new")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        try:
            os.write(descriptor, content)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def write_new_private(path: Path, content: bytes) -> bool:
    """Write a 0600 file unless one stands there already, all at once and durably. Returns whether it was written."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.new")
    write_private(temporary, content)
    try:
        # A link fails where a rename would replace what another process has just made.
        os.link(temporary, path)
    except FileExistsError:
        return False
    finally:
        temporary.unlink()
    sync_folder(path.parent)
    return True


def copy_private(source: Path, target: Path, progress: Callable[[int, int], None] = lambda done, total: None) -> None:
    """Copy a file into a 0600 one, durably; what stood there is overwritten. `progress` is told bytes done and bytes
    in all, after each few megabytes."""
    total, done = source.stat().st_size, 0
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with source.open("rb") as reading, os.fdopen(descriptor, "wb", buffering=0) as writing:
        os.fchmod(writing.fileno(), 0o600)
        while chunk := reading.read(COPY_CHUNK):
            view = memoryview(chunk)
            while view:
                view = view[writing.write(view) :]
            done += len(chunk)
            progress(done, total)
        os.fsync(writing.fileno())
