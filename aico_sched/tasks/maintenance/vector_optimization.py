"""Keeps the index of AICO's vector memory small and exact: measures each collection, and rebuilds what needs it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field

from aico_sched.data.chroma import PAGE
from aico_sched.data.source import NothingThere
from aico_sched.tasks.base import BaseTask, TaskResult, TransientError
from aico_sched.tasks.context import TaskContext
from aico_sched.tasks.vectors import IN_QUIET_HOURS, vectors
from aico_sched.topics.commands import Environment
from aico_sched.worker.worker import Worker

WORSE = 0.01
"""A rebuilt index may find so much less than the old one and still count as no worse: recall is a sample's."""

Found = dict[str, Any]


class VectorOptimization(BaseTask):
    """Rebuilds vector indexes that are fragmented or have lost recall, and compacts the vector database."""

    name = "maintenance.vector_optimization"
    default_schedule = "0 4 * * 0"
    environment: ClassVar[Environment] = "loop"
    default_options: ClassVar[Mapping[str, Any]] = {**IN_QUIET_HOURS, "timeout": 3_600}

    class Config(BaseModel):
        model_config = ConfigDict(frozen=True, extra="forbid")

        path: Path | None = Field(default=None, description="the ChromaDB folder; AICO's own if absent")
        max_fragmentation: float = Field(default=0.3, ge=0, le=1, description="dead share of an index that is rebuilt")
        min_recall: float = Field(default=0.9, ge=0, le=1, description="an index that finds less is rebuilt")
        sample: int = Field(default=100, ge=1, le=10_000, description="queries by which recall is measured")
        neighbours: int = Field(default=10, ge=1, le=100, description="neighbours each of these asks for")
        vacuum: bool = True
        dry_run: bool = Field(default=False, description="measure only")

    async def execute(self, context: TaskContext[Config]) -> TaskResult:
        """Cancelled or killed at any point it leaves every collection whole, and the next run goes on from there.
        While it runs nobody else may use the folder: it refuses to start if somebody does."""
        try:
            async with vectors("aico_sched.tasks.maintenance.vector_index:VectorIndex", context.config.path) as worker:
                return await self._optimise(context, worker)
        except NothingThere as error:
            return TaskResult.skip(str(error))

    async def _optimise(self, context: TaskContext[Config], worker: Worker) -> TaskResult:
        config = context.config
        mended = [] if config.dry_run else await worker.call("recover")
        collections = await worker.call("survey")
        for number, one in enumerate(collections):
            await context.progress(number / (len(collections) + 1), f"measuring {one['name']}")
            await self._measure_and_rebuild(context, worker, one)
            await context.checkpoint()
        data: Found = {"dry_run": config.dry_run, "mended": mended, "collections": collections}
        if config.vacuum and not config.dry_run:
            await context.progress(None, "compacting the database")
            data["vacuum"] = await worker.call("vacuum")
        rebuilt = sum(one.get("rebuilt", False) for one in collections)
        wanted = sum(bool(one["reasons"]) for one in collections)
        verb = f"would rebuild {wanted}" if config.dry_run else f"rebuilt {rebuilt}"
        await context.progress(1.0, verb)
        return TaskResult.ok(f"{verb} of {len(collections)} collections", **data)

    async def _measure_and_rebuild(self, context: TaskContext[Config], worker: Worker, one: Found) -> None:
        config, name = context.config, one["name"]
        one["recall_before"] = await self._recall(context, worker, name)
        low = one["recall_before"] is not None and one["recall_before"] < config.min_recall
        one["reasons"] = [
            reason
            for reason, holds in (
                ("fragmentation", one["fragmentation"] > config.max_fragmentation),
                ("recall", low),
                ("unfinished", one.pop("half_copied")),
            )
            if holds
        ]
        if not one["reasons"] or config.dry_run:
            return
        await self._copy(context, worker, one, thorough=low)
        one["recall_after"] = await self._recall(context, worker, await worker.call("copy_of", name=name))
        if one["recall_before"] is not None and (one["recall_after"] or 0.0) < one["recall_before"] - WORSE:
            # The old index was the better one.
            await worker.call("drop_copy", name=name)
            one["rebuilt"], one["kept_because"] = False, "the rebuilt index found less"
            return
        await worker.call("swap", name=name)
        one["rebuilt"] = True

    async def _copy(self, context: TaskContext[Config], worker: Worker, one: Found, *, thorough: bool) -> None:
        """Copy, then go over the copy until a whole pass finds nothing that differs."""
        name, changed, passes = one["name"], 1, 0
        while changed:
            if passes > 3:
                raise TransientError(f"{name} is being changed by somebody; it is left as it was")
            changed = 0
            for offset in range(0, max(1, one["count"]), PAGE):
                done = await worker.call("copy", name=name, offset=offset, thorough=thorough)
                changed += done["changed"]
                what = "copied" if passes == 0 else "checked"
                await context.progress(None, f"{name}: {what} {offset + done['rows']} of {one['count']}")
                await context.checkpoint()
            changed += await worker.call("prune", name=name)
            passes += 1

    async def _recall(self, context: TaskContext[Config], worker: Worker, name: str) -> float | None:
        config = context.config
        found: float | None = await worker.call(
            "recall", name=name, sample=config.sample, k=config.neighbours, seed=len(name)
        )
        return found
