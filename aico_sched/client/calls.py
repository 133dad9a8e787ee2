"""Every command as a function from its arguments to the message to send. Both clients have these as methods."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Generic, Literal, NamedTuple, TypedDict, TypeVar, Unpack

from pydantic import JsonValue, ValidationError

from aico_sched.client.errors import from_validation, refusal
from aico_sched.topics import names, views
from aico_sched.topics.commands import (
    BlackoutAction,
    Delivery,
    Environment,
    MaxDeferAction,
    Misfire,
    Overlap,
    Payload,
    RetryPolicy,
    TaskLimits,
    written,
)
from aico_sched.topics.errors import ErrorCode
from aico_sched.topics.registry import COMMANDS

Result_co = TypeVar("Result_co", bound=Payload, covariant=True)


class Call(NamedTuple, Generic[Result_co]):
    """A validated command: `payload` is plain data, `result` the model of its answer."""

    topic: str
    payload: dict[str, Any]
    result: type[Result_co]


class Options(TypedDict, total=False):
    """The options of a task, as `topics.commands.TaskOptions` describes them. Durations are seconds."""

    description: str | None
    timezone: str | None
    catchup_window: float | None
    fixed_delay: bool
    misfire: Misfire
    overlap: Overlap
    jitter: float
    timeout: float | None
    retry: RetryPolicy | dict[str, Any] | None
    environment: Environment
    limits: TaskLimits | dict[str, Any] | None
    resources: dict[str, float] | None
    priority: int | None
    idle_only: bool | None
    low_activity: bool | None
    max_defer: float | None
    on_max_defer: MaxDeferAction
    blackout: list[str] | None
    on_blackout: BlackoutAction
    delivery: Delivery
    start_at: datetime | str | None
    end_at: datetime | str | None
    max_runs: int | None
    owner: str | None
    tags: list[str]


class Changes(Options, total=False):
    """What `update` may change: what is given changes, what is None goes back to its default."""

    schedule: str | None
    task_class: str | None
    config: dict[str, JsonValue] | None
    revision: int | None


def checked(topic: str, payload: Mapping[str, Any]) -> dict[str, Any]:
    """`payload` as plain data, only the fields that were given. Raises `InvalidMessage` as the service would."""
    command = COMMANDS.get(topic)
    if command is None:
        raise refusal(ErrorCode.INVALID_MESSAGE, f"{topic} is no command", {"field": "topic"})
    given = dict(payload)
    try:
        model = command.payload.model_validate(given)
    except ValidationError as error:
        raise from_validation(error) from error
    return written(model, given)


def _call(topic: str, result: type[Result_co], payload: Mapping[str, Any]) -> Call[Result_co]:
    return Call(topic, checked(topic, payload), result)


def _given(**fields: Any) -> dict[str, Any]:
    """Without what the caller left out."""
    return {name: value for name, value in fields.items() if value is not None}


def create(
    task_id: str,
    schedule: str,
    *,
    task_class: str | None = None,
    config: Mapping[str, JsonValue] | None = None,
    enabled: bool = True,
    **options: Unpack[Options],
) -> Call[views.TaskView]:
    """Create a task. `schedule` is cron, a @shortcut, interval:SECONDS or at:RFC3339; `task_class` is the class named
    like the task if absent. Raises `TaskExists`, `InvalidSchedule`, `UnknownTaskClass`, `PermissionDenied`."""
    own = _given(task_id=task_id, schedule=schedule, task_class=task_class, config=config and dict(config))
    return _call(names.TASK_CREATE, views.TaskView, {**own, "enabled": enabled, **options})


def update(task_id: str, **changes: Unpack[Changes]) -> Call[views.TaskView]:
    """Change the given fields of a task; None resets one. Raises `TaskNotFound`, `Conflict` (with `revision`)."""
    return _call(names.TASK_UPDATE, views.TaskView, {"task_id": task_id, **changes})


def delete(task_id: str, *, remove_code: bool = False) -> Call[views.TaskView]:
    """Remove a task; its history stays. Raises `TaskNotFound`, `ProtectedTask`."""
    return _call(names.TASK_DELETE, views.TaskView, {"task_id": task_id, "remove_code": remove_code})


def enable(task_id: str) -> Call[views.TaskView]:
    """Let a disabled task run again. Raises `TaskNotFound`."""
    return _call(names.TASK_ENABLE, views.TaskView, {"task_id": task_id})


def disable(task_id: str) -> Call[views.TaskView]:
    """Switch a task off. Raises `TaskNotFound`."""
    return _call(names.TASK_DISABLE, views.TaskView, {"task_id": task_id})


def pause(task_id: str, *, note: str | None = None) -> Call[views.TaskView]:
    """Hold a task for now, with a note. Raises `TaskNotFound`."""
    return _call(names.TASK_PAUSE, views.TaskView, _given(task_id=task_id, note=note))


def resume(task_id: str, *, note: str | None = None) -> Call[views.TaskView]:
    """Go on with a paused task. Raises `TaskNotFound`."""
    return _call(names.TASK_RESUME, views.TaskView, _given(task_id=task_id, note=note))


def trigger(task_id: str) -> Call[views.ExecutionStarted]:
    """Run a task now, beside its schedule. Raises `TaskNotFound`."""
    return _call(names.TASK_TRIGGER, views.ExecutionStarted, {"task_id": task_id})


def backfill(
    task_id: str, start: datetime | str, end: datetime | str, *, overlap: str = "queue", max_runs: int = 100
) -> Call[views.BackfillView]:
    """Run the slots from `start` to `end` (RFC 3339 or aware datetimes). Raises `TaskNotFound`."""
    payload = {"task_id": task_id, "start": start, "end": end, "overlap": overlap, "max_runs": max_runs}
    return _call(names.TASK_BACKFILL, views.BackfillView, payload)


def status(task_id: str, *, history: int = 10) -> Call[views.TaskStatusView]:
    """One task and its newest executions. Raises `TaskNotFound`."""
    return _call(names.TASK_STATUS, views.TaskStatusView, {"task_id": task_id, "history": history})


def list_tasks(
    *,
    prefix: str = "",
    state: views.TaskState | None = None,
    tag: str | None = None,
    owner: str | None = None,
    sort: Literal["task_id", "next_run"] = "task_id",
    history: int = 0,
    limit: int = 100,
    cursor: str | None = None,
) -> Call[views.TaskPage]:
    """Tasks by id, or (`sort="next_run"`) those with a next run, the nearest first, a page at a time; `cursor` is
    `next_cursor` of the page before. With `history` each has the states of its newest runs."""
    filters = _given(prefix=prefix, state=state, tag=tag, owner=owner, cursor=cursor)
    payload = {**filters, "sort": sort, "history": history, "limit": limit}
    return _call(names.TASK_LIST, views.TaskPage, payload)


def executions(
    *,
    task_id: str | None = None,
    execution_id: str | None = None,
    status: str | None = None,
    since: datetime | str | None = None,
    until: datetime | str | None = None,
    attempts: bool = False,
    limit: int = 100,
    cursor: str | None = None,
) -> Call[views.ExecutionPage]:
    """Executions, newest first, a page at a time."""
    wanted = _given(task_id=task_id, execution_id=execution_id, status=status, since=since, until=until, cursor=cursor)
    return _call(names.EXECUTION_LIST, views.ExecutionPage, {**wanted, "attempts": attempts, "limit": limit})


def cancel(execution_id: str, *, reason: str | None = None) -> Call[views.CancelView]:
    """End a running execution, or drop one that waits. Raises `ExecutionNotFound`, `Conflict`."""
    return _call(names.EXECUTION_CANCEL, views.CancelView, _given(execution_id=execution_id, reason=reason))


def dead_list(
    *, task_id: str | None = None, execution_id: str | None = None, limit: int = 100, cursor: str | None = None
) -> Call[views.DeadPage]:
    """Executions that failed for good, newest first, each with every attempt's error and traceback."""
    asked = _given(task_id=task_id, execution_id=execution_id, limit=limit, cursor=cursor)
    return _call(names.DEAD_LIST, views.DeadPage, asked)


