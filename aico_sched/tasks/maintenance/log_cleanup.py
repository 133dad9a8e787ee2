"""Keeps the log folder small: rotated log files that are too old go first, then the oldest until it fits."""

import heapq
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
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
    """A file of the log folder, older ones sorting first: when it was last written to (seconds since the epoch),
    where it is, and its bytes."""

    modified: float
    path: str
    size: int
    rotated: bool


@dataclass(slots=True)
class Inventory:
    """What is in the folder. A heap, so that neither filling nor emptying it has a long step."""

    count: int = 0
    size: int = 0
    rotated: list[LogFile] = field(default_factory=list)

    def add(self, file: LogFile) -> None:
        self.count += 1
        self.size += file.size
        if file.rotated:
            heapq.heappush(self.rotated, file)

    def take(self, now: float, retention: float, limit: int) -> Iterator[LogFile]:
        """Takes out what must go, oldest first: rotated files older than `retention` seconds, then, while all that
        is left has more than `limit` bytes, the oldest rotated ones. `now` is seconds since the epoch."""
        while self.rotated:
            age = now - self.rotated[0].modified
            if age < QUIET_SECONDS or (age <= retention and self.size <= limit):
                return
            file = heapq.heappop(self.rotated)
            self.size -= file.size
            yield file


@dataclass(slots=True)
class Removal:
    """What was removed (in a dry run: would be), and what kept the rest."""

    count: int = 0
    size: int = 0
    problems: list[str] = field(default_factory=list)


class LogCleanup(BaseTask):
    """Removes rotated log files past their retention, then the oldest until the folder is under its size."""

    name = "maintenance.log_cleanup"
    default_schedule = "0 3 * * *"

    class Config(BaseModel):
        model_config = ConfigDict(frozen=True, extra="forbid")

        retention_days: int = Field(default=30, ge=0, le=36_500, description="rotated files older than this go")
        max_size_mb: int = Field(default=500, ge=0, description="size of all log files to get under, in MiB")
        log_folder: Path | None = Field(default=None, description="$AICO_LOGS_DIR, else ~/.local/share/aico/logs")
        dry_run: bool = Field(default=False, description="remove nothing, count what would go")

    async def execute(self, context: TaskContext[Config]) -> TaskResult:
        """Files in use are left alone: only rotated ones that were not written to for an hour are removed.
        Running it again, or after it was cancelled anywhere, does no harm."""
        config = context.config
        folder = config.log_folder or default_folder()
        if not folder.is_dir():
            return TaskResult.skip(f"there is no log folder at {folder}")
        await context.progress(0.0, f"looking through {folder}")
        inventory = Inventory()
        async for batch in context.batches(log_files(folder)):
            for file in batch:
                inventory.add(file)
        before = inventory.size
        removal = await _remove(context, inventory)
        left, verb = before - removal.size, "would remove" if config.dry_run else "removed"
        data = {
            "folder": str(folder),
            "dry_run": config.dry_run,
            "files_seen": inventory.count,
            "files_removed": removal.count,
            "bytes_removed": removal.size,
            "bytes_left": left,
            "over_limit": left > config.max_size_mb * MEGABYTE,
        }
        await context.progress(1.0, f"{verb} {removal.count} files")
        if removal.problems:
            message = f"{len(removal.problems)} log files could not be removed"
            return TaskResult.failed(message, problems=removal.problems[:_MAX_LISTED], **data)
        return TaskResult.ok(f"{verb} {removal.count} of {inventory.count} log files", **data)


async def _remove(context: TaskContext[LogCleanup.Config], inventory: Inventory) -> Removal:
    config, removal = context.config, Removal()
    doomed = inventory.take(context.now().timestamp(), config.retention_days * DAY, config.max_size_mb * MEGABYTE)
    async for batch in context.batches(doomed, size=20):
        for file in batch:
            problem = None if config.dry_run else _unlink(Path(file.path))
            if problem is None:
                removal.count += 1
                removal.size += file.size
            else:
                removal.problems.append(f"{file.path}: {problem}")
        await context.progress(None, f"{removal.count} files, {removal.size // MEGABYTE} MiB")
    return removal


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
                    yield LogFile(status.st_mtime, entry.path, status.st_size, rotated)
