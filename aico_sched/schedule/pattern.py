"""A compiled cron expression in wall-clock time, without any zone.

Wall-clock time is counted in minutes since 1970-01-01 00:00 as the local clock shows it. Finding the next
match is a few shifts of precomputed masks: one of 1,440 bits for the minutes of a day, one for the days of
each kind of year.
"""

from __future__ import annotations

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


class CronPattern:
    """What an expression selects; immutable but for its memory of year masks. Made by `compile_pattern`.

    Attributes:
        times: the minutes of a matching day, bit 0 for 00:00.
        often: there is more than one such minute.
        wildcard: the minute or the hour starts with a star. Such a job follows the wall clock through a
            change of offset, while a fixed-time job runs exactly once (Debian's cron(8), on daylight saving).
        hours, minutes, days: the values selected, as the masks of `fields`.
    """

    __slots__ = (
        "_first",
        "_kinds",
        "_period",
        "_year",
        "days",
        "expression",
        "hours",
        "minutes",
        "often",
        "times",
        "wildcard",
    )

    def __init__(self, expression: str, parts: list[str]) -> None:
        minute, hour, month_day, month, weekday = parts
        self.expression = expression
        self.minutes = fields.parse_values(fields.MINUTE, minute, expression)
        self.hours = fields.parse_values(fields.HOUR, hour, expression)
        self.days = yeardays.DayFields(
            fields.parse_month_days(month_day, expression),
            fields.parse_values(fields.MONTH, month, expression),
            fields.parse_weekdays(weekday, expression),
            month_day[0] == "*" or weekday[0] == "*",
        )
        self.wildcard = minute[0] == "*" or hour[0] == "*"
        self.times = _spread_hours(self.hours) * self.minutes
        self.often = bool(self.times & (self.times - 1))
        self._first = _lowest_bit(self.times)
        self._kinds: dict[int, int] = {}
        self._period = 0
        self._year = (0, 0, 0)

    def next_minute(self, minute: int) -> int | None:
        """The first matching wall-clock minute at or after `minute`; None when none comes for 60 years."""
        day, time = divmod(minute, DAY_MINUTES)
        rest = self.times >> time
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
            mask = self._kinds[kind] = yeardays.days_of_year(leap, first_weekday, self.days)
        return mask

    def period_minutes(self) -> int:
        """The smallest distance between two matches, in minutes, judged by 32 matching days from 2024 on."""
        if not self._period:
            year = self._year
            self._period = self._smallest_gap()
            self._year = year
        return self._period

    def _smallest_gap(self) -> int:
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
        """Whether gaps could swallow every match: only for a wildcard job with certain hours, days and months."""
        all_days = self.days.month_days == fields.DAY_OF_MONTH.full and self.days.weekdays == fields.ALL_WEEKDAYS
        certain_months = self.days.months != fields.MONTH.full
        return self.wildcard and certain_months and not all_days and self.hours != fields.HOUR.full


def compile_pattern(expression: str) -> CronPattern:
    """Read a five-field cron expression.

    Raises:
        ScheduleError: an unreadable field, a wrong number of fields, or days that never come.
    """
    parts = expression.upper().split()
    if len(parts) != _FIELD_COUNT or not expression.isascii() or len(expression) > _MAX_LENGTH:
        raise _malformed(expression, parts)
    pattern = CronPattern(expression, parts)
    if not yeardays.come_at_all(pattern.days):
        text = f"{parts[2]} {parts[3]} {parts[4]}"
        reason = "selects days that never come"
        suggestion = "Check the day against the length of the months and the weekday."
        raise ScheduleError(expression, "day-of-month", text, reason, suggestion)
    return pattern


def _malformed(expression: str, parts: list[str]) -> ScheduleError:
    """The refusals that concern the expression as a whole."""
    if len(expression) > _MAX_LENGTH:
        reason = f"is longer than {_MAX_LENGTH} characters"
        suggestion = "Use ranges and steps, or several tasks."
    elif not expression.isascii():
        odd = next(char for char in expression if not char.isascii())
        reason = f"has the non-ASCII character {odd!r}"
        suggestion = "Type it again with plain ASCII digits and spaces."
    elif len(parts) == _FIELD_COUNT + 1:
        reason = "has six fields, but seconds are refused because libraries disagree on where they stand"
        suggestion = "Use five fields (minute hour day-of-month month day-of-week), or interval:SECONDS."
    else:
        reason = f"has {len(parts)} field{'' if len(parts) == 1 else 's'}"
        suggestion = "Use minute hour day-of-month month day-of-week, or an @alias, interval: or at:."
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
