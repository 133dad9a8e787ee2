"""The way in: from the text of a schedule to a `Schedule`, through the caches."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from aico_sched.schedule.base import Schedule
from aico_sched.schedule.caches import CacheStats, SizedCache
from aico_sched.schedule.cron import CronSchedule, refuse_if_never
from aico_sched.schedule.errors import ScheduleError
from aico_sched.schedule.instant import SECOND
from aico_sched.schedule.pattern import CronPattern, compile_pattern
from aico_sched.schedule.simple import (
    AFTER_PREFIX,
    AT_PREFIX,
    FAILURE_PREFIX,
    INTERVAL_PREFIX,
    RebootSchedule,
    parse_after,
    parse_at,
    parse_failure,
    parse_interval,
)
from aico_sched.schedule.zones import load_zone

REBOOT: Final = "@reboot"
# As in Debian's crontab(5).
ALIASES: Final = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
# 2026-01-01T00:00:00Z: the rules a zone has from then on decide whether a schedule can ever fire.
_REFERENCE_US: Final = 1_767_225_600 * SECOND


def parse_schedule(text: str, timezone: str) -> Schedule:
    """Read a schedule: five-field cron, an `@` alias, `interval:SECONDS`, `at:RFC3339`, `after:TASK_ID` or
    `failure:PATTERN`.

    Results are cached, so the same text and zone give the same object.

    Args:
        text: the schedule.
        timezone: the IANA zone its wall-clock times are in.

    Raises:
        ScheduleError: unreadable, out of range, or a schedule that can never fire.
        TimezoneError: no such zone.
    """
    return _schedules.get(text, timezone)


def next_run(schedule: Schedule, after_us: int, anchor_us: int | None = None) -> int | None:
    """`schedule.next_after` through a cache, for many tasks that share one schedule and fall due together."""
    return _next_runs.get(schedule, after_us, anchor_us)


def configure_caches(size: int) -> None:
    """Give each cache room for `size` entries (0 switches it off) and start it empty, its counters at zero.

    Raises:
        ValueError: a negative size.
    """
    if size < 0:
        raise ValueError(f"a cache cannot hold {size} entries")
    for cache in (_patterns, _schedules, _next_runs):
        cache.resize(size)


def cache_stats() -> dict[str, CacheStats]:
    """Hits, misses, entries and room of the caches `patterns`, `schedules` and `next_run`."""
    return {"patterns": _patterns.stats(), "schedules": _schedules.stats(), "next_run": _next_runs.stats()}


def _parse(text: str, timezone: str) -> Schedule:
    zone = load_zone(timezone)
    lead = text.lstrip()[:9].lower()
    for prefix, parse in _PREFIXES.items():
        if lead.startswith(prefix):
            return parse(text, timezone)
    expression = text
    if lead.startswith("@"):
        alias = text.strip().lower()
        if alias == REBOOT:
            return RebootSchedule(text, timezone)
        if alias not in ALIASES:
            suggestion = f"Use one of {', '.join([*ALIASES, REBOOT])}."
            raise ScheduleError(text, "expression", text, "is not a known alias", suggestion)
        expression = ALIASES[alias]
    pattern = _patterns.get(expression)
    schedule = CronSchedule(text, timezone, pattern, zone)
    if pattern.may_fall_in_gaps():
        refuse_if_never(schedule, _REFERENCE_US)
    return schedule


_PREFIXES: Final[dict[str, Callable[[str, str], Schedule]]] = {
    INTERVAL_PREFIX: parse_interval,
    AT_PREFIX: parse_at,
    AFTER_PREFIX: parse_after,
    FAILURE_PREFIX: parse_failure,
}


def _next_after(schedule: Schedule, after_us: int, anchor_us: int | None) -> int | None:
    return schedule.next_after(after_us, anchor_us)


_patterns: SizedCache[[str], CronPattern] = SizedCache(compile_pattern)
_schedules: SizedCache[[str, str], Schedule] = SizedCache(_parse)
_next_runs: SizedCache[[Schedule, int, int | None], int | None] = SizedCache(_next_after)
