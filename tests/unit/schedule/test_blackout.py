"""Blackout windows: what they cover, where they end, and what is refused."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aico_sched.schedule import ScheduleError, from_datetime, to_datetime
from aico_sched.schedule.blackout import MAX_WINDOWS, parse_blackout

BERLIN = ZoneInfo("Europe/Berlin")


def ends(texts: str | list[str], moment: str, zone: str = "Europe/Berlin") -> str | None:
    """The local end of the blackout around a local moment."""
    windows = (texts,) if isinstance(texts, str) else tuple(texts)
    local = datetime.fromisoformat(moment)
    found = parse_blackout(windows, zone).covering(from_datetime(local.replace(tzinfo=ZoneInfo(zone))))
    return None if found is None else to_datetime(found[0]).astimezone(ZoneInfo(zone)).isoformat(timespec="minutes")


@pytest.mark.parametrize(
    ("windows", "moment", "end"),
    [
        ("09:00-17:00", "2026-01-05T08:59:59", None),
        ("09:00-17:00", "2026-01-05T09:00:00", "2026-01-05T17:00+01:00"),
        ("09:00-17:00", "2026-01-05T17:00:00", None),
        ("22:00-06:00", "2026-01-05T23:00:00", "2026-01-06T06:00+01:00"),
        ("22:00-06:00", "2026-01-06T05:59:00", "2026-01-06T06:00+01:00"),
        # Of a window that reaches into the next day the day it starts on counts: 2026-01-02 is a Friday.
        ("FRI 22:00-06:00", "2026-01-03T05:00:00", "2026-01-03T06:00+01:00"),
        ("FRI 22:00-06:00", "2026-01-02T05:00:00", None),
        ("sat,SUN 00:00-24:00", "2026-01-03T12:00:00", "2026-01-05T00:00+01:00"),
        ("SAT-MON 00:00-24:00", "2026-01-05T12:00:00", "2026-01-06T00:00+01:00"),
        ("2026-12-24..2026-12-26", "2026-12-24T00:00:00", "2026-12-27T00:00+01:00"),
        ("2026-12-24..2026-12-26", "2026-12-23T23:59:59", None),
        (["08:00-12:00", "12:00-14:00", "13:00-15:00"], "2026-01-05T09:00:00", "2026-01-05T15:00+01:00"),
        # The clock goes from 02:00 to 03:00 on 2026-03-29, and from 03:00 back to 02:00 on 2026-10-25.
        ("01:00-02:30", "2026-03-29T01:30:00", "2026-03-29T03:30+02:00"),
        ("01:00-05:00", "2026-10-25T02:30:00", "2026-10-25T05:00+01:00"),
    ],
)
def test_what_a_window_covers_and_where_it_ends(windows: str | list[str], moment: str, end: str | None) -> None:
    assert ends(windows, moment) == end


def test_the_end_is_never_before_the_instant_it_covers() -> None:
    blackout = parse_blackout(("01:00-02:30",), "Europe/Berlin")
    second_time = from_datetime(datetime(2026, 10, 25, 2, 15, tzinfo=BERLIN, fold=1))
    found = blackout.covering(second_time)
    assert found is not None
    assert found[0] > second_time


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "is not a blackout window"),
        ("9:00-17:00", "is not a blackout window"),
        ("25:00-26:00", "is no time of day"),
        ("10:60-11:00", "is no time of day"),
        ("10:00-10:00", "begins where it ends"),
        ("XYZ 10:00-11:00", "is no day of the week"),
        ("MON-XYZ 10:00-11:00", "is no day of the week"),
        ("2026-02-30..2026-03-01", "a date that is none"),
        ("2026-03-02..2026-03-01", "ends before it begins"),
        ("00:00-24:00", "leaves no time at all"),
    ],
)
def test_what_cannot_be_is_refused(text: str, reason: str) -> None:
    with pytest.raises(ScheduleError, match=reason):
        parse_blackout((text,), "UTC")


def test_windows_that_leave_nothing_between_them_are_refused() -> None:
    with pytest.raises(ScheduleError, match="leaves no time at all"):
        parse_blackout(("MON-FRI 00:00-24:00", "SAT 00:00-24:00", "SUN 00:00-12:00", "SUN 12:00-24:00"), "UTC")
    with pytest.raises(ScheduleError, match="one window too many"):
        parse_blackout(("10:00-11:00",) * (MAX_WINDOWS + 1), "UTC")


@given(
    st.integers(0, 1_439),
    st.integers(1, 1_200),
    st.datetimes(datetime(2026, 1, 1), datetime(2027, 12, 31)),
    st.sampled_from(["UTC", "Europe/Berlin", "Australia/Lord_Howe", "America/New_York"]),
)
def test_just_before_the_end_is_covered_and_the_end_is_not(
    start: int, length: int, moment: datetime, zone: str
) -> None:
    end = (start + length) % 1_440
    text = f"{start // 60:02}:{start % 60:02}-{end // 60:02}:{end % 60:02}"
    blackout = parse_blackout((text,), zone)
    at = from_datetime(moment.replace(tzinfo=UTC))
    found = blackout.covering(at)
    if found is None:
        local = to_datetime(at).astimezone(ZoneInfo(zone)).replace(tzinfo=None)
        minute = local.hour * 60 + local.minute
        assert (minute - start) % 1_440 >= length
        return
    assert found[0] > at
    assert blackout.covering(found[0]) is None
    assert found[0] - at <= (length + 60) * 60_000_000
    assert to_datetime(found[0]) - timedelta(microseconds=1) >= to_datetime(at)
