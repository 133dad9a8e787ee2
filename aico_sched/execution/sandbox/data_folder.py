"""The one folder a sandboxed task may change, made ready for it."""

import os
import shutil
from pathlib import Path

from aico_sched.execution.sandbox.folder_watch import exceeded


def prepare(folder: Path, uid: int | None, disk_mb: int, max_files: int) -> str | None:
    """Make `folder` (mode 0700) if it is not there, and its content `uid`'s. Returns which limit its content has
    passed already, None if none. Reads the disk; raises OSError, also for a link in the folder's place."""
    folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if folder.is_symlink():
        raise NotADirectoryError(f"{folder} is a symbolic link")
    folder.mkdir(mode=0o700, exist_ok=True)
    problem = exceeded(folder, disk_mb, max_files)
    if problem is None and uid is not None and folder.stat().st_uid != uid:
        # What an earlier run outside a sandbox made. The folder itself comes last: until then it is nobody else's.
        for where, folders, files in os.walk(folder):
            for name in (*folders, *files):
                os.lchown(Path(where, name), uid, uid)
        os.lchown(folder, uid, uid)
    return problem


def remove(folder: Path) -> None:
    """Delete `folder` with all that is in it; harmless if it is not there. Raises OSError."""
    if folder.exists():
        shutil.rmtree(folder)
