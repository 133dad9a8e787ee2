"""Measures whether the service can work: disk, data folder, bus, database, memory, clock, keys, and what hangs. It
reports only what it measured."""

import json
import shutil
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from time import perf_counter
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from aico_sched.host import PsutilSampler
from aico_sched.tasks.base import BaseTask, TaskResult
from aico_sched.tasks.context import TaskContext
from aico_sched.tasks.powers import NotPermitted

PROBE_TOPIC = "maintenance.health.probe"
"""The probe a health check publishes: `{execution_id, sent_at}`."""

MEGABYTE = 1024 * 1024
DAY = 86_400.0

_STATE = "state.json"
_WRITE = "INSERT OR REPLACE INTO scheduler_meta (key, value) VALUES ('health_probe', ?)"
_READ = "SELECT value FROM scheduler_meta WHERE key = 'health_probe'"
_RUNNING = (
    "SELECT e.execution_id, e.task_id, e.started_at, json_extract(t.options, '$.timeout') AS timeout "
    "FROM task_executions e JOIN scheduled_tasks t USING (task_id) "
    "WHERE e.status IN ('queued', 'running', 'retrying') AND e.status = 'running' AND e.started_at < ? LIMIT 100"
)

Check = dict[str, Any]
"""What one check found: `measured`; if so `ok`, and its figures; `error` where it is not ok."""


class HealthCheck(BaseTask):
    """Checks disk, data folder, bus, database, memory, clock, keys and hanging runs, and alerts of what is not well."""

    name = "maintenance.health_check"
    default_schedule = "*/5 * * * *"

    class Config(BaseModel):
        model_config = ConfigDict(frozen=True, extra="forbid")

        check_database: bool = Field(default=True, description="a write and a read, and runs that hang")
        check_message_bus: bool = True
        check_disk_space: bool = Field(default=True, description="free space, and writing to the data folder")
        check_memory: bool = True
        check_clock: bool = Field(default=True, description="the wall clock against the monotonic one")
        check_keys: bool = Field(default=True, description="how old the keys are")
        min_free_mb: int = Field(default=500, ge=0, description="less free space than this is a failure, in MiB")
        max_memory_percent: float = Field(default=95, gt=0, le=100, description="more than this in use is a warning")
        max_clock_skew: float = Field(default=5, gt=0, description="seconds between two checks that only one clock saw")
        max_key_age_days: float = Field(default=365, gt=0, description="older keys are a warning")
        stuck_after: float = Field(default=600, gt=0, description="seconds over its timeout after which a run hangs")

    async def execute(self, context: TaskContext[Config]) -> TaskResult:
        """The result's `checks` maps each check that is switched on to what was measured. A check that could not be
        measured here is neither good nor bad. Something critical fails the run, a warning does not; both raise an
        alert, and there is word when it is well again."""
        config = context.config
        wanted: list[tuple[bool, str, str, Callable[[TaskContext[HealthCheck.Config]], Awaitable[Check]]]] = [
            (config.check_disk_space, "disk_space", "critical", _disk_space),
            (config.check_disk_space, "data_folder", "critical", _data_folder),
            (config.check_message_bus, "message_bus", "critical", _message_bus),
            (config.check_database, "database", "critical", _database),
            (config.check_database, "stuck_executions", "warning", _stuck_executions),
            (config.check_memory, "memory", "warning", _memory),
            (config.check_clock, "clock", "warning", _clock),
            (config.check_keys, "keys", "warning", _keys),
        ]
        checks: dict[str, Check] = {}
        severity = {name: level for _, name, level, _ in wanted}
        for on, name, _, check in wanted:
            if on:
                checks[name] = await _measured(check, context)
                await context.checkpoint()
        bad = {
            name: str(check.get("error", "not well"))
            for name, check in checks.items()
            if check["measured"] and not check["ok"]
        }
        _tell(context, checks, bad, severity)
        words = "; ".join(f"{name}: {error}" for name, error in bad.items())
        if any(severity[name] == "critical" for name in bad):
            return TaskResult.failed(words, checks=checks)
        measured = [name for name, check in checks.items() if check["measured"]]
        return TaskResult.ok(words or f"measured {', '.join(measured) or 'nothing'}", checks=checks)


