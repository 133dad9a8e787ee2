"""The kinds of schedule that need no calendar: `interval:`, `at:`, and those that fire by what happens in the service,
`@reboot`, `after:` and `failure:`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import ClassVar, Final

from aico_sched.schedule.base import Schedule, ScheduleKind
from aico_sched.schedule.errors import ScheduleError
from aico_sched.schedule.instant import SECOND, parse_rfc3339

INTERVAL_PREFIX: Final = "interval:"
AT_PREFIX: Final = "at:"
AFTER_PREFIX: Final = "after:"
FAILURE_PREFIX: Final = "failure:"

# As `topics.commands.TaskId`.
_TASK_ID = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]*(\.[A-Za-z0-9_][A-Za-z0-9_-]*)*", re.ASCII)

_SECONDS = re.compile(r"([0-9]{1,18})(?:\.([0-9]{1,6})0*)?")
_MIN_INTERVAL: Final = SECOND // 1000
# Ten years of 365.25 days.
_MAX_INTERVAL: Final = 315_576_000 * SECOND


@dataclass(frozen=True, slots=True, eq=False)
class IntervalSchedule(Schedule):
    """`interval:SECONDS`: fires at anchor + k * interval for k = 1, 2, …, so it never drifts.

    Without an anchor it counts from the Unix epoch.
    """

    kind: ClassVar[ScheduleKind] = "interval"

    expression: str
    timezone: str
    interval_us: int

    @property
    def period_us(self) -> int:
        """The interval itself."""
        return self.interval_us

    def next_after(self, after_us: int, anchor_us: int | None = None) -> int:
        """The first fire strictly after `after_us`, in constant time over any distance."""
        anchor = anchor_us or 0
        return anchor + max(1, (after_us - anchor) // self.interval_us + 1) * self.interval_us

    def latest_at_or_before(self, now_us: int, after_us: int, anchor_us: int | None = None) -> int | None:
        """The newest fire in (after_us, now_us], in constant time."""
        anchor = anchor_us or 0
        count = (now_us - anchor) // self.interval_us
        fire = anchor + count * self.interval_us
        return fire if count >= 1 and fire > after_us else None

    def count_between(self, after_us: int, until_us: int, anchor_us: int | None = None, limit: int = 10_000) -> int:
        """How many fires lie in (after_us, until_us], at most `limit`; in constant time."""
        anchor = anchor_us or 0
        last = (until_us - anchor) // self.interval_us
        first = max(0, (after_us - anchor) // self.interval_us)
        return min(max(0, last - first), limit)


@dataclass(frozen=True, slots=True, eq=False)
class AtSchedule(Schedule):
    """`at:RFC3339`: fires once."""

    kind: ClassVar[ScheduleKind] = "at"

    expression: str
    timezone: str
    at_us: int

    def next_after(self, after_us: int, anchor_us: int | None = None) -> int | None:
        """The instant, if it is still to come."""
        return self.at_us if self.at_us > after_us else None

    def latest_at_or_before(self, now_us: int, after_us: int, anchor_us: int | None = None) -> int | None:
        """The instant, if it lies in (after_us, now_us]."""
        return self.at_us if after_us < self.at_us <= now_us else None


@dataclass(frozen=True, slots=True, eq=False)
class RebootSchedule(Schedule):
    """`@reboot`: once per start of the service. The clock does not know that, so nothing is ever due."""

    kind: ClassVar[ScheduleKind] = "reboot"

    expression: str
    timezone: str

    def next_after(self, after_us: int, anchor_us: int | None = None) -> None:
        """Always None; the scheduler fires it when the service has started."""

    def latest_at_or_before(self, now_us: int, after_us: int, anchor_us: int | None = None) -> None:
        """Always None."""


@dataclass(frozen=True, slots=True, eq=False)
class AfterSchedule(Schedule):
    """`after:TASK_ID`: each time a run of that task succeeds."""

    kind: ClassVar[ScheduleKind] = "after"

    expression: str
    timezone: str
    task_id: str

    def next_after(self, after_us: int, anchor_us: int | None = None) -> None:
        """Always None; the store fires it with the end of the other task's run."""

    def latest_at_or_before(self, now_us: int, after_us: int, anchor_us: int | None = None) -> None:
        """Always None."""


