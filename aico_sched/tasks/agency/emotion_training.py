"""Trains the emotion classifier on what the user confirmed, and puts a new version into use only if it is better."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field

from aico_sched.data.source import NothingThere, Table
from aico_sched.tasks.agency.extra import missing
from aico_sched.tasks.base import BaseTask, TaskResult, TransientError
from aico_sched.tasks.context import TaskContext
from aico_sched.tasks.vectors import IN_QUIET_HOURS
from aico_sched.topics.commands import Environment
from aico_sched.worker.worker import Worker, WorkerFailed

PAGE = 500
PROMOTED = "agency.emotion.promoted"
"""Published when another version is in use: `{version, folder, score}`."""


class EmotionTraining(BaseTask):
    """Trains the emotion classifier on labelled features and promotes it only if it beats the one in use."""

    name = "agency.emotion_training"
    default_schedule = "0 3 * * 6"
    environment: ClassVar[Environment] = "loop"
    default_options: ClassVar[Mapping[str, Any]] = {**IN_QUIET_HOURS, "timeout": 3_600}

    class Config(BaseModel):
        model_config = ConfigDict(frozen=True, extra="forbid")

        table: str = Field(
            default="emotion_samples",
            description="columns id, label, and face, voice, text: JSON lists of numbers, or NULL where there are none",
        )
        min_samples: int = Field(default=100, ge=20, description="fewer are not learned from")
        min_gain: float = Field(default=0.005, ge=0, le=1, description="mean recall by which a new version is better")
        max_samples: int = Field(default=100_000, ge=20, description="only the first so many are used")
        keep_versions: int = Field(
            default=5, ge=1, le=1_000, description="newest versions, and such before the one in use; others go"
        )
        rollback: bool = Field(default=False, description="train nothing, use the version before the present one again")
        dry_run: bool = Field(default=False, description="train and measure, keep nothing in use")

    async def execute(self, context: TaskContext[Config]) -> TaskResult:
        """Versions stand in the task's folder, `models/`; `emotion_model.EmotionModel.current` reads the one in use. A
        run that is cut short leaves at most a version that is not in use."""
        config = context.config
        if (absent := missing()) is not None:
            return absent
        folder = context.data_dir / "models"
        folder.mkdir(mode=0o700, exist_ok=True)
        if config.rollback:
            return await (_would_roll_back(context, folder) if config.dry_run else _rolled_back(context, folder))
        try:
            async with Worker.open("aico_sched.tasks.agency.emotion_model:Trainer", folder=str(folder)) as worker:
                await _feed(context, worker)
                await context.progress(None, "training")
                found = await worker.call("train", min_samples=config.min_samples)
        except NothingThere as error:
            return TaskResult.skip(f"{error}; see `table`")
        except WorkerFailed as error:
            raise TransientError(str(error)) from error
        if "reason" in found:
            return TaskResult.skip(found["reason"])
        _tell_damage(context, folder, found["damaged"])
        return await _judged(context, folder, found)


def _tell_damage(context: TaskContext[EmotionTraining.Config], folder: Path, names: list[str]) -> None:
    """Nobody can use a version whose files cannot be read, so it counts as none."""
    for name in names:
        context.log.warning("emotion_model_damaged", file=str(folder / name))


async def _feed(context: TaskContext[EmotionTraining.Config], worker: Worker) -> None:
    config = context.config
    table = Table(config.table, {"label": "TEXT", "face": "TEXT", "voice": "TEXT", "text": "TEXT"})
    after, count = 0, 0
    async with context.data() as data:
        while count < config.max_samples and (rows := await data.page(table, after, PAGE)):
            after = rows[-1]["id"]
            count += len(rows)
            await worker.call("add", rows=rows)
            await context.progress(None, f"{count} samples")
            await context.checkpoint()


async def _judged(context: TaskContext[EmotionTraining.Config], folder: Path, found: dict[str, Any]) -> TaskResult:
    from aico_sched.tasks.agency import emotion_model  # noqa: PLC0415

    in_use = max(found["baseline"], found["current"] or 0.0)
    better = found["score"] >= in_use + context.config.min_gain
    scores = f"{found['score']:.3f} on held-out samples; in use {found['current'] or 0:.3f}, always the most frequent "
    scores += f"{found['baseline']:.3f}"
    if found["damaged"]:
        scores += f"; of the one in use {found['damaged'][0]} is damaged, so it counts as none"
    if not context.config.dry_run and not better:
        found["removed"] = emotion_model.tidy(folder, context.config.keep_versions)
    if not better or context.config.dry_run:
        verb = "would be promoted" if better else "is not better and not used"
        return TaskResult.ok(f"version {found['version']} {verb}: {scores}", promoted=False, **found)
    emotion_model.promote(folder, found["version"])
    found["removed"] = emotion_model.tidy(folder, context.config.keep_versions)
    told = {"version": found["version"], "folder": str(folder), "score": found["score"]}
    await context.publish(PROMOTED, told)
    await context.progress(1.0, f"version {found['version']} is in use")
    return TaskResult.ok(f"version {found['version']} is in use: {scores}", promoted=True, **found)


async def _would_roll_back(context: TaskContext[EmotionTraining.Config], folder: Path) -> TaskResult:
    from aico_sched.tasks.agency import emotion_model  # noqa: PLC0415

    version = emotion_model.previous_version(folder)
    if version is None:
        return _nowhere_to_go(context, folder)
    return TaskResult.ok(f"version {version} would be in use again", version=version, dry_run=True)


async def _rolled_back(context: TaskContext[EmotionTraining.Config], folder: Path) -> TaskResult:
    from aico_sched.tasks.agency import emotion_model  # noqa: PLC0415

    version = emotion_model.roll_back(folder)
    if version is None:
        return _nowhere_to_go(context, folder)
    await context.publish(PROMOTED, {"version": version, "folder": str(folder), "score": None})
    return TaskResult.ok(f"version {version} is in use again", version=version)


def _nowhere_to_go(context: TaskContext[EmotionTraining.Config], folder: Path) -> TaskResult:
    from aico_sched.tasks.agency import emotion_model  # noqa: PLC0415

    names = emotion_model.damaged(folder)
    if not names:
        return TaskResult.skip("there is no version before the present one")
    _tell_damage(context, folder, names)
    return TaskResult.failed(f"which version was before is not known: {folder / names[0]} is damaged", damaged=names)