def _tell(
    context: TaskContext[HealthCheck.Config], checks: dict[str, Check], bad: dict[str, str], severity: dict[str, str]
) -> None:
    """Alert of what is not well, and of what is well again."""
    before = _state(context).get("bad", [])
    for name, error in bad.items():
        context.alert(name, severity[name], f"{name}: {error}", checks[name])
    # A check that could not be made this time says nothing about the trouble there was.
    over = [name for name in before if checks.get(name, {}).get("measured") and name not in bad]
    for name in over:
        context.alert(name, "info", f"{name} is well again", resolved=True)
    still = [name for name in before if name not in over and name not in bad]
    if before or bad:
        _remember(context, bad=sorted({*bad, *still}))


def _state(context: TaskContext[HealthCheck.Config]) -> dict[str, Any]:
    """What the check before left; empty if there was none, or its note is damaged."""
    try:
        found = json.loads((context.data_dir / _STATE).read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _remember(context: TaskContext[HealthCheck.Config], **values: Any) -> None:
    try:
        path = context.data_dir / _STATE
        temporary = path.with_suffix(".new")
        temporary.write_text(json.dumps(_state(context) | values))
        temporary.replace(path)
    except OSError as error:
        context.log.warning("health_state_not_kept", error=str(error))


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
    """Writes a row through the store, durable, and reads it back from another process."""
    found = await context.probe_database()
    if found is not None:
        return {"measured": True, "ok": True, **found}
    start = perf_counter()
    try:
        await context.execute(_WRITE, [context.execution_id])
        written = perf_counter()
        rows = await context.query(_READ)
    except NotPermitted:
        return {"measured": False}
    same = bool(rows) and rows[0]["value"] == context.execution_id
    check: Check = {
        "measured": True,
        "ok": same,
        "write_seconds": written - start,
        "read_seconds": perf_counter() - written,
    }
    return check if same else check | {"error": "a row read back differs from what was written"}


async def _stuck_executions(context: TaskContext[HealthCheck.Config]) -> Check:
    """Runs that go on longer than their timeout allows, and so long beyond it that nothing will end them."""
    now, grace = context.now(), context.config.stuck_after
    try:
        rows = await context.query(_RUNNING, [_stamp(now.timestamp() - grace)])
    except NotPermitted:
        return {"measured": False}
    stuck = [row for row in rows if _stamp(now.timestamp() - grace - float(row["timeout"] or 300)) > row["started_at"]]
    found: Check = {"measured": True, "ok": not stuck, "stuck": [row["execution_id"] for row in stuck[:20]]}
    return found if not stuck else found | {"error": f"{len(stuck)} runs hang, {stuck[0]['task_id']} among them"}


def _stamp(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))


async def _memory(context: TaskContext[HealthCheck.Config]) -> Check:
    """Of the machine, or of the container if that is closer to its limit."""
    used, limit = PsutilSampler().sample().memory_percent, context.config.max_memory_percent
    found: Check = {"measured": True, "ok": used <= limit, "used_percent": used}
    return found if used <= limit else found | {"error": f"{used:.0f} % in use, at most {limit:g} % wanted"}


async def _clock(context: TaskContext[HealthCheck.Config]) -> Check:
    """How far the wall clock has gone since the check before, against the monotonic one. A machine that slept or was
    started anew, and a clock that was set, show as skew once."""
    wall, steady = context.now().timestamp(), context.monotonic()
    before = _state(context).get("clock")
    _remember(context, clock=[wall, steady])
    if not before or steady < before[1]:
        return {"measured": False}
    skew = (wall - before[0]) - (steady - before[1])
    ok = abs(skew) <= context.config.max_clock_skew
    found: Check = {"measured": True, "ok": ok, "skew_seconds": skew}
    return found if ok else found | {"error": f"the wall clock has moved {skew:+.1f} s against the monotonic clock"}


async def _keys(context: TaskContext[HealthCheck.Config]) -> Check:
    """The age of each key file in the service's data folder."""
    folder = context.data_dir.parent.parent / "keys"
    ages = {path: (time.time() - path.stat().st_mtime) / DAY for path in _key_files(folder)}
    if not ages:
        return {"measured": False}
    oldest = max(ages, key=lambda path: ages[path])
    ok = ages[oldest] <= context.config.max_key_age_days
    found: Check = {"measured": True, "ok": ok, "keys": len(ages), "oldest_days": round(ages[oldest], 1)}
    return found if ok else found | {"error": f"{oldest.name} is {ages[oldest]:.0f} days old; rotate it"}


def _key_files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and path.suffix in (".key", ".key_secret")]