@dataclass(frozen=True, slots=True, eq=False)
class FailureSchedule(Schedule):
    """`failure:PATTERN`: each time a run fails for good of a task that the pattern names: a task id, `user.*` for all
    below a name, or `*`."""

    kind: ClassVar[ScheduleKind] = "failure"

    expression: str
    timezone: str
    pattern: str

    def names(self, task_id: str) -> bool:
        """Whether the pattern names the task."""
        if self.pattern.endswith("*"):
            return task_id.startswith(self.pattern[:-1])
        return task_id == self.pattern

    def next_after(self, after_us: int, anchor_us: int | None = None) -> None:
        """Always None; the store fires it with the dead letter."""

    def latest_at_or_before(self, now_us: int, after_us: int, anchor_us: int | None = None) -> None:
        """Always None."""


def parse_after(text: str, timezone: str) -> AfterSchedule:
    """Read `after:TASK_ID`. Whether there is such a task is not asked: it may come later.

    Raises:
        ScheduleError: not a task id.
    """
    task_id = text.strip()[len(AFTER_PREFIX) :].strip()
    if _TASK_ID.fullmatch(task_id) is None:
        suggestion = "Write the id of the task to follow: after:user.backup."
        raise ScheduleError(text, "after", task_id, "is not the id of a task", suggestion)
    return AfterSchedule(AFTER_PREFIX + task_id, timezone, task_id)


def parse_failure(text: str, timezone: str) -> FailureSchedule:
    """Read `failure:PATTERN`.

    Raises:
        ScheduleError: neither a task id, nor one that ends in `.*`, nor `*`.
    """
    pattern = text.strip()[len(FAILURE_PREFIX) :].strip()
    if pattern != "*" and _TASK_ID.fullmatch(pattern.removesuffix(".*")) is None:
        suggestion = "Write failure:* for every task, failure:user.* for all below a name, or failure:user.backup."
        raise ScheduleError(text, "failure", pattern, "is not the id of a task, nor a pattern", suggestion)
    return FailureSchedule(FAILURE_PREFIX + pattern, timezone, pattern)


def parse_interval(text: str, timezone: str) -> IntervalSchedule:
    """Read `interval:SECONDS`, from 0.001 s to ten years, exact to the microsecond.

    Raises:
        ScheduleError: not a positive decimal number, or out of range.
    """
    seconds = text.strip()[len(INTERVAL_PREFIX) :].strip()
    match = _SECONDS.fullmatch(seconds)
    if match is None:
        suggestion = "Write a decimal number with at most six decimals: interval:5 or interval:0.25."
        raise ScheduleError(text, "interval", seconds, "is not a number of seconds", suggestion)
    interval = int(match[1]) * SECOND + int((match[2] or "").ljust(6, "0"))
    if not _MIN_INTERVAL <= interval <= _MAX_INTERVAL:
        suggestion = "Use at least 0.001 and at most 315576000 seconds (ten years)."
        raise ScheduleError(text, "interval", seconds, "is out of range", suggestion)
    return IntervalSchedule(text, timezone, interval)


def parse_at(text: str, timezone: str) -> AtSchedule:
    """Read `at:RFC3339`; whether it has passed is for the caller to judge, who knows the catch-up window.

    Raises:
        ScheduleError: not an RFC 3339 time, or one without an offset.
    """
    moment = text.strip()[len(AT_PREFIX) :].strip()
    try:
        return AtSchedule(text, timezone, parse_rfc3339(moment))
    except ScheduleError as error:
        raise ScheduleError(text, "at", moment, error.reason, error.suggestion) from None
