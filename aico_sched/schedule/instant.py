"""Instants: `int` microseconds since the Unix epoch in UTC ("us"), and their ways in and out of text.

Integers compare, subtract and sort exactly and carry no zone, so nothing inside the package can mix them up.
The range is that of `datetime`: the years 1 to 9999.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, tzinfo
from functools import lru_cache
from typing import Final

from aico_sched.schedule.errors import ScheduleError

SECOND: Final = 1_000_000
MINUTE: Final = 60 * SECOND
HOUR: Final = 60 * MINUTE
DAY: Final = 24 * HOUR

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
MIN_US: Final = -62_135_596_800 * SECOND
MAX_US: Final = 253_402_300_800 * SECOND - 1

# The grammar of RFC 3339, section 5.6; a missing offset is matched so that it can be refused by name.
_RFC3339 = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})[Tt ]([0-9]{2}:[0-9]{2}:[0-9]{2})(\.[0-9]+)?([Zz]|[+-][0-9]{2}:[0-9]{2})?"
)
_MAX_TEXT = 64


def from_datetime(dt: datetime) -> int:
    """Turn an aware datetime into us, exactly.

    Raises:
        ScheduleError: the datetime is naive, or its UTC time lies outside the years 1 to 9999.
    """
    if dt.utcoffset() is None:
        raise _bad(dt.isoformat(), "has no UTC offset", "Attach a time zone, such as datetime(..., tzinfo=UTC).")
    delta = dt - EPOCH
    us = (delta.days * 86_400 + delta.seconds) * SECOND + delta.microseconds
    if not MIN_US <= us <= MAX_US:
        raise _bad(dt.isoformat(), "is outside the years 1 to 9999 in UTC", "Use a nearer time.")
    return us


def to_datetime(us: int, tz: tzinfo = UTC) -> datetime:
    """Turn us into an aware datetime in `tz`, exactly.

    Raises:
        OverflowError: the instant is outside the years 1 to 9999.
    """
    return (EPOCH + timedelta(microseconds=us)).astimezone(tz)


def parse_rfc3339(text: str) -> int:
    """Read an RFC 3339 time with its offset, such as `2026-03-29T01:30:00.5+01:00`, into us.

    Digits beyond the microsecond are cut off, as `datetime` does.

    Raises:
        ScheduleError: not RFC 3339, no offset (a naive time means something else on each host), no such date,
            or out of range.
    """
    match = _RFC3339.fullmatch(text) if len(text) <= _MAX_TEXT else None
    if match is None:
        raise _bad(text, "is not an RFC 3339 time", "Write it like 2026-03-29T01:30:00Z.")
    day, clock, fraction, offset = match.groups()
    if offset is None:
        suggestion = f"Append Z for UTC, or an offset: {day}T{clock}{fraction or ''}+01:00."
        raise _bad(text, "has no UTC offset", suggestion)
    try:
        parsed = datetime.fromisoformat(f"{day}T{clock}{(fraction or '')[:7]}{offset.upper()}")
    except ValueError as error:
        raise _bad(text, f"is not a time ({error})", "Check the day, the hour and the offset.") from None
    return from_datetime(parsed)


def read_rfc3339(text: str) -> int:
    """The us that `format_rfc3339` wrote as `text`, six times as fast as `parse_rfc3339`; for texts of our own."""
    delta = datetime.fromisoformat(text) - EPOCH
    return (delta.days * 86_400 + delta.seconds) * SECOND + delta.microseconds


@lru_cache(maxsize=256)
def format_rfc3339(us: int) -> str:
    """Write us as `YYYY-MM-DDTHH:MM:SS.ffffffZ`: fixed width, so text order is time order.

    Raises:
        OverflowError: the instant is outside the years 1 to 9999.
    """
    minute, rest = divmod(us, MINUTE)
    second, fraction = divmod(rest, SECOND)
    return f"{_minute_prefix(minute)}{second:02d}.{fraction:06d}Z"


@lru_cache(maxsize=4096)
def _minute_prefix(minute: int) -> str:
    """`YYYY-MM-DDTHH:MM:` of one UTC minute; instants written together share it, hence the speed."""
    return (EPOCH + timedelta(minutes=minute)).strftime("%Y-%m-%dT%H:%M:").zfill(17)


def format_local(us: int, tz: tzinfo) -> str:
    """Write us as RFC 3339 in `tz` with its offset: `2026-03-29T03:00:00+02:00`, fraction only if any.

    RFC 3339 offsets have no seconds, so those of old local mean times are rounded down with the clock moved
    along: the text still names the same instant.

    Raises:
        OverflowError: the instant is outside the years 1 to 9999.
    """
    local = to_datetime(us, tz)
    offset = local.utcoffset()
    if offset is not None and offset.seconds % 60:
        whole = timedelta(days=offset.days, seconds=offset.seconds // 60 * 60)
        local = local - offset + whole
        minutes = (whole.days * 86_400 + whole.seconds) // 60
        sign, minutes = ("-", -minutes) if minutes < 0 else ("+", minutes)
        return f"{local.replace(tzinfo=None).isoformat()}{sign}{minutes // 60:02d}:{minutes % 60:02d}"
    return local.isoformat()


def _bad(text: str, reason: str, suggestion: str) -> ScheduleError:
    return ScheduleError(text, "instant", text, reason, suggestion)
