"""A compiled cron expression in wall-clock time, without any zone.

Wall-clock time is counted in minutes since 1970-01-01 00:00 as the local clock shows it. Finding the next match is
a few shifts of precomputed masks: one of 1,440 bits for the minutes of a day, one for the days of each kind of year.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Final

from aico_sched.schedule import fields, yeardays
from aico_sched.schedule.errors import ScheduleError

DAY_MINUTES: Final = 1440
# The rarest days, 29 February on one weekday, come at most 40 years apart (across a year like 2100).
_HORIZON_YEARS: Final = 60
# 2024-01-01.
_SAMPLE_DAY: Final = 19_723
_SAMPLE_SIZE: Final = 32
_FIELD_COUNT: Final = 5
_MAX_LENGTH: Final = 1000
_ALL_WEEKDAYS: Final = 0x7F
# Days that every month has.
_SHORT_MONTH_DAYS: Final = (1 << 29) - 2


class CronPattern:
    """What an expression selects. Build it with `compile_pattern`; immutable but for its own memory of year masks.

    Attributes:
        wildcard: the minute or the hour starts with a star. Such a job follows the wall clock through a change of
            offset, while a fixed-time job runs exactly once (Debian's cron(8), on daylight saving).
        warnings: sentences about parts that are valid but rarely meant.
        hours, minutes: masks of the values.
    """

    __slots__ = ("_day_rule", "_first", "_kinds", "_times", "_year", "hours", "minutes", "warnings", "wildcard")

    def __init__(self, expression: str, parts: list[str]) -> None:
        minute, hour, month_day, month, weekday = parts
        self.minutes = fields.parse_values(fields.MINUTE, minute, expression)
        self.hours = fields.parse_values(fields.HOUR, hour, expression)
        self._day_rule = _DayRule(
            fields.parse_month_days(month_day, expression),
            fields.parse_values(fields.MONTH, month, expression),
            fields.parse_weekdays(weekday, expression),
            month_day[0] == "*" or weekday[0] == "*",
        )
        self.wildcard = minute[0] == "*" or hour[0] == "*"
        self._times = _spread_hours(self.hours) * self.minutes
        self._first = _lowest_bit(self._times)
        self._kinds: dict[int, int] = {}
        self._year = (0, 0, 0)
        self.warnings: tuple[str, ...] = ()

    def next_minute(self, minute: int) -> int | None:
        """The first matching wall-clock minute at or after `minute`; None when none comes for 60 years."""
        day, time = divmod(minute, DAY_MINUTES)
        rest = self._times >> time
        if rest:
            found = self.next_day(day)
            if found == day:
                return minute + (rest & -rest).bit_length() - 1
        else:
            found = self.next_day(day + 1)
        return None if found is None else found * DAY_MINUTES + self._first

    def next_day(self, day: int) -> int | None:
        """The first matching day at or after day number `day`; None when none comes for 60 years."""
        start, end, mask = self._year
        if not start <= day < end:
            if day > yeardays.LAST_DAY:
                return None
            start, end, mask = self._year = self._load_year(yeardays.year_of_day(day))
        rest = mask >> (day - start)
        if rest:
            return day + (rest & -rest).bit_length() - 1
        return self._first_day_after(end)

    def _first_day_after(self, new_year: int) -> int | None:
        """The first matching day from the 1 January `new_year` on."""
        first = yeardays.year_of_day(new_year - 1) + 1
        for year in range(first, min(first + _HORIZON_YEARS, yeardays.LAST_YEAR + 1)):
            start, end, mask = self._load_year(year)
            if mask:
                self._year = (start, end, mask)
                return start + _lowest_bit(mask)
        return None

    def _load_year(self, year: int) -> tuple[int, int, int]:
        """First day, day after the last, and mask of one year."""
        start = yeardays.days_before_year(year)
        end = yeardays.days_before_year(year + 1)
        # 1970-01-01 was a Thursday, weekday 4.
        return start, end, self._kind_mask(end - start - 365, (start + 4) % 7)

    def _kind_mask(self, leap: int, first_weekday: int) -> int:
        kind = leap * 7 + first_weekday
        mask = self._kinds.get(kind)
        if mask is None:
            mask = self._kinds[kind] = self._day_rule.mask(leap, first_weekday)
        return mask

    def period_minutes(self) -> int:
        """The smallest distance between two matches in wall-clock minutes, judged by 32 matching days from 2024 on."""
        minutes, hours = _bits(self.minutes), _bits(self.hours)
        width = minutes[-1] - minutes[0]
        days = [self.next_day(_SAMPLE_DAY)]
        while days[-1] is not None and len(days) < _SAMPLE_SIZE:
            days.append(self.next_day(days[-1] + 1))
        numbers = [day for day in days if day is not None]
        night = (hours[-1] - hours[0]) * 60 + width
        gaps = [later - earlier for earlier, later in pairwise(minutes)]
        gaps += [(later - earlier) * 60 - width for earlier, later in pairwise(hours)]
        gaps += [(later - earlier) * DAY_MINUTES - night for earlier, later in pairwise(numbers)]
        return min(gaps)

    def may_fall_in_gaps(self) -> bool:
        """Whether a change of offset could swallow every match: only a wildcard job of certain hours and months."""
        return self.wildcard and self.hours != fields.HOUR.full and self._day_rule.months != fields.MONTH.full

    def has_days(self) -> bool:
        """Whether any day of the calendar matches; all 14 kinds of year come again and again."""
        return self._day_rule.is_plain() or any(
            self._kind_mask(leap, first_weekday) for leap in (0, 1) for first_weekday in range(7)
        )


@dataclass(frozen=True, slots=True)
class _DayRule:
    """The three day fields together, as masks of `fields`.

    `both` is Debian's rule: where the day of month or the day of week starts with a star, a day must match both
    fields; otherwise it needs to match either.
    """

    month_days: int
    months: int
    weekdays: int
    both: bool

    def is_plain(self) -> bool:
        """Quick proof that some day matches: no pair of conditions that could exclude each other."""
        if not self.both:
            return True
        if self.weekdays & _ALL_WEEKDAYS == _ALL_WEEKDAYS:
            return bool(self.month_days & _SHORT_MONTH_DAYS)
        return self.month_days & fields.DAY_OF_MONTH.full == fields.DAY_OF_MONTH.full

    def mask(self, leap: int, first_weekday: int) -> int:
        """The matching days of one kind of year; bit 0 is 1 January, whose weekday is `first_weekday`."""
        month_days = self._month_day_mask(leap, first_weekday)
        weekdays = self._weekday_mask(leap, first_weekday)
        days = month_days & weekdays if self.both else month_days | weekdays
        return days & yeardays.month_mask(leap, self.months)

    def _month_day_mask(self, leap: int, first_weekday: int) -> int:
        mask = yeardays.month_day_mask(leap, self.month_days & fields.DAY_OF_MONTH.full)
        if self.month_days & fields.LAST_DAY:
            mask |= yeardays.last_day_mask(leap)
        if self.month_days & fields.LAST_WORKDAY:
            mask |= yeardays.last_workday_mask(leap, first_weekday)
        return mask

    def _weekday_mask(self, leap: int, first_weekday: int) -> int:
        mask = yeardays.weekday_mask(first_weekday, self.weekdays & _ALL_WEEKDAYS)
        special = self.weekdays >> fields.NTH_SHIFT
        for nth in range(1, 6):
            if special & 0x7F:
                mask |= yeardays.nth_weekday_mask(leap, first_weekday, nth, special & 0x7F)
            special >>= 7
        if special:
            mask |= yeardays.last_weekday_mask(leap, first_weekday, special)
        return mask


def compile_pattern(expression: str) -> CronPattern:
    """Read a five-field cron expression.

    Raises:
        ScheduleError: an unreadable field, a wrong number of fields, or days that never come.
    """
    parts = expression.upper().split()
    if len(parts) != _FIELD_COUNT or not expression.isascii() or len(expression) > _MAX_LENGTH:
        raise _malformed(expression, parts)
    pattern = CronPattern(expression, parts)
    if not pattern.has_days():
        text = f"{parts[2]} {parts[3]} {parts[4]}"
        reason = "selects days that never come"
        raise ScheduleError(
            expression, "day-of-month", text, reason, "Check the day against the length of the months and the weekday."
        )
    return pattern


def _malformed(expression: str, parts: list[str]) -> ScheduleError:
    """The refusals that concern the expression as a whole."""
    if len(expression) > _MAX_LENGTH:
        reason, suggestion = f"is longer than {_MAX_LENGTH} characters", "Use ranges and steps, or several tasks."
    elif not expression.isascii():
        odd = next(char for char in expression if not char.isascii())
        reason, suggestion = f"has the non-ASCII character {odd!r}", "Type it again with plain ASCII digits and spaces."
    elif len(parts) == _FIELD_COUNT + 1:
        reason = "has six fields, and seconds are not supported because libraries disagree on where they stand"
        suggestion = "Use five fields (minute hour day-of-month month day-of-week), or interval:SECONDS."
    else:
        reason = f"has {len(parts)} field{'' if len(parts) == 1 else 's'}"
        suggestion = "Use five fields (minute hour day-of-month month day-of-week), an @alias, interval: or at:."
    return ScheduleError(expression, "expression", expression, reason, suggestion)


@lru_cache(maxsize=1024)
def _spread_hours(hours: int) -> int:
    """Move bit h to bit 60 h; times a mask of minutes, this gives the mask of a day."""
    return sum(1 << 60 * hour for hour in range(24) if hours >> hour & 1)


def _bits(mask: int) -> list[int]:
    """The numbers of the set bits, in order."""
    return [bit for bit in range(mask.bit_length()) if mask >> bit & 1]


def _lowest_bit(mask: int) -> int:
    return (mask & -mask).bit_length() - 1
