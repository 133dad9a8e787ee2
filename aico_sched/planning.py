"""What to do with a task's due slots, and with which settings its runs go. Pure: time is an argument.

A **slot** is a moment the schedule names. Jitter shifts the start, never the slot. All instants are microseconds
since the epoch, UTC.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from hashlib import blake2b
from typing import Any, Final, NamedTuple

from aico_sched.execution.strikes import StrikeRules
from aico_sched.schedule import (
    Schedule,
    ScheduleError,
    explain,
    next_run,
    parse_blackout,
    parse_rfc3339,
    parse_schedule,
)
from aico_sched.schedule.instant import MAX_US
from aico_sched.topics.errors import CommandError, ErrorCode
from aico_sched.topics.internal import AFTER_RUN, NEVER, DueTask, Slot

SECOND: Final = 1_000_000
DAY: Final = 86_400 * SECOND

ON_TIME: Final = 60 * SECOND
"""Under `misfire: skip` a start this late still counts as on time; less for schedules of a shorter period."""

COUNT_LIMIT: Final = 1_000
"""Missed cron slots are counted up to here; beyond, the count says "at least"."""

BACKLOG_LIMIT: Final = 1_000
"""Under `misfire: all` at most so many slots of an outage run, the newest ones."""

LATE: Final = SECOND
"""A slot that starts no later than this is on time. Under `misfire: all` a later one belongs to a backlog and waits its
turn in it."""

MAX_QUEUED: Final = 1_000
"""Waiting runs of one task; a slot that finds so many is recorded as missed."""

_LAST: Final = MAX_US - 367 * DAY
"""Slots after this moment, at the end of the calendar, are none: with their jitter they could not be written down."""

_OF_TIME: Final = ("start_at", "end_at", "max_runs", "jitter", "catchup_window", "blackout")
"""Options that mean nothing to a task that runs by what happens."""

LIMITS_REFUSED: Final = (
    "{} cannot be held to on a cluster, whose workers have limits of their own (dask worker --memory-limit); "
    "leave it out, or choose another environment"
)

_PRIORITIES: Final = {"maintenance": 80, "security": 80, "agency": 50}
_DEFAULT_PRIORITY: Final = 30


@dataclass(frozen=True, slots=True)
class Defaults:
    """The service-wide settings a task falls back to. Seconds."""

    timezone: str
    timeout: float
    max_attempts: int
    retry_delay: float
    max_retry_delay: float
    strikes: StrikeRules = field(default_factory=StrikeRules)
    groups: Mapping[str, int] = field(default_factory=dict)

    def retry(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """The whole retry policy of a task with these options."""
        given = options.get("retry") or {}
        return {
            "max_attempts": self.max_attempts,
            "delay": self.retry_delay,
            "max_delay": self.max_retry_delay,
            "multiplier": 2.0,
            "jitter": "none",
            **{name: value for name, value in given.items() if value is not None},
        }

    def timeout_of(self, options: Mapping[str, Any]) -> float:
        """Seconds one attempt may take."""
        return float(options.get("timeout") or self.timeout)

    def terms(self, options: Mapping[str, Any]) -> "RunTerms":
        """What these options of a task mean for its runs."""
        return RunTerms(
            self.timeout_of(options),
            self.retry(options),
            options.get("environment"),
            options.get("limits"),
            options.get("resources"),
            bool(options.get("idle_only")),
            options,
        )


class RunTerms(NamedTuple):
    """What a task's options say about each of its runs. `timeout` is in seconds."""

    timeout: float
    retry: dict[str, Any]
    environment: str | None
    limits: dict[str, Any] | None
    resources: dict[str, float] | None
    idle_only: bool
    options: Mapping[str, Any]


class WantedTask(NamedTuple):
    """A task that exists by itself, as classes and settings together want it."""

    task_id: str
    task_class: str
    schedule: str
    enabled: bool
    config: Mapping[str, Any]
    options: Mapping[str, Any]


def checked_schedule(text: str, timezone: str) -> Schedule:
    """The schedule, or `invalid_schedule` naming the part that is wrong."""
    try:
        return parse_schedule(text, timezone)
    except ScheduleError as error:
        raise schedule_refused(error) from error


def schedule_refused(error: ScheduleError) -> CommandError:
    """What the sender of a command with a bad schedule is told."""
    return CommandError(
        ErrorCode.INVALID_SCHEDULE,
        str(error),
        field="timezone" if error.field == "timezone" else "schedule",
        expression=error.expression,
        part=error.field,
        text=error.text,
        suggestion=error.suggestion,
    )


