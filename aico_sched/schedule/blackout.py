"""Blackout windows: stretches of local time in which a task must not start.

A window is `[DAYS ]HH:MM-HH:MM` (every day, or on the days named) or `YYYY-MM-DD..YYYY-MM-DD` (whole days, both
included). One whose end is not after its start reaches into the next day and belongs to the day it starts on.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo

from aico_sched.schedule.errors import ScheduleError
from aico_sched.schedule.instant import from_datetime, to_datetime
from aico_sched.schedule.zones import load_zone

MAX_WINDOWS: Final = 32

_DAYS: Final = ("MON", "TUE", "WED", "THU", "FRI", "SAT", "SUN")
_CLOCK: Final = re.compile(
    r"(?:(?P<days>[A-Za-z,-]+)\s+)?(?P<h1>\d\d):(?P<m1>\d\d)\s*-\s*(?P<h2>\d\d):(?P<m2>\d\d)", re.ASCII
)
_DATES: Final = re.compile(r"(\d{4}-\d\d-\d\d)\s*\.\.\s*(\d{4}-\d\d-\d\d)", re.ASCII)
_MINUTES_A_DAY: Final = 1_440
_LONGEST_JOINED: Final = 400
"""Windows that may lie end to end before the search for their common end stops."""

_HINT: Final = "Write 22:00-06:00, MON-FRI 09:00-17:00, SAT,SUN 00:00-24:00 or 2026-12-24..2026-12-26."


@dataclass(frozen=True, slots=True)
class _Weekly:
    days: frozenset[int]
    start: int
    length: int
    text: str

    def around(self, local: datetime) -> datetime | None:
        """The end of the window that `local`, a naive wall time, lies in."""
        for back in (0, 1):
            day = local.date() - timedelta(days=back)
            begins = datetime.combine(day, time()) + timedelta(minutes=self.start)
            if day.weekday() in self.days and begins <= local < begins + timedelta(minutes=self.length):
                return begins + timedelta(minutes=self.length)
        return None


@dataclass(frozen=True, slots=True)
class _Dates:
    first: date
    last: date
    text: str

    def around(self, local: datetime) -> datetime | None:
        """The end of the window that `local`, a naive wall time, lies in."""
        if not self.first <= local.date() <= self.last:
            return None
        return datetime.combine(self.last + timedelta(days=1), time())


@dataclass(frozen=True, slots=True)
class Blackout:
    """Some windows in one zone."""

    windows: tuple[_Weekly | _Dates, ...]
    zone: ZoneInfo

    def covering(self, at_us: int) -> tuple[int, str] | None:
        """If `at_us` lies in a window: the instant at which this and what joins it ends, and the window's text."""
        found = self._end(at_us)
        if found is None:
            return None
        end, text = found
        for _ in range(_LONGEST_JOINED):
            following = self._end(end)
            if following is None:
                break
            end = following[0]
        return end, text

    def _end(self, at_us: int) -> tuple[int, str] | None:
        local = to_datetime(at_us).astimezone(self.zone).replace(tzinfo=None)
        for window in self.windows:
            wall_end = window.around(local)
            if wall_end is not None:
                end = from_datetime(wall_end.replace(tzinfo=self.zone))
                # Where the clock is set back inside the window its end may lie before an instant that it covers.
                return (end if end > at_us else from_datetime(wall_end.replace(tzinfo=self.zone, fold=1))), window.text
        return None


@lru_cache(maxsize=1_024)
def parse_blackout(texts: tuple[str, ...], timezone: str) -> Blackout:
    """Read the windows of a task in its zone.

    Raises:
        ScheduleError: a window cannot be read, there are more than `MAX_WINDOWS`, or they leave no time at all.
        TimezoneError: no such zone.
    """
    if len(texts) > MAX_WINDOWS:
        raise ScheduleError(
            ", ".join(texts), "blackout", texts[-1], f"is one window too many ({MAX_WINDOWS} at most)", ""
        )
    windows = tuple(_window(text) for text in texts)
    _refuse_always(texts, windows)
    return Blackout(windows, load_zone(timezone).info)


def _window(text: str) -> _Weekly | _Dates:
    plain = text.strip()
    dates = _DATES.fullmatch(plain)
    if dates is not None:
        return _dates(text, dates)
    match = _CLOCK.fullmatch(plain)
    if match is None:
        raise ScheduleError(text, "blackout", text, "is not a blackout window", _HINT)
    start, end = (_minute(text, match[f"h{part}"], match[f"m{part}"]) for part in (1, 2))
    if start in (end, _MINUTES_A_DAY):
        raise ScheduleError(text, "blackout", text, "begins where it ends", _HINT)
    return _Weekly(_days(text, match["days"]), start, (end - start) % _MINUTES_A_DAY or _MINUTES_A_DAY, plain)


def _dates(text: str, match: re.Match[str]) -> _Dates:
    try:
        first, last = date.fromisoformat(match[1]), date.fromisoformat(match[2])
    except ValueError as error:
        raise ScheduleError(text, "blackout", text, f"holds a date that is none ({error})", _HINT) from None
    if last < first or last == date.max:
        raise ScheduleError(text, "blackout", text, "ends before it begins", _HINT)
    return _Dates(first, last, text.strip())


def _minute(text: str, hour: str, minute: str) -> int:
    value = int(hour) * 60 + int(minute)
    if int(minute) > 59 or value > _MINUTES_A_DAY:
        raise ScheduleError(text, "blackout", f"{hour}:{minute}", "is no time of day", _HINT)
    return value


def _days(text: str, names: str | None) -> frozenset[int]:
    if names is None:
        return frozenset(range(7))
    days: set[int] = set()
    for part in names.upper().split(","):
        first, dash, last = part.partition("-")
        if first not in _DAYS or (dash and last not in _DAYS):
            raise ScheduleError(text, "blackout", part, "is no day of the week", _HINT)
        start, end = _DAYS.index(first), _DAYS.index(last if dash else first)
        days |= {(start + step) % 7 for step in range((end - start) % 7 + 1)}
    return frozenset(days)


def _refuse_always(texts: Sequence[str], windows: Sequence[_Weekly | _Dates]) -> None:
    """Weekly windows that leave no minute of the week would hold a task for ever."""
    covered = bytearray(7 * _MINUTES_A_DAY)
    for window in windows:
        if isinstance(window, _Weekly):
            for day in window.days:
                for minute in range(window.length):
                    covered[(day * _MINUTES_A_DAY + window.start + minute) % len(covered)] = 1
    if all(covered):
        reason = "leaves no time at all in which a task could start"
        raise ScheduleError(", ".join(texts), "blackout", ", ".join(texts), reason, _HINT)
