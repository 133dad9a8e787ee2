"""What the service says: the results of commands and the payloads of events."""

from typing import Any, Literal

from pydantic import Field, JsonValue

from aico_sched.topics.commands import ExecutionStatus, Payload

TaskState = Literal["active", "paused", "disabled", "unavailable", "finished"]
Trigger = Literal["schedule", "manual", "backfill", "requeue", "event"]
AttemptOutcome = Literal["succeeded", "failed", "timed_out", "cancelled", "interrupted"]
BreakerState = Literal["closed", "open", "half_open"]


Usage = dict[str, JsonValue]
"""What an attempt used, as far as its environment can tell: `environment`, `steps` (from one await to the next),
`loop_seconds` (how long these held the event loop), `longest_step_seconds`, `cpu_seconds`, `memory_mb` (its peak),
`abandoned` (it did not end when it was told to), `sandbox` (`full`, or `reduced` by what `sandbox_missing` says)."""


class TaskView(Payload):
    """One task as the service keeps it. `options` holds what was set of `TaskOptions`."""

    task_id: str
    task_class: str
    schedule: str
    timezone: str
    config: dict[str, JsonValue]
    options: dict[str, JsonValue]
    state: TaskState
    note: str | None = Field(description="why it is paused, disabled or unavailable, where somebody said")
    enabled: bool
    protected: bool = Field(description="a system task: it can be disabled, never deleted")
    created_by: str
    created_at: str
    updated_at: str
    last_run: str | None
    next_run: str | None
    run_count: int
    revision: int
    warnings: list[str] = Field(default_factory=list)
    recent: list[ExecutionStatus] | None = Field(
        default=None, description="states of its newest runs, the newest first; only in lists that asked for `history`"
    )


class TaskPage(Payload):
    tasks: list[TaskView]
    next_cursor: str | None


class LogLine(Payload):
    """A line a task has logged. Values under a secret's name are hidden."""

    at: str
    level: Literal["info", "warning", "error", "critical"]
    message: str
    fields: dict[str, JsonValue]


class AttemptLogs(Payload):
    """What an attempt has logged through its context: the newest lines."""

    lines: list[LogLine]
    dropped: int = Field(description="lines before these, which are not kept")


class AttemptView(Payload):
    """One try at an execution. `error_type` is the exception's qualified name."""

    attempt: int
    outcome: AttemptOutcome
    started_at: str
    completed_at: str
    error_type: str | None
    error_message: str | None
    traceback: str | None
    usage: Usage | None = None
    logs: AttemptLogs | None = None


class ExecutionView(Payload):
    """One run of a task. `scheduled_for` is the slot it fills (the moment asked for, of a manual run);
    `run_at` is when a waiting one may start."""

    execution_id: str
    task_id: str
    trigger: Trigger
    status: ExecutionStatus
    scheduled_for: str
    run_at: str | None
    started_at: str | None
    completed_at: str | None
    duration_seconds: float | None
    attempt: int
    retry_count: int
    result: JsonValue
    error_message: str | None
    reason: str | None = Field(description="why it was skipped, missed, cancelled, deferred …")
    missed_count: int | None = Field(description="slots a `missed` row stands for; 1000 means at least so many")
    progress: JsonValue
    usage: Usage | None = Field(default=None, description="what its newest attempt used")
    cause: dict[str, JsonValue] | None = Field(
        default=None, description="the run it follows, of a task scheduled `after:` or `failure:` another"
    )
    attempts: list[AttemptView] | None = None
    logs: AttemptLogs | None = Field(
        default=None, description="what the attempt under way has logged so far; only where `attempts` are asked for"
    )


class ExecutionPage(Payload):
    executions: list[ExecutionView]
    next_cursor: str | None


class TaskStatusView(Payload):
    task: TaskView
    executions: list[ExecutionView]


class ExecutionStarted(Payload):
    """Answer to `trigger`, `requeue`: the execution that will run."""

    execution_id: str
    task_id: str


class BackfillView(Payload):
    task_id: str
    execution_ids: list[str]


class DeadLetterView(Payload):
    """An execution that failed for good, with all that is needed to see why. `config` is what its last attempt ran
    with; a requeued one runs with its task's present configuration."""

    execution_id: str
    task_id: str
    task_class: str
    trigger: Trigger
    scheduled_for: str
    died_at: str
    reason: str
    config: dict[str, JsonValue]
    attempts: list[AttemptView]


class DeadPage(Payload):
    dead: list[DeadLetterView]
    next_cursor: str | None


class CancelView(Payload):
    execution_id: str
    status: Literal["cancelling", "cancelled"]


class ExplainView(Payload):
    expression: str
    timezone: str
    kind: str
    description: str
    next: list[str]
    notes: list[str]
    warnings: list[str]


class TaskClassView(Payload):
    """A task class the registry knows. `available` is false when its code could not be loaded; `problem` says why."""

    name: str
    description: str
    module: str
    category: str
    source: Literal["module", "entry_point", "user_folder", "builtin"]
    available: bool
    problem: str | None
    config_schema: dict[str, JsonValue] | None = Field(description="JSON Schema of its configuration, once loaded")


class RegistryView(Payload):
    classes: list[TaskClassView]


class RegistryReloadView(Payload):
    added: list[str]
    removed: list[str]
    changed: list[str]
    problems: dict[str, str]


