"""Measures whether the service can work: disk, data folder, bus, database, memory, clock, keys, and what hangs. It
reports only what it measured."""

import json
import shutil
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from pathlib import Path
from time import perf_counter
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field

from aico_sched.host import PsutilSampler
from aico_sched.tasks.base import BaseTask, TaskResult
from aico_sched.tasks.context import TaskContext
from aico_sched.tasks.powers import NoDatabase, NotPermitted

MEGABYTE = 1024 * 1024
DAY = 86_400.0

_STATE = "state.json"
_KEYS_NAMED = 20
_WRITE = "INSERT OR REPLACE INTO scheduler_meta (key, value) VALUES ('health_probe', ?)"
_READ = "SELECT value FROM scheduler_meta WHERE key = 'health_probe'"
_RUNNING = (
    "SELECT e.execution_id, e.task_id, e.started_at, json_extract(t.options, '$.timeout') AS timeout "
    "FROM task_executions e JOIN scheduled_tasks t USING (task_id) "
    "WHERE e.status IN ('queued', 'running', 'retrying') AND e.status = 'running' AND e.started_at < ? "
    "ORDER BY e.started_at LIMIT 100"
)

Check = dict[str, Any]
"""What one check found: `measured`; if so `ok`, and its figures; `error` where it is not ok, and `severity` where that
is not the check's usual one."""


class HealthCheck(BaseTask):
    """Checks disk, data folder, bus, database, memory, clock, keys and hanging runs, and alerts of what is not well."""

    name = "maintenance.health_check"
    default_schedule = "*/5 * * * *"
    # The next check comes sooner than a retry is of use, and must not be kept waiting by it.
    default_options: ClassVar[Mapping[str, Any]] = {"retry": {"max_attempts": 1}}

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
        bus_timeout: float = Field(default=5, gt=0, le=60, description="seconds in which a message must come back")
        max_bus_seconds: float = Field(default=1, gt=0, description="a message that takes longer is a warning")
        dry_run: bool = Field(default=False, description="only read: nothing is written, sent, alerted or remembered")

    async def execute(self, context: TaskContext[Config]) -> TaskResult:
        """The result's `checks` maps each check that is switched on to what was measured. A check that could not be
        measured here is neither good nor bad. Both raise an alert, something critical and a warning, and there is word
        when it is well again. Something critical fails the run, but for a scheduled run that finds only what the one
        before has found: trouble that lasts for a night is one dead letter, not a hundred."""
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
        for number, (on, name, _, check) in enumerate(wanted, 1):
            if on:
                checks[name] = await _measured(check, context)
                severity[name] = checks[name].get("severity", severity[name])
                await context.progress(number / len(wanted), name)
                await context.checkpoint()
        bad = {
            name: str(check.get("error", "not well"))
            for name, check in checks.items()
            if check["measured"] and not check["ok"]
        }
        critical = [name for name in bad if severity[name] == "critical"]
        known = _state(context).get("critical", []) if context.trigger == "schedule" else []
        if not config.dry_run:
            _tell(context, checks, bad, severity)
            _remember(context, critical=critical)
        words = "; ".join(f"{name}: {error}" for name, error in bad.items())
        if any(name not in known for name in critical):
            return TaskResult.failed(words, checks=checks)
        measured = [name for name, check in checks.items() if check["measured"]]
        return TaskResult.ok(words or f"measured {', '.join(measured) or 'nothing'}", checks=checks)


def _tell(
    context: TaskContext[HealthCheck.Config], checks: dict[str, Check], bad: dict[str, str], severity: dict[str, str]
) -> None:
    """Alert of what is not well, and of what is well again."""
    # Nobody knows what was said before the note was lost: all that is well may have been told to be not. Of what was
    # never raised no end is published.
    before = _state(context).get("bad", list(checks))
    for name, error in bad.items():
        context.alert(name, severity[name], f"{name}: {error}", checks[name])
    # A check that could not be made this time says nothing about the trouble there was.
    over = [name for name in before if checks.get(name, {}).get("measured") and name not in bad]
    for name in over:
        context.alert(name, "info", f"{name} is well again", resolved=True)
    still = [name for name in before if name not in over and name not in bad]
    _remember(context, bad=sorted({*bad, *still}))


def _state(context: TaskContext[HealthCheck.Config]) -> dict[str, Any]:
    """What the check before left; empty if there was none, or its note is damaged."""
    try:
        found = json.loads((context.data_dir / _STATE).read_text())
    except (OSError, ValueError):
        return {}
    lists = isinstance(found, dict) and all(isinstance(found.get(key, []), list) for key in ("bad", "critical"))
    return found if lists else {}


