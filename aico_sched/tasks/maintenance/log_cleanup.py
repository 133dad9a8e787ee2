"""Keeps the logs small: rotated files and rows of AICO's `logs` table that are too old go first, then the oldest of
both until the rest fits."""

import heapq
import math
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, field_validator

from aico_sched.data.source import NothingThere, SourceError, Table
from aico_sched.tasks.base import BaseTask, TaskResult
from aico_sched.tasks.context import TaskContext
from aico_sched.tasks.maintenance.log_rows import LogRows
from aico_sched.topics.commands import Environment

MEGABYTE = 1024 * 1024
DAY = 86_400.0
QUIET_SECONDS = 3_600.0
"""A file that was written to within this time may be in use and is never removed."""

_DATED_QUIET = DAY
"""The same for a file that had its date in its name from the start: it is written to until that day is over."""

_MAX_LISTED = 20

_LOG = re.compile(r"\.(?:log|jsonl)(?:[._-].+)?$")
_ROTATED = re.compile(
    r"""
    \.(?:log|jsonl) (?: [._-]\d[\d._T:-]* )? \.(?:gz|bz2|xz|zst|zip) $             # app.log.gz, app.log.3.gz
    | \.(?:log|jsonl) [._-]\d[\d._T:-]* $                                          # app.log.1, app.log.2026-01-31
    | (?P<dated> [._-]\d{4}-?\d{2}-?\d{2}[\d_T:-]* \.(?:log|jsonl) $ )             # app-20260131.log
    """,
    re.VERBOSE,
)


class LogFile(NamedTuple):
    """A file of the log folder, older ones sorting first: when it was last written to (seconds since the epoch),
    where it is, and its bytes. `quiet` is how long it must not have been written to before it may go (seconds)."""

    modified: float
    path: str
    size: int
    rotated: bool
    quiet: float = QUIET_SECONDS


@dataclass(slots=True)
class Inventory:
    """What is in the folder. A heap, so that neither filling nor emptying it has a long step."""

    count: int = 0
    size: int = 0
    rotated: list[LogFile] = field(default_factory=list)

    def add(self, file: LogFile, now: float) -> None:
        self.count += 1
        self.size += file.size
        if file.rotated and file.modified < now - file.quiet:
            heapq.heappush(self.rotated, file)

    def take(self, before: float) -> Iterator[LogFile]:
        """Takes out the rotated files that were written to before that moment (seconds since the epoch), in order."""
        while self.rotated and self.rotated[0].modified < before:
            file = heapq.heappop(self.rotated)
            self.size -= file.size
            yield file

    def oldest(self) -> float | None:
        """When the oldest rotated file was written to; None if there is none."""
        return self.rotated[0].modified if self.rotated else None


@dataclass(slots=True)
class Removal:
    """What was removed (in a dry run: would be), and what kept the rest."""

    count: int = 0
    size: int = 0
    problems: list[str] = field(default_factory=list)


class LogCleanup(BaseTask):
    """Removes log rows and rotated log files past their retention, then the oldest until the logs are small enough."""

    name = "maintenance.log_cleanup"
    default_schedule = "0 3 * * *"
    environment: ClassVar[Environment] = "loop"
    default_options: ClassVar[Mapping[str, Any]] = {"timeout": 3_600}

    class Config(BaseModel):
        model_config = ConfigDict(frozen=True, extra="forbid")

        retention_days: int = Field(
            default=30, ge=0, le=36_500, description="rows and rotated files older than this go"
        )
        max_size_mb: int = Field(default=500, ge=0, description="size of all logs to get under, in MiB")
        log_folder: Path | None = Field(default=None, description="$AICO_LOGS_DIR, else ~/.local/share/aico/logs")
        table: str = Field(default="logs", description="AICO's table; columns id, timestamp (RFC 3339 UTC)")
        dry_run: bool = Field(default=False, description="remove nothing, count what would go")

        @field_validator("log_folder")
        @classmethod
        def _is_no_whole_disk(cls, folder: Path | None) -> Path | None:
            if folder is None:
                return None
            folder = folder.expanduser()
            if not folder.is_absolute() or folder == Path(folder.anchor):
                raise ValueError("log_folder must be an absolute path, and not the whole disk")
            return folder

        @field_validator("table")
        @classmethod
        def _is_a_name(cls, table: str) -> str:
            return Table(table).name

    async def execute(self, context: TaskContext[Config]) -> TaskResult:
        """Files in use are left alone: only rotated ones that were not written to for an hour are removed, and no row
        younger than that goes for its size. Running it again, or after it was cancelled anywhere, does no harm."""
        folder = context.config.log_folder or default_folder()
        async with AsyncExitStack() as stack:
            problems: list[str] = []
            rows = await _rows(context, stack, problems)
            if rows is None and not problems and not folder.is_dir():
                return TaskResult.skip(f"there is no log folder at {folder}, and no table {context.config.table}")
            return await _Cleaning(context, folder, rows, problems).run()


