"""What to do with a task's due slots, and with which settings its runs go. Pure: time is an argument.

A **slot** is a moment the schedule names. Jitter shifts the start, never the slot. All instants are microseconds
since the epoch, UTC.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from hashlib import blake2b
from typing import Any, Final, NamedTuple

from aico_sched.schedule import Schedule, ScheduleError, parse_schedule
from aico_sched.topics.errors import CommandError, ErrorCode
from aico_sched.topics.internal import DueTask, Slot

SECOND: Final = 1_000_000
DAY: Final = 86_400 * SECOND

ON_TIME: Final = 60 * SECOND
"""Under `misfire: skip` a start this late still counts as on time; less for schedules of a shorter period."""

COUNT_LIMIT: Final = 1_000
"""Missed cron slots are counted up to here; beyond, the count says "at least"."""

MAX_QUEUED: Final = 1_000
"""Waiting runs of one task; a slot that finds so many is recorded as missed."""

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
    """How late a slot may still run, microseconds."""
    given = options.get("catchup_window")
    if given is not None:
        return int(given * SECOND)
    return min(schedule.period_us or DAY, DAY)


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


def plan_slot(task: DueTask, schedule: Schedule, now_us: int) -> Slot | None:
    """What to do about `task` now: run a slot, give some up, and when to look again. None if it is not due."""
    offset = jitter_offset(task.task_id, task.options)
    oldest, now = task.next_run_us, now_us - offset
    if oldest > now:
        return None
    newest = _newest(schedule, task, now)
    chosen = _chosen(schedule, task, now, newest)
    given_up_until = newest + 1 if chosen is None else chosen
    missed = _count(schedule, oldest, given_up_until, task.anchor_us)
    backlog = task.options.get("misfire") == "all" and chosen is not None
    following = schedule.next_after(chosen if backlog and chosen is not None else newest, task.anchor_us)
    last = chosen is not None and task.run_count + 1 >= (task.options.get("max_runs") or float("inf"))
    return Slot(
        task_id=task.task_id,
        revision=task.revision,
        due_us=task.next_run_us,
        scheduled_for_us=chosen if chosen is not None else newest,
        next_run_us=0 if last else _within_end(following, task.options) or 0,
        action="none" if chosen is None else "catchup" if chosen < newest else "run",
        reason="",
        missed=missed,
        missed_from_us=oldest,
    )


def _newest(schedule: Schedule, task: DueTask, now: int) -> int:
    """The newest slot that is due, not after the task's end."""
    end = _moment(task.options, "end_at")
    limit = now if end is None else min(now, end)
    return schedule.latest_at_or_before(limit, task.next_run_us, task.anchor_us) or task.next_run_us


def _chosen(schedule: Schedule, task: DueTask, now: int, newest: int) -> int | None:
    """The slot to run under the task's misfire rule, or None when all are too late."""
    window = catchup_window(schedule, task.options)
    misfire = task.options.get("misfire", "latest")
    if misfire == "skip":
        window = min(window, ON_TIME, schedule.period_us or ON_TIME)
    if now - newest > window:
        return None
    if misfire != "all" or now - task.next_run_us <= window:
        return newest if misfire != "all" else task.next_run_us
    return schedule.next_after(now - window - 1, task.anchor_us)


def _count(schedule: Schedule, start: int, end: int, anchor: int) -> int:
    """Slots in [start, end), at most `COUNT_LIMIT` where they can only be walked. `start` is a slot."""
    if end <= start:
        return 0
    if schedule.kind == "interval" and schedule.period_us:
        return -((start - end) // schedule.period_us)
    count, slot = 0, start
    while slot < end and count < COUNT_LIMIT:
        count += 1
        following = schedule.next_after(slot, anchor)
        if following is None:
            break
        slot = following
    return count


def _within_end(slot: int | None, options: Mapping[str, Any]) -> int | None:
    end = _moment(options, "end_at")
    return None if slot is None or (end is not None and slot > end) else slot


def _moment(options: Mapping[str, Any], name: str) -> int | None:
    """An instant among the stored options, where RFC 3339 text stands for it."""
    text = options.get(name)
    if text is None:
        return None
    return round(datetime.fromisoformat(text).timestamp() * SECOND)