def dead_requeue(execution_id: str) -> Call[views.ExecutionStarted]:
    """Run a dead letter again. Raises `ExecutionNotFound`."""
    return _call(names.DEAD_REQUEUE, views.ExecutionStarted, {"execution_id": execution_id})


def dead_discard(execution_id: str) -> Call[views.ExecutionStarted]:
    """Drop a dead letter. Raises `ExecutionNotFound`."""
    return _call(names.DEAD_DISCARD, views.ExecutionStarted, {"execution_id": execution_id})


def explain(
    schedule: str, *, timezone: str | None = None, after: datetime | str | None = None, count: int = 5
) -> Call[views.ExplainView]:
    """What a schedule means and when it fires next. Raises `InvalidSchedule`."""
    payload = _given(schedule=schedule, timezone=timezone, after=after, count=count)
    return _call(names.SCHEDULE_EXPLAIN, views.ExplainView, payload)


def registry() -> Call[views.RegistryView]:
    """The task classes the service knows."""
    return _call(names.REGISTRY_LIST, views.RegistryView, {})


def reload() -> Call[views.RegistryReloadView]:
    """Look for task classes anew."""
    return _call(names.REGISTRY_RELOAD, views.RegistryReloadView, {})


def event_list(topic: str, *, after_seq: int = 0, limit: int = 100, newest: bool = False) -> Call[views.EventPage]:
    """The events of a topic after a sequence number, oldest first; with `newest` the last `limit` of them."""
    payload = {"topic": topic, "after_seq": after_seq, "limit": limit, "newest": newest}
    return _call(names.EVENT_LIST, views.EventPage, payload)


