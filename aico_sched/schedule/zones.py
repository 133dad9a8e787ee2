"""Time zones as integer arithmetic: which UTC offset holds around an instant, and where it changes.

`zoneinfo` answers one instant at a time. Asking it at every step is what makes cron libraries slow, so a
`Zone` remembers stretches of about six days: an `int` where the offset is constant there and for a day and a
half on either side, or the `Window`s around a change. Everything is derived from `zoneinfo` (IANA tz database
of the host, else the `tzdata` package).
"""

from __future__ import annotations

import difflib
import re
from datetime import timedelta
from functools import lru_cache
from itertools import pairwise
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo, available_timezones

from aico_sched.schedule.errors import TimezoneError
from aico_sched.schedule.instant import DAY, EPOCH, MAX_US, MIN_US, SECOND

# A stretch is 2**39 us (6.4 days), probed every 2**37 us (1.6 days). The margin of one probe on both sides is
# wider than the largest change of offset (24 h), and no two changes since 1906 are closer than 3.9 days.
SPAN_BITS: Final = 39
_PROBE: Final = 1 << 37
_PROBES: Final = range(-1, 6)
_MAX_SPANS: Final = 2048
_SAFE_MIN: Final = MIN_US + 3 * DAY
_SAFE_MAX: Final = MAX_US - 3 * DAY

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+){0,3}")
_MAX_NAME: Final = 64
# Copies of the database that count leap seconds, or only repeat the main one under another name.
_REFUSED = ("posix/", "right/")


class Window(NamedTuple):
    """The UTC offset is `offset` us for every instant in [start, end)."""

    start: int
    end: int
    offset: int


class Change(NamedTuple):
    """At the instant `at` the clock jumps from wall-clock time `wall_before` to `wall_after` (all in us)."""

    at: int
    wall_before: int
    wall_after: int


class _Spans(dict[int, "int | tuple[Window, ...]"]):
    """Stretch number -> constant offset, or the windows around a change; filled on demand and bounded."""

    __slots__ = ("_info",)

    def __init__(self, info: ZoneInfo) -> None:
        super().__init__()
        self._info = info

    def __missing__(self, number: int) -> int | tuple[Window, ...]:
        if len(self) >= _MAX_SPANS:
            self.clear()
        base = number << SPAN_BITS
        points = [base + k * _PROBE for k in _PROBES]
        offsets = [self._offset(point) for point in points]
        span: int | tuple[Window, ...] = offsets[0]
        if offsets.count(offsets[0]) != len(offsets):
            span = self._windows(points, offsets)
        self[number] = span
        return span

    def _offset(self, us: int) -> int:
        """The offset at one instant, in us; the ends of the calendar count as three days inside it."""
        safe = min(max(us, _SAFE_MIN), _SAFE_MAX)
        delta = (EPOCH + timedelta(microseconds=safe)).astimezone(self._info).utcoffset()
        assert delta is not None
        return (delta.days * 86_400 + delta.seconds) * SECOND

    def _windows(self, points: list[int], offsets: list[int]) -> tuple[Window, ...]:
        """Cut the probed stretch where the offset changes."""
        windows = []
        start = points[0]
        for k in range(1, len(points)):
            if offsets[k] != offsets[k - 1]:
                change = self._find_change(points[k - 1], points[k], offsets[k - 1])
                windows.append(Window(start, change, offsets[k - 1]))
                start = change
        windows.append(Window(start, points[-1], offsets[-1]))
        return tuple(windows)

    def _find_change(self, low: int, high: int, before: int) -> int:
        """The first second in (low, high] whose offset is not `before`; changes fall on whole seconds."""
        low //= SECOND
        high = -(-high // SECOND)
        while high - low > 1:
            middle = (low + high) // 2
            if self._offset(middle * SECOND) == before:
                low = middle
            else:
                high = middle
        return high * SECOND


class Zone:
    """One IANA time zone. Get it from `load_zone`; safe to share between threads."""

    __slots__ = ("info", "name", "spans")

    def __init__(self, name: str, info: ZoneInfo) -> None:
        self.name = name
        self.info = info
        self.spans = _Spans(info)

    def windows_at(self, us: int) -> tuple[Window, ...]:
        """The windows of at least 38 hours before and after `us`; one window where nothing changes."""
        span = self.spans[us >> SPAN_BITS]
        if isinstance(span, int):
            base = us >> SPAN_BITS << SPAN_BITS
            return (Window(base - _PROBE, base + (1 << SPAN_BITS) + _PROBE, span),)
        return span

    def resolve(self, wall: int, guess: int) -> tuple[int, bool]:
        """Find the instant of a wall-clock time, given in us as if it were UTC.

        Args:
            wall: the wall-clock time.
            guess: an offset of this zone, at most 26 hours off.

        Returns:
            The first instant that shows this time and True; for a time that a forward change skips, the first
            instant after the gap and False.
        """
        for start, end, offset in self.windows_at(wall - guess):
            if wall < start + offset:
                return start, False
            if wall < end + offset:
                return wall - offset, True
        raise AssertionError("the margin of a span is wider than any change of offset")

    def change_around(self, wall: int, guess: int) -> Change | None:
        """The change of offset that skips a wall-clock time or shows it twice; arguments as in `resolve`."""
        for before, after in pairwise(self.windows_at(wall - guess)):
            change = Change(after.start, after.start + before.offset, after.start + after.offset)
            low, high = sorted((change.wall_before, change.wall_after))
            if low <= wall < high:
                return change
        return None


@lru_cache(maxsize=1024)
def load_zone(name: str) -> Zone:
    """Look up an IANA zone by its exact name, such as `Europe/Berlin` or `UTC`.

    Raises:
        TimezoneError: no such zone; the suggestion names the nearest ones.
    """
    if len(name) > _MAX_NAME or _NAME.fullmatch(name) is None or name.startswith(_REFUSED):
        raise TimezoneError(name, "is not an IANA time zone name", "Write a name like Europe/Berlin, or UTC.")
    try:
        return Zone(name, ZoneInfo(name))
    except (KeyError, ValueError, OSError):
        raise TimezoneError(name, "is not a known time zone", _nearest(name)) from None


def _nearest(name: str) -> str:
    """Only on the way to an error, because listing the zones reads the whole database."""
    by_lower = {zone.lower(): zone for zone in available_timezones()}
    by_lower.update({zone.rpartition("/")[2].lower(): zone for zone in by_lower.values()})
    close = difflib.get_close_matches(name.lower(), by_lower, n=3)
    names = list(dict.fromkeys(by_lower[match] for match in close))
    return f"Did you mean {' or '.join(names)}?" if names else "Write a name like Europe/Berlin, or UTC."
