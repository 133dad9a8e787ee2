"""Gives the clients of the bus new keys, and the database too where that is wanted. The service does it; no key comes
here."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field

from aico_sched.tasks.base import BaseTask, TaskResult
from aico_sched.tasks.context import TaskContext

DAY = 86_400.0
_BACKUP = "before-rekey-{:%Y%m%dT%H%M%SZ}-{}-{}.db"
_BACKUPS = "before-rekey-*.db"
_PARTIAL = "before-rekey-*.db.partial*"


class KeyRotation(BaseTask):
    """Gives each client of the bus a new key, the old ones counting for a while yet; on request the database too."""

    name = "security.key_rotation"
    default_schedule = "0 1 1 * *"
    default_options: ClassVar[Mapping[str, Any]] = {"timeout": 3_600}

    class Config(BaseModel):
        model_config = ConfigDict(frozen=True, extra="forbid")

        rotate_session_keys: bool = Field(default=True, description="the keys of the clients of the bus")
        rotate_database_keys: bool = Field(default=False, description="the database's key, after a verified backup")
        overlap_days: float | None = Field(
            default=None, ge=0, le=365, description="old keys are accepted so long; null: bus.key_overlap"
        )
        keep_keys: tuple[str, ...] = Field(default=(), description="clients whose keys stay, such as on other machines")
        keep_backups: int = Field(default=3, ge=1, le=1_000, description="backups of before a rekey; older ones go")
        dry_run: bool = Field(default=False, description="tell what would be rotated, change nothing")

    async def execute(self, context: TaskContext[Config]) -> TaskResult:
        """May be cut short anywhere: every key is then the old or the new one, and both are accepted. A retry leaves
        alone what this run's slot has rotated before."""
        config = context.config
        data: dict[str, Any] = {"dry_run": config.dry_run, "rotated": []}
        words = []
        if config.rotate_session_keys:
            words.append(await _session_keys(context, data))
        if config.rotate_database_keys:
            words.append(await _database_key(context, data))
        if not any(words):
            return TaskResult.skip("there is nothing to rotate here", **data)
        await context.progress(1.0, "done")
        return TaskResult.ok("; ".join(filter(None, words)), **data)


async def _session_keys(context: TaskContext[KeyRotation.Config], data: dict[str, Any]) -> str:
    """Rotate them one by one, and say so; empty where the bus has none of its own."""
    config, keys = context.config, context.session_keys()
    if keys is None:
        return ""
    slot = context.scheduled_for.timestamp()
    # Seconds in the files are whole ones.
    wanted = [key for key in await keys.current() if key.name not in config.keep_keys and key.created < int(slot)]
    now = context.now().timestamp()
    data["ages_days"] = {key.name: round((now - key.created) / DAY, 1) for key in wanted}
    if config.dry_run:
        return f"would rotate the keys of {len(wanted)} clients"
    share = 0.5 if config.rotate_database_keys else 1.0
    overlap = None if config.overlap_days is None else config.overlap_days * DAY
    for number, key in enumerate(wanted):
        await context.progress(share * number / len(wanted), f"a new key for {key.name}")
        await context.checkpoint()
        if await keys.rotate(key.name, overlap):
            data["rotated"].append(key.name)
    return f"rotated the keys of {len(data['rotated'])} clients"


async def _database_key(context: TaskContext[KeyRotation.Config], data: dict[str, Any]) -> str:
    config = context.config
    if config.dry_run:
        return "would give the database a new key"
    folder = context.data_dir
    name = _BACKUP.format(context.now(), context.execution_id[-8:], context.attempt)
    await context.progress(0.5, "a verified backup, then a new key for the database")
    await context.checkpoint()
    _remove(list(folder.glob(_PARTIAL)))
    found = await context.maintain("rekey", backup=str(folder / name))
    data["database"] = {"backup": str(folder / name), **found}
    _remove(sorted(folder.glob(_BACKUPS))[: -config.keep_backups])
    return f"the database has a new key; {name} was made before"


def _remove(paths: list[Path]) -> None:
    for path in paths:
        path.unlink(missing_ok=True)