def audit(
    *,
    since: datetime | str | None = None,
    source: str | None = None,
    action: str | None = None,
    target: str | None = None,
    outcome: str | None = None,
    order: Literal["newest", "oldest"] = "newest",
    limit: int = 100,
    cursor: str | None = None,
) -> Call[views.AuditPage]:
    """The audit trail, a page at a time."""
    wanted = _given(since=since, source=source, action=action, target=target, outcome=outcome, cursor=cursor)
    return _call(names.AUDIT_LIST, views.AuditPage, {**wanted, "order": order, "limit": limit})


def store_vacuum(*, mode: str = "auto", threshold: float = 0.25) -> Call[views.VacuumView]:
    """Give free pages of the database back to the disk. Commands wait while `full` rewrites it: allow it some time."""
    return _call(names.STORE_VACUUM, views.VacuumView, {"mode": mode, "threshold": threshold})


def store_check() -> Call[views.CheckView]:
    """Read every page of the database. Commands wait meanwhile."""
    return _call(names.STORE_CHECK, views.CheckView, {})


def store_backup(file: str) -> Call[views.BackupView]:
    """Copy the database to `file`, an absolute path on the service's machine. Raises `Conflict` if it exists."""
    return _call(names.STORE_BACKUP, views.BackupView, {"file": file})


def store_rekey() -> Call[views.RekeyView]:
    """Encrypt the database with a new key. Commands wait meanwhile."""
    return _call(names.STORE_REKEY, views.RekeyView, {})


def stats() -> Call[views.StatsView]:
    """Counters and gauges of every actor, and the caches."""
    return _call(names.STATS, views.StatsView, {})


def stats_history() -> Call[views.HistoryView]:
    """The load of the last hour, a sample every 15 seconds."""
    return _call(names.STATS_HISTORY, views.HistoryView, {})


def health() -> Call[views.HealthView]:
    """Whether the service is well, and why not."""
    return _call(names.HEALTH, views.HealthView, {})
