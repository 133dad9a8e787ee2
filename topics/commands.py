"""The payload of every command: what a sender may say, in what units, and what is refused.

The same models serve the bus, the command line and REST. `extra="forbid"`: a misspelt field is an error, never
silently ignored. Durations are seconds; times are RFC 3339 with an offset.
"""

import re
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    StringConstraints,
)
from pydantic_core import PydanticCustomError

from aico_sched.topics import limits

_TASK_ID = r"^[A-Za-z0-9_][A-Za-z0-9_-]*(\.[A-Za-z0-9_][A-Za-z0-9_-]*)*$"
_MATCHES_TASK_ID = re.compile(_TASK_ID).fullmatch


def _task_id(value: Any) -> Any:
    """What a person can do about a name that the pattern refuses."""
    if isinstance(value, str) and not _MATCHES_TASK_ID(value):
        raise PydanticCustomError(
            "task_id", "a name has letters, digits, _ and - in parts joined by dots, such as user.backup"
        )
    return value


TaskId = Annotated[str, StringConstraints(max_length=limits.MAX_ID_CHARS, pattern=_TASK_ID), BeforeValidator(_task_id)]
"""Dot-separated name; its first part is the namespace that decides the task's permissions."""

Identifier = Annotated[str, StringConstraints(min_length=1, max_length=limits.MAX_ID_CHARS)]
Text = Annotated[str, StringConstraints(max_length=2_000)]
ScheduleText = Annotated[str, StringConstraints(min_length=1, max_length=256)]


def _levels(value: Any) -> int:
    """How many maps and arrays stand inside one another."""
    inside = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return 0 if inside is None else 1 + max(map(_levels, inside), default=0)


def _listable(config: dict[str, Any]) -> dict[str, Any]:
    """What an answer could not carry must not be taken in."""
    if _levels(config) > limits.LISTED_LEVELS:
        raise ValueError(f"nests deeper than {limits.LISTED_LEVELS} levels")
    return config


TaskConfig = Annotated[
    dict[Annotated[str, StringConstraints(max_length=limits.MAX_ID_CHARS)], JsonValue], AfterValidator(_listable)
]
_YEAR = 366 * 86_400.0
Seconds = Annotated[float, Field(ge=0, le=_YEAR, allow_inf_nan=False)]
PositiveSeconds = Annotated[float, Field(gt=0, le=_YEAR, allow_inf_nan=False)]


_IS_MOMENT = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d").match


def _is_text(value: object) -> object:
    """Not strict, a number would pass for seconds since the epoch, in quotes, too."""
    if isinstance(value, datetime) or (isinstance(value, str) and _IS_MOMENT(value)):
        return value
    raise PydanticCustomError("moment", "must be RFC 3339 text with an offset, such as 2026-01-31T08:00:00Z")


# Times travel as RFC 3339 text, which strict validation would refuse from Python objects.
Moment = Annotated[AwareDatetime, Field(strict=False), BeforeValidator(_is_text)]

ExecutionStatus = Literal[
    "queued",
    "running",
    "retrying",
    "succeeded",
    "dead",
    "cancelled",
    "skipped",
    "missed",
    "interrupted",
]
Misfire = Literal["latest", "all", "skip"]
Overlap = Literal["skip", "queue", "cancel_previous", "allow"]
Delivery = Literal["at_least_once", "at_most_once"]
MaxDeferAction = Literal["run", "skip", "fail"]
BlackoutAction = Literal["defer", "skip"]
Windows = Annotated[list[Annotated[str, StringConstraints(min_length=1, max_length=64)]], Field(max_length=32)]
Environment = Literal["auto", "loop", "thread", "process", "cluster"]


def _unique(tags: list[str]) -> list[str]:
    return sorted(set(tags))


Tags = Annotated[
    list[Annotated[str, StringConstraints(min_length=1, max_length=limits.MAX_NAME_CHARS)]],
    Field(max_length=32),
    AfterValidator(_unique),
]


Resources = Annotated[
    dict[
        Annotated[str, StringConstraints(min_length=1, max_length=limits.MAX_NAME_CHARS)],
        Annotated[float, Field(gt=0, le=1e9, allow_inf_nan=False)],
    ],
    Field(max_length=16),
]
"""Amounts by name, as the cluster's workers were started with."""