async def _rows(context: TaskContext[LogCleanup.Config], stack: AsyncExitStack, problems: list[str]) -> LogRows | None:
    """The log table, its old rows gone; None where there is none, or the task may not see it. A database that does not
    answer keeps no file on the disk: it is one of the `problems`."""
    config = context.config
    try:
        data = await stack.enter_async_context(context.data())
        rows = LogRows(data, config.table, context, dry_run=config.dry_run)
        await rows.forget_before(context.now().timestamp() - config.retention_days * DAY)
    except (PermissionError, NothingThere):
        return None
    except SourceError as error:
        problems.append(f"table {config.table}: {error}")
        return None
    return rows


class _Cleaning:
    """One run, once the old rows are gone. `problems` are those it has had already."""

    def __init__(
        self, context: TaskContext[LogCleanup.Config], folder: Path, rows: LogRows | None, problems: list[str]
    ) -> None:
        self._context, self._folder, self._rows = context, folder, rows
        self._files, self._removal = Inventory(), Removal(problems=problems)
        self._now = context.now().timestamp()

    async def run(self) -> TaskResult:
        """Clean, and say what was done."""
        context, config = self._context, self._context.config
        await context.progress(0.0, f"looking through {self._folder}")
        async for batch in context.batches(log_files(self._folder, self._removal.problems)):
            for file in batch:
                self._files.add(file, self._now)
        before = self._files.size
        last = self._now - max(QUIET_SECONDS, config.retention_days * DAY)
        async for files in context.batches(self._files.take(last), size=20):
            await self._remove(files)
        await self._fit(config.max_size_mb * MEGABYTE)
        return await self._told(before - self._removal.size)

    def _size(self) -> int:
        return self._files.size + (self._rows.size if self._rows is not None else 0)

    async def _fit(self, limit: int) -> None:
        """Remove the oldest of files and rows until all that is left has at most `limit` bytes."""
        quiet = self._now - QUIET_SECONDS
        while self._size() > limit:
            file = self._files.oldest()
            row = await self._rows.oldest() if self._rows is not None else None
            if file is not None and file <= quiet and (row is None or file <= row):
                await self._remove([next(self._files.take(math.inf))])
                continue
            youngest = quiet if file is None else min(quiet, file)
            if self._rows is None or row is None or not await self._rows.drop(self._size() - limit, youngest):
                return

    async def _remove(self, files: list[LogFile]) -> None:
        removal = self._removal
        for file in files:
            try:
                gone = self._context.config.dry_run or _unlink(file)
            except OSError as error:
                removal.problems.append(f"{file.path}: {error.strerror or error}")
                continue
            if gone:
                removal.count += 1
                removal.size += file.size
        await self._context.progress(None, f"{removal.count} files, {removal.size // MEGABYTE} MiB")
        await self._context.checkpoint()

    async def _told(self, left: int) -> TaskResult:
        config, removal, rows = self._context.config, self._removal, self._rows
        verb = "would remove" if config.dry_run else "removed"
        data: dict[str, Any] = {
            "folder": str(self._folder),
            "dry_run": config.dry_run,
            "files_seen": self._files.count,
            "files_removed": removal.count,
            "bytes_removed": removal.size,
            "bytes_left": left,
            "over_limit": left + (rows.size if rows is not None else 0) > config.max_size_mb * MEGABYTE,
        }
        words = f"{verb} {removal.count} files"
        if rows is not None:
            data |= {"rows_seen": rows.seen, "rows_removed": rows.removed, "row_bytes_left": rows.size}
            words += f" and {rows.removed} rows"
        await self._context.progress(1.0, words)
        if removal.problems:
            message = f"{words}, but not all: {removal.problems[0]}"
            if len(removal.problems) > 1:
                message += f" (and {len(removal.problems) - 1} more)"
            return TaskResult.failed(message, problems=removal.problems[:_MAX_LISTED], **data)
        if rows is None:
            return TaskResult.ok(f"{verb} {removal.count} of {self._files.count} log files", **data)
        return TaskResult.ok(words, **data)


def _unlink(file: LogFile) -> bool:
    """Delete a file; whether it is gone. What has its name by now, because somebody rotated the logs meanwhile, is
    another and stays."""
    path = Path(file.path)
    try:
        status = path.lstat()
    except FileNotFoundError:
        return True
    if (status.st_mtime, status.st_size) != (file.modified, file.size):
        return False
    path.unlink(missing_ok=True)
    return True


def default_folder() -> Path:
    """Where AICO writes its logs: `$AICO_LOGS_DIR`, else `~/.local/share/aico/logs`."""
    configured = os.environ.get("AICO_LOGS_DIR")
    return Path(configured) if configured else Path.home() / ".local" / "share" / "aico" / "logs"


def log_files(folder: Path, problems: list[str] | None = None) -> Iterator[LogFile]:
    """The log files in `folder` and below. Links are not followed; what cannot be read is passed over, and named in
    `problems`."""
    unread = [] if problems is None else problems
    waiting = [str(folder)]
    while waiting:
        place = waiting.pop()
        try:
            entries = os.scandir(place)
        except FileNotFoundError:
            continue
        except OSError as error:
            unread.append(f"{place}: {error.strerror}")
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
                    except OSError as error:
                        unread.append(f"{entry.path}: {error.strerror}")
                        continue
                    found = _ROTATED.search(entry.name)
                    quiet = _DATED_QUIET if found is not None and found["dated"] else QUIET_SECONDS
                    yield LogFile(status.st_mtime, entry.path, status.st_size, found is not None, quiet)
