"""Which days of a year a cron expression selects, as one bit mask for each kind of year.

The rules of cron only see the length of the year and the weekday of 1 January. That makes 14 kinds of year,
so a whole year is one integer (bit 0 is 1 January) and "the next matching day" is a shift, however far away
it lies. Days are counted from 1970-01-01 (day 0).
"""

from __future__ import annotations

from datetime import date
from typing import Final, NamedTuple

from aico_sched.schedule import fields

_EPOCH_ORDINAL: Final = date(1970, 1, 1).toordinal()
LAST_YEAR: Final = 9999
LAST_DAY: Final = date(LAST_YEAR, 12, 31).toordinal() - _EPOCH_ORDINAL

_COMMON: Final = (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_LENGTHS: Final = (_COMMON, (31, 29, *_COMMON[2:]))
_EVERY_SEVENTH: Final = sum(1 << day for day in range(0, 378, 7))
# From a Sunday or a Saturday back to the Friday before.
_WORKDAYS_BACK: Final = {0: 2, 6: 1}


class DayFields(NamedTuple):
    """The three day fields of an expression, as the masks of `fields`.

    `both` is Debian's rule: where the day of month or the day of week starts with a star, a day must match
    both fields; otherwise it needs to match either.
    """

    month_days: int
    months: int
    weekdays: int
    both: bool


def days_before_year(year: int) -> int:
    """The day number of 1 January, in the proleptic Gregorian calendar."""
    before = year - 1
    return before * 365 + before // 4 - before // 100 + before // 400 + 1 - _EPOCH_ORDINAL


def year_of_day(day: int) -> int:
    """The year a day number lies in.

    Raises:
        ValueError, OverflowError: outside the years 1 to 9999.
    """
    return date.fromordinal(day + _EPOCH_ORDINAL).year


def _month_starts(leap: int) -> tuple[int, ...]:
    starts = [0]
    for length in _LENGTHS[leap]:
        starts.append(starts[-1] + length)
    return tuple(starts)


_STARTS: Final = (_month_starts(0), _month_starts(1))
_LAST_DAYS: Final = tuple(sum(1 << (start - 1) for start in starts[1:]) for starts in _STARTS)
_LAST_WEEKS: Final = tuple(sum(0x7F << (start - 7) for start in starts[1:]) for starts in _STARTS)


def _nth_week(leap: int, nth: int) -> int:
    """The days whose weekday comes for the nth time (1 to 5) in their month."""
    mask = 0
    for month, start in enumerate(_STARTS[leap][:12]):
        first = 7 * (nth - 1)
        count = min(7, _LENGTHS[leap][month] - first)
        mask |= ((1 << count) - 1) << (start + first)
    return mask


_NTH_WEEKS: Final = tuple(tuple(_nth_week(leap, nth) for nth in range(1, 6)) for leap in (0, 1))


def days_of_year(leap: int, first_weekday: int, selected: DayFields) -> int:
    """The matching days of one kind of year; bit 0 is 1 January, a `first_weekday` (0 for Sunday)."""
    month_days = _month_day_mask(leap, first_weekday, selected.month_days)
    weekdays = _weekday_field_mask(leap, first_weekday, selected.weekdays)
    days = month_days & weekdays if selected.both else month_days | weekdays
    return days & _month_mask(leap, selected.months)


def come_at_all(selected: DayFields) -> bool:
    """Whether any day of the calendar matches; all 14 kinds of year come again and again."""
    if not selected.both or selected.month_days == fields.DAY_OF_MONTH.full:
        return True
    if selected.weekdays == fields.ALL_WEEKDAYS:
        longest = max(_LENGTHS[1][month] for month in range(12) if selected.months >> (month + 1) & 1)
        special = fields.LAST_DAY | fields.LAST_WORKDAY
        return bool(selected.month_days & ((2 << longest) - 1 | special))
    kinds = ((leap, first_weekday) for leap in (0, 1) for first_weekday in range(7))
    return any(days_of_year(leap, first_weekday, selected) for leap, first_weekday in kinds)


def _month_mask(leap: int, months: int) -> int:
    """All days of the selected months (bit 1 is January)."""
    mask = 0
    for month in range(12):
        if months >> (month + 1) & 1:
            mask |= ((1 << _LENGTHS[leap][month]) - 1) << _STARTS[leap][month]
    return mask


def _month_day_mask(leap: int, first_weekday: int, days: int) -> int:
    """The day-of-month field alone, each day where its month is long enough."""
    mask = 0
    for month in range(12):
        mask |= (days >> 1 & ((1 << _LENGTHS[leap][month]) - 1)) << _STARTS[leap][month]
    if days & fields.LAST_DAY:
        mask |= _LAST_DAYS[leap]
    if days & fields.LAST_WORKDAY:
        for start in _STARTS[leap][1:]:
            weekday = (first_weekday + start - 1) % 7
            mask |= 1 << (start - 1 - _WORKDAYS_BACK.get(weekday, 0))
    return mask


def _weekday_field_mask(leap: int, first_weekday: int, weekdays: int) -> int:
    """The day-of-week field alone: plain weekdays, then the first to fifth, then the last of the month."""
    mask = _weekday_mask(first_weekday, weekdays & fields.ALL_WEEKDAYS)
    special = weekdays >> fields.NTH_SHIFT
    if special:
        for week in (*_NTH_WEEKS[leap], _LAST_WEEKS[leap]):
            mask |= _weekday_mask(first_weekday, special & fields.ALL_WEEKDAYS) & week
            special >>= 7
    return mask


def _weekday_mask(first_weekday: int, weekdays: int) -> int:
    """The selected weekdays (bit 0 is Sunday) of the whole year."""
    mask = 0
    for weekday in range(7):
        if weekdays >> weekday & 1:
            mask |= _EVERY_SEVENTH << (weekday - first_weekday) % 7
    return mask