def _remember(context: TaskContext[HealthCheck.Config], **values: Any) -> None:
    try:
        path = context.data_dir / _STATE
        temporary = path.with_suffix(".new")
        temporary.write_text(json.dumps(_state(context) | values))
        temporary.replace(path)
    except OSError as error:
        context.log.warning("health_state_not_kept", error=str(error))
        with suppress(OSError):
            # A full disk allows that. An old note would keep the end of what was alerted of just now from being told.
            (context.data_dir / _STATE).unlink(missing_ok=True)


async def _measured(
    check: Callable[[TaskContext[HealthCheck.Config]], Awaitable[Check]], context: TaskContext[HealthCheck.Config]
) -> Check:
    try:
        return await check(context)
    except (NotPermitted, NoDatabase):
        return {"measured": False}
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
    if context.config.dry_run:
        return {"measured": False}
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
    """Sends the service a message over the bus, and waits for it to come back."""
    config = context.config
    try:
        seconds = None if config.dry_run else await context.probe_bus(config.bus_timeout)
    except TimeoutError:
        error = f"a message of the service to itself has not come back within {config.bus_timeout:g} s"
        return {"measured": True, "ok": False, "error": error}
    if seconds is None:
        return {"measured": False}
    found: Check = {"measured": True, "ok": seconds <= config.max_bus_seconds, "round_trip_seconds": seconds}
    if not found["ok"]:
        found |= {"severity": "warning", "error": f"a message took {seconds:.2f} s, {config.max_bus_seconds:g} at most"}
    return found


async def _database(context: TaskContext[HealthCheck.Config]) -> Check:
    """Writes a row through the store, durable, and reads it back from another process."""
    if context.config.dry_run:
        return await _database_read(context)
    found = await context.probe_database()
    if found is not None:
        return {"measured": True, "ok": True, **found}
    start = perf_counter()
    await context.execute(_WRITE, [context.execution_id])
    written = perf_counter()
    rows = await context.query(_READ)
    same = bool(rows) and rows[0]["value"] == context.execution_id
    check: Check = {
        "measured": True,
        "ok": same,
        "write_seconds": written - start,
        "read_seconds": perf_counter() - written,
    }
    return check if same else check | {"error": "a row read back differs from what was written"}


async def _database_read(context: TaskContext[HealthCheck.Config]) -> Check:
    start = perf_counter()
    await context.query(_READ)
    return {"measured": True, "ok": True, "read_seconds": perf_counter() - start}


async def _stuck_executions(context: TaskContext[HealthCheck.Config]) -> Check:
    """Runs that go on longer than their timeout allows, and so long beyond it that nothing will end them. The service
    knows how long its own have run, pauses left out; of a run it does not know only the record tells."""
    now, grace = context.now(), context.config.stuck_after
    rows = await context.query(_RUNNING, [_stamp(now.timestamp() - grace)])
    latest, usual = now.timestamp() - grace, context.default_timeout
    here = context.overdue()
    stuck = [
        row
        for row in rows
        if here.get(row["execution_id"], grace) >= grace
        and _stamp(latest - float(row["timeout"] or usual)) > row["started_at"]
    ]
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
    if not context.config.dry_run:
        _remember(context, clock=[wall, steady])
    if not before or steady < before[1]:
        return {"measured": False}
    skew = (wall - before[0]) - (steady - before[1])
    ok = abs(skew) <= context.config.max_clock_skew
    found: Check = {"measured": True, "ok": ok, "skew_seconds": skew}
    return found if ok else found | {"error": f"the wall clock has moved {skew:+.1f} s against the monotonic clock"}


async def _keys(context: TaskContext[HealthCheck.Config]) -> Check:
    """The age of each key file in the service's data folder."""
    ages = _key_ages(context.data_dir.parent.parent / "keys", time.time())
    if not ages:
        return {"measured": False}
    oldest = max(ages, key=lambda name: ages[name])
    ok = ages[oldest] <= context.config.max_key_age_days
    found: Check = {"measured": True, "ok": ok, "keys": len(ages), "oldest_days": ages[oldest]}
    by_age = sorted(ages, key=lambda name: -ages[name])
    found["age_days"] = {name: ages[name] for name in by_age[:_KEYS_NAMED]}
    return found if ok else found | {"error": f"{oldest} is {ages[oldest]:.0f} days old; rotate it"}


_OUT_OF_USE = frozenset({"retired", "revoked", "superseded", "staged"})
"""Folders of keys that are kept for old backups, to refuse them, or for a while yet."""


def _key_ages(folder: Path, now: float) -> dict[str, float]:
    """Days since each key file was written, by its path below `folder`; of those that are in use."""
    ages = {}
    for path in folder.rglob("*"):
        if not _OUT_OF_USE.isdisjoint(path.relative_to(folder).parts[:-1]):
            continue
        # One that a rotation takes away meanwhile is no key any more.
        with suppress(FileNotFoundError):
            if path.suffix in (".key", ".key_secret") and path.is_file():
                ages[str(path.relative_to(folder))] = round((now - path.stat().st_mtime) / DAY, 1)
    return ages
