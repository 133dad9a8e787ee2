"""Cron schedules: a pattern of wall-clock times in a zone.

Daylight saving follows Debian's cron(8) as cronsim 2.8 implements it. A fixed-time job whose time is skipped
by a forward change runs once, right after the gap; one whose time comes twice runs the first time. A wildcard
job (its minute or hour starts with a star) runs whenever the wall clock matches: never in a gap, twice in an
overlap.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Final

from aico_sched.schedule.advice import cron_warnings
from aico_sched.schedule.base import Schedule, ScheduleKind
from aico_sched.schedule.errors import ScheduleError
from aico_sched.schedule.instant import DAY, MINUTE
from aico_sched.schedule.pattern import DAY_MINUTES, CronPattern
from aico_sched.schedule.zones import SPAN_BITS, Window, Zone

# Long enough for the rarest day of the calendar, which comes after 40 years at most.
_HORIZON: Final = 60 * 366 * DAY


@dataclass(frozen=True, slots=True, eq=False)
class CronSchedule(Schedule):
    """A five-field cron expression, or an alias of one, in a time zone."""

    kind: ClassVar[ScheduleKind] = "cron"

    expression: str
    timezone: str
    pattern: CronPattern = field(repr=False)
    zone: Zone = field(repr=False)
    # (start, end, midnight): from start to before end the zone's offset is constant and the day matches.
    _today: list[tuple[int, int, int]] = field(default_factory=lambda: [(0, 0, 0)], init=False, repr=False)

    @property
    def warnings(self) -> tuple[str, ...]:
        """See `Schedule.warnings`."""
        return cron_warnings(self.pattern.expression)

    @property
    def period_us(self) -> int:
        """The smallest distance between two matching wall-clock times."""
        return self.pattern.period_minutes() * MINUTE

    def next_after(self, after_us: int, anchor_us: int | None = None) -> int | None:
        """The first fire strictly after `after_us`; None when none comes for 60 years."""
        start, end, midnight = self._today[0]
        if start <= after_us < end:
            minute = (after_us - midnight) // MINUTE + 1
            rest = self.pattern.times >> minute
            if rest:
                return midnight + (minute + (rest & -rest).bit_length() - 1) * MINUTE
        offset = self.zone.spans[(after_us + 1) >> SPAN_BITS]
        if not isinstance(offset, int):
            return self._search(after_us + 1)
        wall = self.pattern.next_minute((after_us + offset) // MINUTE + 1)
        if wall is None:
            return None
        fire = wall * MINUTE - offset
        # Where the offset is the same and constant around both ends, the naive answer is the answer.
        if self.zone.spans[fire >> SPAN_BITS] != offset:
            return self._search(after_us + 1)
        if self.pattern.often:
            self._remember_day(wall, offset)
        return fire

    def _remember_day(self, wall: int, offset: int) -> None:
        """Let the next call start from this day: the offset is constant, only the minutes matter."""
        fire = wall * MINUTE - offset
        midnight = fire - wall % DAY_MINUTES * MINUTE
        span = fire >> SPAN_BITS
        start, end = max(midnight, span << SPAN_BITS), min(midnight + DAY, (span + 1) << SPAN_BITS)
        # One assignment, so that another thread never sees half of it.
        self._today[0] = (start, end, midnight)

    def _search(self, start: int) -> int | None:
        """The first fire at or after `start`, with every change of offset on the way taken into account."""
        limit = start + _HORIZON
        while start < limit:
            span = self.zone.spans[start >> SPAN_BITS]
            if isinstance(span, int):
                minute = self.pattern.next_minute(-((-start - span) // MINUTE))
                if minute is None:
                    return None
                fire, exists = self.zone.resolve(minute * MINUTE, span)
                if exists or not self.pattern.wildcard:
                    return fire
                start = fire
            else:
                end = ((start >> SPAN_BITS) + 1) << SPAN_BITS
                found = self._search_windows(start, span)
                if found is not None and found < end:
                    return found
                start = end
        return None

    def _search_windows(self, start: int, windows: tuple[Window, ...]) -> int | None:
        """The first fire at or after `start` in a stretch with changes, complete up to its own end."""
        repeated_until = 0
        fixed = not self.pattern.wildcard
        for number, (begin, end, offset) in enumerate(windows):
            if end >= start:
                wall = max(start, begin) + offset
                if fixed and number:
                    # What the clock shows a second time has had its run.
                    wall = max(wall, repeated_until)
                minute = self.pattern.next_minute(-(-wall // MINUTE))
                if minute is None:
                    return None
                fire = minute * MINUTE - offset
                if fire < end:
                    return fire
                if fixed and number + 1 < len(windows) and fire - end < windows[number + 1].offset - offset:
                    return end
            repeated_until = end + offset
        return None

    def latest_at_or_before(self, now_us: int, after_us: int, anchor_us: int | None = None) -> int | None:
        """The newest fire in (after_us, now_us], by halving the time between: some 15 steps for two weeks."""
        low = self.next_after(after_us)
        if low is None or low > now_us:
            return None
        high = now_us
        # `low` is a fire, and none comes in (high, now_us]. Fires are whole minutes apart.
        while high - low >= MINUTE:
            middle = (low + high) // 2
            fire = self.next_after(middle)
            if fire is None or fire > now_us:
                high = middle
            else:
                low = fire
        return low


def refuse_if_never(schedule: CronSchedule, reference_us: int) -> None:
    """Refuse a wildcard job all of whose times fall into gaps, such as `* 2 * 3 7L` in Europe/Berlin.

    Args:
        schedule: a compiled schedule whose days do come.
        reference_us: where to start looking; the rules of the zone at that time and later decide.

    Raises:
        ScheduleError: no fire within 60 years.
    """
    if schedule.next_after(reference_us) is None:
        raise ScheduleError(
            schedule.expression,
            "hour",
            schedule.expression,
            f"selects only times that {schedule.timezone} skips for daylight saving",
            "Give the minute as a number: a fixed time that is skipped runs once right after the gap.",
        )
