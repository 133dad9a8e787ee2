"""Keeps the scheduler's own database small: gives its free pages back to the disk."""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

from aico_sched.tasks.base import BaseTask, TaskResult
from aico_sched.tasks.context import TaskContext
from aico_sched.tasks.powers import NoDatabase

MEGABYTE = 1024 * 1024

_PAGES = (
    "SELECT freelist_count AS free, page_count AS pages, page_size AS size "
    "FROM pragma_freelist_count(), pragma_page_count(), pragma_page_size()"
)


class DatabaseVacuum(BaseTask):
    """Gives free pages of the database back: in small steps where few are free, else by rewriting it."""

    name = "maintenance.database_vacuum"
    default_schedule = "30 4 * * 0"
    default_options: ClassVar[Mapping[str, Any]] = {"timeout": 3_600, "low_activity": True, "max_defer": 72_000}

    class Config(BaseModel):
        model_config = ConfigDict(frozen=True, extra="forbid")

        threshold: float = Field(default=0.25, ge=0, le=1, description="free share from which the file is rewritten")
        mode: Literal["auto", "full", "incremental"] = "auto"
        check: bool = Field(default=True, description="read every page first, and leave a damaged file alone")
        dry_run: bool = Field(default=False, description="tell how much is free, change nothing")

    async def execute(self, context: TaskContext[Config]) -> TaskResult:
        """Commands wait while the file is read or rewritten. Cut short anywhere it has changed nothing."""
        try:
            return await self._work(context)
        except NoDatabase as error:
            return TaskResult.skip(str(error))

    async def _work(self, context: TaskContext[Config]) -> TaskResult:
        config = context.config
        if config.dry_run:
            (row,) = await context.query(_PAGES)
            share = row["free"] / max(1, row["pages"])
            mode = config.mode if config.mode != "auto" else "full" if share >= config.threshold else "incremental"
            words = f"would free {row['free'] * row['size'] / MEGABYTE:.1f} MiB, {share:.0%} of the file, {mode}"
            return TaskResult.ok(words, dry_run=True, mode=mode, free_share=share)
        if config.check:
            await context.progress(0.0, "checking every page")
            found = await context.maintain("check")
            if not found["ok"]:
                return TaskResult.failed("the database is damaged; restore a backup", findings=found["findings"])
        await context.progress(0.3, "vacuum")
        found = await context.maintain("vacuum", mode=config.mode, threshold=config.threshold)
        freed, left = found["bytes_freed"] / MEGABYTE, found["bytes_after"] / MEGABYTE
        return TaskResult.ok(f"{found['mode']} vacuum freed {freed:.1f} MiB, {left:.1f} MiB are left", **found)