class Payload(BaseModel):
    """Base of every message payload: frozen, nothing unknown passes, and no value is bent into another type."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, strict=True)


VERBATIM = frozenset(("task_id", "execution_id", "task_class", "schedule", "config", "enabled"))
"""Fields that every command takes in as they are: written out again, they would be what they were."""


def written(command: Payload, given: dict[str, Any]) -> dict[str, Any]:
    """A command as plain data, only the fields that were `given`, of which it was made."""
    return given if given.keys() <= VERBATIM else command.model_dump(mode="json", exclude_unset=True)


class RetryPolicy(Payload):
    """What happens after a failed attempt. The delay before retry n is `delay * multiplier**(n-1)`, at most
    `max_delay`; with `jitter: full` it is drawn evenly from zero to that."""

    max_attempts: int | None = Field(default=None, ge=1, le=100, description="in all, the first included; default 4")
    delay: Seconds | None = Field(default=None, description="seconds before the first retry; default 60")
    max_delay: Seconds | None = Field(default=None, description="longest delay between attempts; default 3600")
    multiplier: float | None = Field(default=None, ge=1, le=100, allow_inf_nan=False, description="default 2")
    jitter: Literal["none", "full"] | None = Field(default=None, description="default none")


class TaskLimits(Payload):
    """What one attempt may use. What exceeds a limit is ended; the attempt has failed."""

    cpu_seconds: PositiveSeconds | None = Field(default=None, description="processor time; on the loop, of its steps")
    memory_mb: int | None = Field(
        default=None, ge=16, le=1_048_576, description="address space in megabytes; only in a process of its own"
    )
    query_seconds: PositiveSeconds | None = Field(default=None, description="time of each database query")


class TaskOptions(Payload):
    """The options a task may carry, each with the service's default where it is absent or null."""

    description: Text | None = None
    timezone: Annotated[str, StringConstraints(min_length=1, max_length=64)] | None = Field(
        default=None, description="IANA name; the service's `scheduler.timezone` if absent"
    )
    catchup_window: Seconds | None = Field(
        default=None, description="how late a slot may still run; default min(period, 24 h)"
    )
    misfire: Misfire = Field(default="latest", description="which slots inside the catch-up window run after an outage")
    overlap: Overlap = Field(default="skip", description="what a due slot does while the task is still running")
    jitter: Seconds = Field(default=0.0, description="starts are spread over this many seconds, stable per task")
    timeout: PositiveSeconds | None = Field(default=None, description="seconds one attempt may take; default 300")
    retry: RetryPolicy | None = None
    environment: Environment = Field(default="auto", description="where its code runs; auto: as its class says")
    priority: int | None = Field(default=None, ge=0, le=100, description="higher runs first; default by namespace")
    group: Identifier | None = Field(
        default=None, description="a name of `scheduler.groups`: no more tasks of it run at one time than its limit"
    )
    max_instances: int | None = Field(
        default=None, ge=1, le=10_000, description="runs of it at one time; with `overlap: allow`, others have one"
    )
    idle_only: bool | None = Field(default=None, description="start only while the machine is idle")
    low_activity: bool | None = Field(
        default=None, description="start only in hours in which the user is usually away, as far as that was learned"
    )
    max_defer: Seconds | None = Field(default=None, description="longest a start may be put off for lack of resources")
    on_max_defer: MaxDeferAction = "run"
    delivery: Delivery = "at_least_once"
    start_at: Moment | None = Field(default=None, description="no run before this time")
    end_at: Moment | None = Field(default=None, description="no run after this time")
    max_runs: int | None = Field(default=None, ge=1, description="scheduled runs after which the task is finished")
    fixed_delay: bool = Field(
        default=False, description="an interval counts from the end of the run before; only with interval:SECONDS"
    )
    blackout: Windows | None = Field(
        default=None,
        description="local times in which no scheduled run starts: `[DAYS ]HH:MM-HH:MM` or `DATE..DATE`; the service's "
        "`scheduler.blackout` if absent, none if empty",
    )
    on_blackout: BlackoutAction = Field(
        default="defer", description="whether a slot in a blackout runs when that ends, or never"
    )
    owner: Annotated[str, StringConstraints(max_length=limits.MAX_NAME_CHARS)] | None = None
    tags: Tags = Field(default_factory=list)
    # The last one: from here on the name is the field, not the module.
    limits: TaskLimits | None = None
    resources: Resources | None = Field(
        default=None, description="what a cluster's worker must have free for it, such as GPU: 1"
    )


class TaskCreate(TaskOptions):
    """`scheduler.task.create`: a new task. Answered with the task as `TaskView`."""

    task_id: TaskId
    schedule: ScheduleText = Field(
        description="cron, @shortcut, interval:SECONDS, at:RFC3339, after:TASK_ID or failure:TASK_ID|PREFIX.*|*"
    )
    task_class: TaskId | None = Field(
        default=None, description="a registered task class; the class named like the task if absent"
    )
    config: TaskConfig = Field(default_factory=dict)
    enabled: bool = True


class TaskUpdate(TaskOptions):
    """`scheduler.task.update`: changes the fields that are present, resets to their default those that are null."""

    task_id: TaskId
    schedule: ScheduleText | None = Field(default=None, description="null changes nothing: a task has a schedule")
    task_class: TaskId | None = Field(default=None, description="null changes nothing: a task has a class")
    config: TaskConfig | None = None
    misfire: Misfire | None = None  # type: ignore[assignment]
    overlap: Overlap | None = None  # type: ignore[assignment]
    jitter: Seconds | None = None  # type: ignore[assignment]
    on_max_defer: MaxDeferAction | None = None  # type: ignore[assignment]
    on_blackout: BlackoutAction | None = None  # type: ignore[assignment]
    delivery: Delivery | None = None  # type: ignore[assignment]
    environment: Environment | None = None  # type: ignore[assignment]
    tags: Tags | None = None  # type: ignore[assignment]
    revision: int | None = Field(
        default=None, ge=1, description="refused with `conflict` unless the task has this revision"
    )


