"""Measures whether the service can work: disk, data folder, bus and database. It reports only what it measured."""

import shutil
from collections.abc import Awaitable, Callable
from time import perf_counter
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from aico_sched.tasks.base import BaseTask, TaskResult
from aico_sched.tasks.context import TaskContext

PROBE_TOPIC = "maintenance.health.probe"
"""The probe a health check publishes: `{execution_id, sent_at}`."""

MEGABYTE = 1024 * 1024

Check = dict[str, Any]
"""What one check found: `measured`; if so `ok`, and its figures; `error` where it is not ok."""


class HealthCheck(BaseTask):
    """Checks disk space, the data folder, the bus and the database, and fails when one of them is not well."""

    name = "maintenance.health_check"
    default_schedule = "*/5 * * * *"

    class Config(BaseModel):
        model_config = ConfigDict(frozen=True, extra="forbid")

        check_database: bool = True
        check_message_bus: bool = True
        check_disk_space: bool = Field(default=True, description="free space, and writing to the data folder")
        min_free_mb: int = Field(default=500, ge=0, description="less free space than this is a failure, in MiB")

    async def execute(self, context: TaskContext[Config]) -> TaskResult:
        """The result's `checks` maps each check that is switched on to what was measured. A check that could not be
        measured here is neither good nor bad."""
        config = context.config
        wanted: list[tuple[bool, str, Callable[[TaskContext[HealthCheck.Config]], Awaitable[Check]]]] = [
            (config.check_disk_space, "disk_space", _disk_space),
            (config.check_disk_space, "data_folder", _data_folder),
            (config.check_message_bus, "message_bus", _message_bus),
            (config.check_database, "database", _database),
        ]
        checks: dict[str, Check] = {}
        for on, name, check in wanted:
            if on:
                checks[name] = await _measured(check, context)
                await context.checkpoint()
        bad = [
            f"{name}: {check.get('error', 'not well')}"
            for name, check in checks.items()
            if check["measured"] and not check["ok"]
        ]
        if bad:
            return TaskResult.failed("; ".join(bad), checks=checks)
        measured = [name for name, check in checks.items() if check["measured"]]
        return TaskResult.ok(f"measured {', '.join(measured) or 'nothing'}", checks=checks)


async def _measured(
    check: Callable[[TaskContext[HealthCheck.Config]], Awaitable[Check]], context: TaskContext[HealthCheck.Config]
) -> Check:
    try:
        return await check(context)
    except Exception as error:
        return {"measured": True, "ok": False, "error": f"{type(error).__name__}: {error}"}


async def _disk_space(context: TaskContext[HealthCheck.Config]) -> Check:
    usage = shutil.disk_usage(context.data_dir)
    free, least = usage.free // MEGABYTE, context.config.min_free_mb
    found: Check = {"measured": True, "ok": free >= least, "free_mb": free, "total_mb": usage.total // MEGABYTE}
    if free < least:
        found["error"] = f"{free} MiB free, at least {least} wanted"
    return found


async def _data_folder(context: TaskContext[HealthCheck.Config]) -> Check:
    """Writes, reads back and removes a small file."""
    start = perf_counter()
    path, content = context.data_dir / f"probe-{context.execution_id}", context.execution_id.encode()
    try:
        path.write_bytes(content)
        same = path.read_bytes() == content
    finally:
        path.unlink(missing_ok=True)
    found: Check = {"measured": True, "ok": same, "seconds": perf_counter() - start}
    if not same:
        found["error"] = "a file read back differs from what was written"
    return found


async def _message_bus(context: TaskContext[HealthCheck.Config]) -> Check:
    """Hands a probe to the bus. That it arrives anywhere cannot be seen from here, so only this is claimed."""
    start = perf_counter()
    await context.publish(PROBE_TOPIC, {"execution_id": context.execution_id, "sent_at": context.now().isoformat()})
    return {"measured": True, "ok": True, "accepted_seconds": perf_counter() - start}


async def _database(context: TaskContext[HealthCheck.Config]) -> Check:
    found = await context.probe_database()
    return {"measured": False} if found is None else {"measured": True, "ok": True, **found}
