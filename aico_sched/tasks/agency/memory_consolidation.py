"""Consolidates AICO's memories: what is said twice becomes one, what matters is promoted, what faded is archived."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from aico_sched.data.chroma import INTERNAL
from aico_sched.data.source import NothingThere
from aico_sched.tasks.agency.extra import missing
from aico_sched.tasks.base import BaseTask, TaskResult
from aico_sched.tasks.context import TaskContext
from aico_sched.tasks.vectors import IN_QUIET_HOURS, vectors
from aico_sched.topics.commands import Environment
from aico_sched.worker.worker import Worker

BATCH = 20
"""Merges, promotions or archivings of one step."""

Collection = Annotated[str, Field(min_length=3, max_length=512, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*[A-Za-z0-9]$")]
"""What ChromaDB takes for the name of a collection."""


class MemoryConsolidation(BaseTask):
    """Merges memories that say the same, promotes important ones, and archives those that have faded."""

    name = "agency.memory_consolidation"
    default_schedule = "30 2 * * *"
    environment: ClassVar[Environment] = "loop"
    default_options: ClassVar[Mapping[str, Any]] = {**IN_QUIET_HOURS, "timeout": 1_800}

    class Config(BaseModel):
        model_config = ConfigDict(frozen=True, extra="forbid")

        path: Path | None = Field(default=None, description="the ChromaDB folder; AICO's own if absent")
        working: Collection = Field(default="working_memory", description="the collection that is consolidated")
        long_term: Collection = Field(default="long_term_memory", description="where important memories go")
        archive: Collection = Field(default="memory_archive", description="where merged and faded ones are kept")
        similarity: float = Field(default=0.95, ge=0.5, le=1, description="cosine from which memories may be one")
        promote_from: float = Field(default=0.75, ge=0, le=1, description="importance that is kept for long")
        forget_below: float = Field(default=0.05, ge=0, le=1, description="what is left of it when it is archived")
        half_life_days: float = Field(default=14, gt=0, description="of a memory that is not used")
        same_keys: tuple[str, ...] = Field(default=("user_uuid",), description="metadata that must be equal to merge")
        max_items: int = Field(default=5_000, ge=1, le=20_000, description="memories looked at in one run")
        dry_run: bool = Field(default=False, description="tell what would be done, change nothing")

        @model_validator(mode="after")
        def _three_places(self) -> Self:
            names = [self.working, self.long_term, self.archive]
            if len(set(names)) < len(names):
                raise ValueError("working, long_term and archive must be three collections: what is moved is deleted")
            if any(name.startswith(INTERNAL) for name in names):
                raise ValueError(f"collections that begin with {INTERNAL} are not kept")
            return self

    async def execute(self, context: TaskContext[Config]) -> TaskResult:
        """A memory is deleted only after its copy was read back. Cancelled or killed anywhere, and run again, it
        loses nothing and counts nothing twice. Metadata used: `importance` (0 to 1), `access_count`, `last_accessed`
        or `timestamp` (RFC 3339), and `same_keys`."""
        config = context.config
        if (absent := missing()) is not None:
            return absent
        rules = config.model_dump(include={"similarity", "promote_from", "forget_below", "half_life_days", "same_keys"})
        arguments = {
            "working": config.working,
            "long_term": config.long_term,
            "archive": config.archive,
            "rules": rules,
            "now": context.now().isoformat(),
        }
        try:
            factory = "aico_sched.tasks.agency.memory_vectors:MemoryVectors"
            async with vectors(factory, config.path, **arguments) as worker:
                return await self._consolidate(context, worker)
        except NothingThere as error:
            return TaskResult.skip(str(error))

    async def _consolidate(self, context: TaskContext[Config], worker: Worker) -> TaskResult:
        await context.progress(None, "looking for clusters")
        plan = await worker.call("plan", limit=context.config.max_items)
        wanted = {step: sum(len(group) - 1 for group in plan[step]) if step == "merge" else len(plan[step])
                  for step in ("merge", "promote", "archive")}  # fmt: skip
        data = {"memories": plan["count"], "clusters": plan["clusters"], "dry_run": context.config.dry_run}
        if context.config.dry_run:
            examples = {"merge_groups": plan["merge"][:20]}
            return TaskResult.ok(_sentence("would have", wanted), **data, **wanted, **examples)
        done = dict.fromkeys(wanted, 0)
        total, passed = max(1, sum(len(plan[step]) for step in wanted)), 0
        for step, count in wanted.items():
            for start in range(0, len(plan[step]), BATCH):
                batch = plan[step][start : start + BATCH]
                done[step] += await worker.call(step, **{"groups" if step == "merge" else "ids": batch})
                passed += len(batch)
                await context.progress(passed / total, f"{step}: {done[step]} of {count}")
                await context.checkpoint()
        return TaskResult.ok(_sentence("", done), **data, **done)


def _sentence(verb: str, counts: dict[str, int]) -> str:
    words = f"{counts['merge']} merged, {counts['promote']} promoted, {counts['archive']} archived"
    return f"{verb} {words}".strip()