class TaskRef(Payload):
    """`scheduler.task.{enable,disable,trigger}`: names a task."""

    task_id: TaskId


class TaskNote(TaskRef):
    """`scheduler.task.{pause,resume}`: names a task, with a note that is kept with it."""

    note: Text | None = None


class TaskDelete(TaskRef):
    """`scheduler.task.delete`: removes a task; its history stays."""

    remove_code: bool = Field(default=False, description="also delete the user task's code file")


class TaskBackfill(TaskRef):
    """`scheduler.task.backfill`: runs the slots of a past range, without moving `next_run`."""

    start: Moment = Field(description="first slot not before this time")
    end: Moment = Field(description="last slot not after this time")
    overlap: Literal["queue", "allow"] = "queue"
    max_runs: int = Field(default=100, ge=1, le=1_000, description="refused if the range holds more slots")


class TaskStatus(TaskRef):
    """`scheduler.task.status`: one task and its newest executions."""

    history: int = Field(default=10, ge=0, le=limits.MAX_PAGE)


class Page(Payload):
    """What every list takes: how many rows, and where the page before ended."""

    limit: int = Field(default=100, ge=1, le=limits.MAX_PAGE)
    cursor: Identifier | None = Field(default=None, description="`next_cursor` of the page before")


class TaskList(Page):
    """`scheduler.task.list`: tasks by id, or (`sort: next_run`) those that have a next run, the nearest first."""

    sort: Literal["task_id", "next_run"] = "task_id"
    history: int = Field(default=0, ge=0, le=10, description="so many of its newest runs' states with each task")
    prefix: Annotated[str, StringConstraints(max_length=limits.MAX_ID_CHARS)] = ""
    state: Literal["active", "paused", "disabled", "unavailable", "finished"] | None = None
    tag: Annotated[str, StringConstraints(max_length=limits.MAX_NAME_CHARS)] | None = None
    owner: Annotated[str, StringConstraints(max_length=limits.MAX_NAME_CHARS)] | None = None


class ExecutionList(Page):
    """`scheduler.execution.list`: executions, newest first."""

    task_id: TaskId | None = None
    execution_id: Identifier | None = None
    status: ExecutionStatus | None = None
    since: Moment | None = None
    until: Moment | None = None
    attempts: bool = Field(default=False, description="with every attempt's times and error")


class ExecutionCancel(Payload):
    """`scheduler.execution.cancel`: ends a running execution, or drops one that waits."""

    execution_id: Identifier
    reason: Text | None = None


class DeadList(Page):
    """`scheduler.dead.list`: executions that failed for good, newest first, with every attempt."""

    task_id: TaskId | None = None
    execution_id: Identifier | None = Field(default=None, description="only this one")


class DeadRef(Payload):
    """`scheduler.dead.{requeue,discard}`: names a dead letter."""

    execution_id: Identifier


class ScheduleExplain(Payload):
    """`scheduler.schedule.explain`: what an expression means and when it fires next."""

    schedule: ScheduleText
    timezone: Annotated[str, StringConstraints(min_length=1, max_length=64)] | None = None
    after: Moment | None = Field(default=None, description="now if absent")
    count: int = Field(default=5, ge=1, le=100)


class EventList(Payload):
    """`scheduler.event.list`: the events of a topic after a sequence number, oldest first."""

    topic: Identifier
    after_seq: int = Field(default=0, ge=0)
    limit: int = Field(default=100, ge=1, le=limits.MAX_PAGE)
    newest: bool = Field(default=False, description="the last `limit` of them instead of the first")


class AuditList(Page):
    """`scheduler.audit.list`: the audit trail: every command and decision, whose it was and what came of it."""

    since: Moment | None = None
    source: Identifier | None = None
    action: Identifier | None = Field(default=None, description="the command's topic, `task.execute`, `bus.publish` …")
    target: Identifier | None = Field(default=None, description="the task or execution it is about")
    outcome: Identifier | None = Field(default=None, description="`ok` or an error code")
    order: Literal["newest", "oldest"] = Field(
        default="newest", description="which lines come first; oldest first, without filters, the chain can be checked"
    )


class StoreVacuum(Payload):
    """`scheduler.store.vacuum`: give free pages of the database back to the disk."""

    mode: Literal["auto", "full", "incremental"] = Field(
        default="auto", description="full rewrites the file, during which commands wait; auto does so where it pays"
    )
    threshold: float = Field(
        default=0.25, ge=0, le=1, allow_inf_nan=False, description="free share of the file from which auto is full"
    )


class StoreBackup(Payload):
    """`scheduler.store.backup`: an encrypted, verified copy of the database, made while the service runs."""

    file: Annotated[str, StringConstraints(min_length=1, max_length=4_096)] = Field(
        description="absolute path on the service's machine; refused if it exists"
    )


class Empty(Payload):
    """A command without arguments: `scheduler.registry.{list,reload}`, `scheduler.store.{check,rekey}`,
    `scheduler.stats`, `scheduler.health`."""


Result = dict[str, Any]
