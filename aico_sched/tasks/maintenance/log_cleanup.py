"""Keeps the log folder small: rotated log files that are too old go first, then the oldest until it fits."""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict, Field

from aico_sched.tasks.base import BaseTask, TaskResult
from aico_sched.tasks.context import TaskContext

MEGABYTE = 1024 * 1024
DAY = 86_400.0
QUIET_SECONDS = 3_600.0
"""A file that was written to within this time may be in use and is never removed."""

_MAX_LISTED = 20

_LOG = re.compile(r"\.(?:log|jsonl)(?:[._-].+)?$")
_ROTATED = re.compile(
    r"""
    \.(?:log|jsonl) (?: [._-]\d[\d._T:-]* )? \.(?:gz|bz2|xz|zst|zip) $   # app.log.gz, app.log.3.gz
    | \.(?:log|jsonl) [._-]\d[\d._T:-]* $                                # app.log.1, app.log.2026-01-31
    | [._-]\d{4}-?\d{2}-?\d{2}[\d_T:-]* \.(?:log|jsonl) $                # app-20260131.log
    """,
    re.VERBOSE,
)


class LogFile(NamedTuple):
    """A file of the log folder: bytes, and when it was last written to (seconds since the epoch)."""

    path: str
    size: int
    modified: float
    rotated: bool


class LogCleanup(BaseTask):
    """Removes rotated log files past their retention, then the oldest until the folder is under its size."""

    name = "maintenance.log_cleanup"
    default_schedule = "0 3 * * *"

    class Config(BaseModel):
        model_config = ConfigDict(frozen=True, extra="forbid")

        retention_days: int = Field(default=30, ge=0, le=36_500, description="rotated files older than this go")
        max_size_mb: int = Field(default=500, ge=0, description="size of all log files to get under, in MiB")
        log_folder: Path | None = Field(default=None, description="$AICO_LOGS_DIR, else ~/.local/share/aico/logs")
        dry_run: bool = Field(default=False, description="only say what would be removed")

    async def execute(self, context: TaskContext[Config]) -> TaskResult:
        """Files in use are left alone: only rotated ones that were not written to for an hour are removed.
        Running it again, or after it was cancelled anywhere, does no harm."""
        config = context.config
        folder = config.log_folder or default_folder()
        if not folder.is_dir():
            return TaskResult.skip(f"there is no log folder at {folder}")
        await context.progress(0.0, f"looking through {folder}")
        files = [file async for batch in context.batches(log_files(folder)) for file in batch]
        doomed = to_remove(files, context.now().timestamp(), config.retention_days * DAY, config.max_size_mb * MEGABYTE)
        removed, problems = ([], []) if config.dry_run else await _remove(context, doomed)
        gone = doomed if config.dry_run else removed
        left = sum(file.size for file in files) - sum(file.size for file in gone)
        data = {
            "folder": str(folder),
            "files_seen": len(files),
            "files_removed": len(removed),
            "bytes_removed": sum(file.size for file in removed),
            "bytes_left": left,
            "over_limit": left > config.max_size_mb * MEGABYTE,
        }
        if config.dry_run:
            data |= {"would_remove": len(doomed), "would_free": sum(file.size for file in doomed)}
            return TaskResult.ok(f"would remove {len(doomed)} of {len(files)} log files", **data)
        if problems:
            return TaskResult.failed(
                f"{len(problems)} log files could not be removed", problems=problems[:_MAX_LISTED], **data
            )
        return TaskResult.ok(f"removed {len(removed)} of {len(files)} log files", **data)


async def _remove(context: TaskContext[LogCleanup.Config], doomed: list[LogFile]) -> tuple[list[LogFile], list[str]]:
    """Delete the files, oldest first; returns those that are gone and what kept the others."""
    removed: list[LogFile] = []
    problems: list[str] = []
    async for batch in context.batches(doomed, size=20):
        for file in batch:
            problem = _unlink(Path(file.path))
            if problem is None:
                removed.append(file)
            else:
                problems.append(f"{file.path}: {problem}")
        await context.progress((len(removed) + len(problems)) / len(doomed), f"{len(removed)} removed")
    return removed, problems


def _unlink(path: Path) -> str | None:
    """Delete a file; returns what kept it. One that is gone already is as good as deleted."""
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        return error.strerror or str(error)
    return None


def default_folder() -> Path:
    """Where AICO writes its logs: `$AICO_LOGS_DIR`, else `~/.local/share/aico/logs`."""
    configured = os.environ.get("AICO_LOGS_DIR")
    return Path(configured) if configured else Path.home() / ".local" / "share" / "aico" / "logs"


def log_files(folder: Path) -> Iterator[LogFile]:
    """The log files in `folder` and below. Links are not followed; what cannot be read is passed over."""
    waiting = [str(folder)]
    while waiting:
        try:
            entries = os.scandir(waiting.pop())
        except OSError:
            continue
        with entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(entry.path)
                elif _LOG.search(entry.name) and entry.is_file(follow_symlinks=False):
                    try:
                        status = entry.stat(follow_symlinks=False)
                    except FileNotFoundError:
                        continue
                    rotated = _ROTATED.search(entry.name) is not None
                    yield LogFile(entry.path, status.st_size, status.st_mtime, rotated)


def to_remove(files: list[LogFile], now: float, retention: float, limit: int) -> list[LogFile]:
    """Which files go, oldest first: rotated ones older than `retention` seconds, then, while all that stay have
    more than `limit` bytes, the oldest rotated ones. Pure."""
    size = sum(file.size for file in files)
    doomed: list[LogFile] = []
    for file in sorted(files, key=lambda file: file.modified):
        age = now - file.modified
        if file.rotated and age >= QUIET_SECONDS and (age > retention or size > limit):
            doomed.append(file)
            size -= file.size
    return doomed