def explained(payload: Mapping[str, Any], timezone: str, now_us: int) -> dict[str, Any]:
    """The answer to `scheduler.schedule.explain`; `timezone` is that of expressions which name none."""
    after = payload.get("after")
    after_us = now_us if after is None else parse_rfc3339(after)
    zone = payload.get("timezone") or timezone
    try:
        return asdict(explain(payload["schedule"], zone, after_us, payload.get("count", 5)))
    except ScheduleError as error:
        raise schedule_refused(error) from error


def priority_of(task_id: str, options: Mapping[str, Any]) -> int:
    """Its own, or by namespace: critical maintenance before agency before user tasks."""
    given = options.get("priority")
    return int(given) if given is not None else _PRIORITIES.get(task_id.split(".", maxsplit=1)[0], _DEFAULT_PRIORITY)


def jitter_offset(task_id: str, options: Mapping[str, Any]) -> int:
    """How long after its slots this task starts: the same for all of them, spread evenly over tasks."""
    jitter = options.get("jitter")
    if not jitter:
        return 0
    digest = int.from_bytes(blake2b(task_id.encode(), digest_size=8).digest(), "big")
    return digest * int(jitter * SECOND) >> 64


def catchup_window(schedule: Schedule, options: Mapping[str, Any]) -> int:
    """How late a slot may still run, microseconds. Never less than `LATE`: no start is quite on time, so a task with a
    window of 0 would never run."""
    given = options.get("catchup_window")
    if given is not None:
        return max(LATE, int(given * SECOND))
    return min(schedule.period_us or DAY, DAY)


def longest_defer(task: DueTask) -> float:
    """Microseconds for which a start may be put off. A task that waits for low activity and says nothing of its own
    would miss its slot once the catch-up window is over, so it waits almost that long and then runs."""
    given = task.options.get("max_defer")
    if given is not None:
        return float(given) * SECOND
    if not task.options.get("low_activity"):
        return float("inf")
    return 0.9 * catchup_window(parse_schedule(task.schedule, task.timezone), task.options)


def first_slot(schedule: Schedule, options: Mapping[str, Any], now_us: int, anchor_us: int) -> int | None:
    """The first slot of a task that begins to be scheduled now, or None if it has none.

    A one-time task whose moment has passed keeps it while it is inside its catch-up window.
    """
    after = now_us
    if schedule.kind == "at":
        after -= catchup_window(schedule, options) + 1
    start = _moment(options, "start_at")
    if start is not None:
        after = max(after, start - 1)
    return _within_end(schedule.next_after(after, anchor_us), options)


def check_options(schedule: Schedule, options: Mapping[str, Any]) -> None:
    """Raises `invalid_schedule` for options that make no sense with this schedule."""
    if options.get("fixed_delay") and schedule.kind != "interval":
        message = (
            f"fixed_delay counts an interval from the end of the run before, and {schedule.expression!r} is no "
            "interval; write interval:SECONDS, or leave fixed_delay out"
        )
        raise CommandError(ErrorCode.INVALID_SCHEDULE, message, field="fixed_delay", expression=schedule.expression)
    if options.get("blackout"):
        try:
            parse_blackout(tuple(options["blackout"]), schedule.timezone)
        except ScheduleError as error:
            raise CommandError(ErrorCode.INVALID_MESSAGE, str(error), field="blackout", text=error.text) from error
    beyond = refused_limits(options.get("limits"))
    if options.get("environment") == "cluster" and beyond:
        message = LIMITS_REFUSED.format(" and ".join(beyond))
        raise CommandError(ErrorCode.INVALID_MESSAGE, message, field="limits")
    if schedule.kind in ("after", "failure"):
        for name in _OF_TIME:
            if options.get(name):
                message = f"{name} is for schedules that go by time, and {schedule.expression!r} does not"
                raise CommandError(ErrorCode.INVALID_SCHEDULE, message, field=name, expression=schedule.expression)


def refused_limits(limits: Mapping[str, Any] | None) -> list[str]:
    """Those of a task's limits that nobody holds to on a cluster."""
    return [f"limits.{name}" for name in ("cpu_seconds", "memory_mb") if (limits or {}).get(name) is not None]


def check_group(options: Mapping[str, Any], groups: Mapping[str, int]) -> None:
    """Raises `invalid_message` for a group that the settings do not name: it would limit nothing."""
    group = options.get("group")
    if group and group not in groups:
        known = f"; there are {', '.join(sorted(groups))}" if groups else ""
        message = f"there is no group {group!r} in scheduler.groups{known}. Add it there with its limit"
        raise CommandError(ErrorCode.INVALID_MESSAGE, message, field="group")