class StatsView(Payload):
    """`scheduler.stats`: per actor its counters and gauges, and the caches, as name → number. They count from the start
    of the service; `recent` tells of the last minutes (`scheduler.health_window`), `totals` and `peaks` of all time, a
    crash included."""

    uptime_seconds: float
    actors: dict[str, dict[str, Any]]
    executions: dict[str, Any]
    recent: dict[str, Any] = Field(description="rates per second, means, peaks, minima, percentiles, failures by type")
    totals: dict[str, int] = Field(description="events of executions by kind since the database was made")
    peaks: dict[str, float] = Field(description="the highest values since the database was made")
    caches: dict[str, dict[str, int]]
    host: dict[str, Any]


class LoadSample(Payload):
    """How busy the machine and the service were at one moment. Percentages are 0 to 100; `due` is what waits for a
    place."""

    at: str
    cpu_percent: float
    memory_percent: float
    loop_lag_ms: float
    running: int
    due: int
    ended_per_second: float = Field(description="runs that ended since the sample before")


class HistoryView(Payload):
    """`scheduler.stats.history`: the last hour, as far as this start of the service reaches back; the oldest first."""

    interval_seconds: float
    samples: list[LoadSample]


class HealthView(Payload):
    status: Literal["healthy", "degraded", "critical"]
    live: bool
    ready: bool
    reasons: list[str]
    checks: dict[str, dict[str, Any]]
    version: str


class VacuumView(Payload):
    """What a vacuum did. With `mode` incremental the file shrinks as the pages at its end become free."""

    mode: Literal["full", "incremental"]
    bytes_before: int
    bytes_after: int
    bytes_freed: int
    seconds: float


class CheckView(Payload):
    """`ok` when every page of the database is sound; else `findings` says what is not."""

    ok: bool
    findings: list[str]
    bytes: int
    free_bytes: int
    seconds: float


class BackupView(Payload):
    """A backup that was opened and read to its end. It needs the key the database has now."""

    file: str
    bytes: int
    rows: int
    tables: dict[str, int]
    seconds_exclusive: float = Field(description="for so long the service took no other work")
    seconds: float


class RekeyView(Payload):
    """The database has a new key; `retired_key` is the file that keeps the old one, for older backups."""

    rows: int
    retired_key: str | None
    seconds: float


class EventRow(Payload):
    topic: str
    seq: int
    message_id: str
    timestamp: str
    payload: dict[str, JsonValue]


class EventPage(Payload):
    events: list[EventRow]


class AuditLine(Payload):
    """One line of the audit trail. `hash` (SHA-256, hexadecimal) is over the line before and this one."""

    id: int
    at: str
    source: str
    role: str
    action: str
    target: str
    outcome: str
    detail: str
    hash: str


class AuditLink(Payload):
    """A line's number and hash."""

    id: int
    hash: str


class AuditPage(Payload):
    """`scheduler.audit.list`. The trail is what follows `anchor`, up to `head`, the newest line. A page of few lines,
    even none, may have a `next_cursor`: it ends when enough lines were looked at."""

    lines: list[AuditLine]
    next_cursor: str | None
    anchor: AuditLink
    head: AuditLink


class TaskEvent(Payload):
    """`scheduler.event.task.*`: a change to a task, after it is durable. `by` is the sender of the command."""

    task_id: str
    at: str
    by: str
    revision: int
    state: TaskState
    next_run: str | None
    note: str | None = None


class ExecutionEvent(Payload):
    """`scheduler.event.execution.*`: what became of an execution, after it is durable."""

    execution_id: str
    task_id: str
    at: str
    attempt: int
    trigger: Trigger
    scheduled_for: str
    started_at: str | None = None
    completed_at: str | None = None
    duration_seconds: float | None = None
    result: JsonValue = None
    error_type: str | None = None
    error_message: str | None = None
    reason: str | None = None
    retry_at: str | None = None
    progress: JsonValue = None
    count: int | None = Field(default=None, description="slots this event stands for, of `missed`")


class ExecutionLogEvent(Payload):
    """`scheduler.event.execution.logged`: what a run logs while it goes on. It is no record: of a flood only the newest
    lines come. What an attempt has logged stands with it once it has ended (`scheduler.execution.list`)."""

    execution_id: str
    task_id: str
    at: str
    attempt: int
    lines: list[LogLine]
    total: int = Field(description="lines the attempt had logged up to the last of these")


class AlertEvent(Payload):
    """`scheduler.event.alert`: something a person should know. `key` is the same for the same trouble; `resolved` says
    that it is over."""

    key: str
    severity: Literal["info", "warning", "critical"]
    message: str
    at: str
    task_id: str | None = None
    details: dict[str, JsonValue] = Field(default_factory=dict)
    resolved: bool = False


class BreakerEvent(Payload):
    """`scheduler.event.breaker`: the circuit breaker of the event loop has changed. While it is `open` nothing starts
    and what runs on the loop holds at its next checkpoint; `half_open` lets a few starts pass, critical ones first."""

    state: BreakerState
    previous: BreakerState
    at: str
    reason: str = Field(description="what blocked the loop, of an opening")


class AvailabilityEvent(Payload):
    """`scheduler.event.availability`: the heartbeat. The service is gone when none follows within `expires_in`
    seconds. `seq` holds the newest sequence number of every event topic, so that a gap shows without traffic."""

    instance: str
    status: Literal["starting", "ready", "stopping"]
    at: str
    expires_in: float
    seq: dict[str, int]
