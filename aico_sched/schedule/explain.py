"""What a schedule will do, for people: a sentence, the next times, and what daylight saving does to them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from aico_sched.schedule.base import ScheduleKind
from aico_sched.schedule.cron import CronSchedule
from aico_sched.schedule.describe import describe
from aico_sched.schedule.instant import MINUTE, format_local, to_datetime
from aico_sched.schedule.parse import parse_schedule
from aico_sched.schedule.zones import Change, load_zone

MAX_COUNT: Final = 1000


@dataclass(frozen=True, slots=True)
class Explanation:
    """The answer of `explain`.

    Attributes:
        expression, timezone, kind: as in `Schedule`.
        description: one sentence in plain English.
        next: the next fires as RFC 3339 local times with their offset.
        notes: what changes of offset do to the fires up to the last one shown, a sentence each.
        warnings: parts that are valid but rarely meant.
    """

    expression: str
    timezone: str
    kind: ScheduleKind
    description: str
    next: tuple[str, ...]
    notes: tuple[str, ...]
    warnings: tuple[str, ...]


def explain(text: str, timezone: str, after_us: int, count: int) -> Explanation:
    """Explain a schedule and list its next `count` fires after `after_us` (an interval counts from there).

    Raises:
        ScheduleError: the schedule or the zone cannot be used.
        ValueError: `count` is not between 0 and 1000.
    """
    if not 0 <= count <= MAX_COUNT:
        raise ValueError(f"count is {count}, but must be between 0 and {MAX_COUNT}")
    schedule = parse_schedule(text, timezone)
    info = load_zone(timezone).info
    notes: tuple[str, ...] = ()
    fires: list[int] = []
    fire = schedule.next_after(after_us, after_us)
    while fire is not None and len(fires) < count:
        fires.append(fire)
        fire = schedule.next_after(fire, after_us)
    if fires and isinstance(schedule, CronSchedule):
        notes = _dst_notes(schedule, after_us, fires[-1])
    return Explanation(
        expression=text,
        timezone=timezone,
        kind=schedule.kind,
        description=describe(schedule),
        next=tuple(format_local(fire, info) for fire in fires),
        notes=notes,
        warnings=schedule.warnings,
    )


def _dst_notes(schedule: CronSchedule, after_us: int, until_us: int) -> tuple[str, ...]:
    """Follow the matching wall-clock times and note those that the clock skips or shows twice."""
    zone, pattern = schedule.zone, schedule.pattern
    offset = zone.windows_at(after_us)[0].offset
    notes = []
    minute = pattern.next_minute((after_us + offset) // MINUTE + 1)
    while minute is not None and zone.resolve(minute * MINUTE, offset)[0] <= until_us:
        change = zone.change_around(minute * MINUTE, offset)
        if change is None:
            minute = pattern.next_minute(minute + 1)
            continue
        end = -(-max(change.wall_before, change.wall_after) // MINUTE)
        if change.at > after_us:
            notes.append(_note(schedule, change, minute, end))
        minute = pattern.next_minute(end)
    return tuple(notes)


def _note(schedule: CronSchedule, change: Change, first: int, end: int) -> str:
    """Tell what happens to the matching times from wall-clock minute `first` to before `end`."""
    last, following = first, schedule.pattern.next_minute(first + 1)
    while following is not None and following < end:
        last, following = following, schedule.pattern.next_minute(following + 1)
    day, clock = _wall_text(first).split(" ")
    many = last != first
    times = f"{day}: {clock} to {_wall_text(last).split(' ')[1]}" if many else f"{day}: {clock}"
    if change.wall_before < change.wall_after:
        missing = f"{times} {'do' if many else 'does'} not exist"
        if schedule.pattern.wildcard:
            return f"{missing} and {'are' if many else 'is'} skipped"
        return f"{missing}, runs once at {_wall_text(change.wall_after // MINUTE).removeprefix(f'{day} ')}"
    runs = "runs both times" if schedule.pattern.wildcard else "runs the first time only"
    return f"{times} {'come' if many else 'comes'} twice, {runs}"


def _wall_text(minute: int) -> str:
    """`YYYY-MM-DD HH:MM` of a wall-clock minute."""
    return to_datetime(minute * MINUTE).strftime("%Y-%m-%d %H:%M")