def plan_slot(task: DueTask, schedule: Schedule, now_us: int) -> Slot | None:
    """What to do about `task` now: run a slot, give some up, and when to look again. None if it is not due."""
    offset = jitter_offset(task.task_id, task.options)
    oldest, now = task.next_run_us, now_us - offset
    if oldest > now:
        return None
    newest = _newest(schedule, task, now)
    chosen = _chosen(schedule, task, now, newest)
    scheduled_for = newest if chosen is None else chosen
    following = _following(schedule, task, chosen, newest)
    return Slot(
        task_id=task.task_id,
        revision=task.revision,
        due_us=oldest,
        scheduled_for_us=scheduled_for,
        next_run_us=following,
        next_due_us=following + offset if following > 0 else following,
        action="none" if chosen is None else "catchup" if _in_backlog(task, chosen, newest, now) else "run",
        reason="",
        missed=count_slots(schedule, oldest, newest + 1 if chosen is None else chosen, task.anchor_us),
        missed_from_us=oldest,
    )


def _following(schedule: Schedule, task: DueTask, chosen: int | None, newest: int) -> int:
    """The slot to wait for after this one; see `Slot.next_run_us`."""
    if chosen is not None and task.run_count + 1 >= (task.options.get("max_runs") or float("inf")):
        return NEVER
    if chosen is not None and task.options.get("fixed_delay"):
        return AFTER_RUN
    last = chosen if chosen is not None and _runs_all(task) else newest
    return _within_end(next_run(schedule, last, task.anchor_us), task.options) or NEVER


def _runs_all(task: DueTask) -> bool:
    """Whether every slot of an outage is made up for. With `fixed_delay` there is never more than one."""
    return task.options.get("misfire") == "all" and not task.options.get("fixed_delay")


def _in_backlog(task: DueTask, chosen: int, newest: int, now: int) -> bool:
    return _runs_all(task) and (chosen < newest or now - chosen > LATE)


def _newest(schedule: Schedule, task: DueTask, now: int) -> int:
    """The newest slot that is due, not after the task's end."""
    end = _moment(task.options, "end_at")
    limit = now if end is None else min(now, end)
    return schedule.latest_at_or_before(limit, task.next_run_us, task.anchor_us) or task.next_run_us


def _chosen(schedule: Schedule, task: DueTask, now: int, newest: int) -> int | None:
    """The slot to run under the task's misfire rule, or None when all are too late."""
    window = catchup_window(schedule, task.options)
    if task.options.get("misfire") == "skip":
        window = min(window, ON_TIME, schedule.period_us or ON_TIME)
    if now - newest > window:
        return None
    if not _runs_all(task):
        return newest
    oldest = task.next_run_us
    if now - oldest > window:
        oldest = schedule.next_after(now - window - 1, task.anchor_us) or newest
    return _bounded(schedule, oldest, newest, task.anchor_us)


def _bounded(schedule: Schedule, oldest: int, newest: int, anchor: int) -> int:
    """The first slot of those in [oldest, newest] from which on there are at most `BACKLOG_LIMIT`."""

    def fits(after: int) -> bool:
        return schedule.count_between(after, newest, anchor, BACKLOG_LIMIT + 1) <= BACKLOG_LIMIT

    if fits(oldest - 1):
        return oldest
    low, high = oldest - 1, newest
    # Cron slots are whole minutes apart, intervals at least a millisecond.
    while high - low > 1_000:
        middle = (low + high) // 2
        low, high = (low, middle) if fits(middle) else (middle, high)
    return schedule.next_after(high, anchor) or newest


def count_slots(schedule: Schedule, start: int, end: int, anchor: int) -> int:
    """Slots in [start, end), at most `COUNT_LIMIT` where they can only be walked. `start` is a slot."""
    if end <= start:
        return 0
    if schedule.kind == "interval" and schedule.period_us:
        return -((start - end) // schedule.period_us)
    return 1 + schedule.count_between(start, end - 1, anchor, COUNT_LIMIT - 1)


def _within_end(slot: int | None, options: Mapping[str, Any]) -> int | None:
    end = _moment(options, "end_at")
    return None if slot is None or slot > (_LAST if end is None else min(_LAST, end)) else slot


def _moment(options: Mapping[str, Any], name: str) -> int | None:
    """An instant among the stored options, where RFC 3339 text stands for it."""
    text = options.get(name)
    if text is None:
        return None
    return round(datetime.fromisoformat(text).timestamp() * SECOND)
