"""Schedules as pure functions of time: cron, intervals, single moments, and their explanation.

Every instant is an `int`: microseconds since the Unix epoch in UTC ("us"). Nothing here reads a clock.
"""

from aico_sched.schedule.base import Schedule, ScheduleKind
from aico_sched.schedule.blackout import Blackout, parse_blackout
from aico_sched.schedule.caches import CacheStats
from aico_sched.schedule.cron import CronSchedule
from aico_sched.schedule.errors import ScheduleError, TimezoneError
from aico_sched.schedule.explain import Explanation, explain
from aico_sched.schedule.instant import (
    format_local,
    format_rfc3339,
    from_datetime,
    parse_rfc3339,
    read_rfc3339,
    to_datetime,
)
from aico_sched.schedule.parse import cache_stats, configure_caches, next_run, parse_schedule
from aico_sched.schedule.simple import AfterSchedule, AtSchedule, FailureSchedule, IntervalSchedule, RebootSchedule
from aico_sched.schedule.zones import load_zone

__all__ = [
    "AfterSchedule",
    "AtSchedule",
    "Blackout",
    "CacheStats",
    "CronSchedule",
    "Explanation",
    "FailureSchedule",
    "IntervalSchedule",
    "RebootSchedule",
    "Schedule",
    "ScheduleError",
    "ScheduleKind",
    "TimezoneError",
    "cache_stats",
    "configure_caches",
    "explain",
    "format_local",
    "format_rfc3339",
    "from_datetime",
    "load_zone",
    "next_run",
    "parse_blackout",
    "parse_rfc3339",
    "parse_schedule",
    "read_rfc3339",
    "to_datetime",
]
