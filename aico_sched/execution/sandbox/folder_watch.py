"""Looks after the folder of a sandboxed run: how much it holds, and that nobody fills the disk with it.

The kernel bounds a single file (`RLIMIT_FSIZE`); only looking tells how many there are.
"""

import asyncio
import os
from pathlib import Path
from typing import NamedTuple

from aico_sched.execution.sandbox.policy import MEGABYTE

INTERVAL = 0.1
"""Seconds between two looks. What is written between them can exceed the limit."""


class Content(NamedTuple):
    """What a folder holds. Counting ends early once a limit is passed."""

    files: int
    bytes: int


def measure(folder: Path, max_files: int, max_bytes: int) -> Content:
    """Count files, folders and bytes on the disk below `folder`, links not followed. Reads the disk."""
    files = used = 0
    waiting = [str(folder)]
    while waiting:
        try:
            with os.scandir(waiting.pop()) as entries:
                for entry in entries:
                    files += 1
                    used += entry.stat(follow_symlinks=False).st_blocks * 512
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(entry.path)
                    if files > max_files or used > max_bytes:
                        return Content(files, used)
        except (FileNotFoundError, NotADirectoryError):
            # Removed meanwhile by the run itself.
            continue
    return Content(files, used)


def unlinked_bytes(pid: int) -> int:
    """Bytes on the disk of files that process `pid` has open and that are in no folder any more."""
    used = 0
    try:
        for descriptor in Path(f"/proc/{pid}/fd").iterdir():
            status = descriptor.stat()
            used += status.st_blocks * 512 if status.st_nlink == 0 else 0
    except OSError:
        # Closed meanwhile, or the process has ended.
        return used
    return used


def exceeded(folder: Path, disk_mb: int, max_files: int, pid: int | None = None) -> str | None:
    """In words, which limit the folder's content, and what process `pid` holds open, has passed; None if none."""
    try:
        found = measure(folder, max_files, disk_mb * MEGABYTE)
    except PermissionError as error:
        return f"its folder cannot be looked at: {error.filename} is closed"
    if pid is not None:
        found = found._replace(bytes=found.bytes + unlinked_bytes(pid))
    if found.files > max_files:
        return f"its folder holds more than sandbox.max_files = {max_files} files"
    if found.bytes > disk_mb * MEGABYTE:
        return f"its folder holds more than sandbox.disk_mb = {disk_mb} MB"
    return None


async def watch(folder: Path, disk_mb: int, max_files: int, pid: int) -> str:
    """Look until a limit is passed, and say which. Ends by cancellation otherwise."""
    while True:
        await asyncio.sleep(INTERVAL)
        problem = await asyncio.to_thread(exceeded, folder, disk_mb, max_files, pid)
        if problem is not None:
            return problem
