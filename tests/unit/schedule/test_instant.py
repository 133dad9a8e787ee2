"""Instants to and from text."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest

from aico_sched.schedule import (
    ScheduleError,
    format_local,
    format_rfc3339,
    from_datetime,
    parse_rfc3339,
    to_datetime,
)


@pytest.mark.parametrize(
    ("text", "utc"),
    [
        ("2026-03-29T01:30:00Z", "2026-03-29T01:30:00.000000Z"),
        ("2026-03-29t01:30:00z", "2026-03-29T01:30:00.000000Z"),
        ("2026-03-29 01:30:00.5+02:00", "2026-03-28T23:30:00.500000Z"),
        ("2026-03-29T01:30:00.1234567-00:30", "2026-03-29T02:00:00.123456Z"),
        ("1969-12-31T23:59:59.999999Z", "1969-12-31T23:59:59.999999Z"),
        ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00.000000Z"),
        ("9999-12-31T23:59:59.999999Z", "9999-12-31T23:59:59.999999Z"),
    ],
)
def test_reading_and_writing(text: str, utc: str) -> None:
    assert format_rfc3339(parse_rfc3339(text)) == utc


@pytest.mark.parametrize(
    "text",
    [
        "2026-03-29T01:30:00",
        "2026-03-29",
        "20260329T013000Z",
        "2026-03-29T01:30Z",
        "2026-02-30T00:00:00Z",
        "2026-03-29T24:00:00Z",
        "2026-03-29T01:30:60Z",
        "2026-03-29T01:30:00+2500",
        "2026-03-29T01:30:00+25:00",
        "2026-W13-7T00:00:00Z",
        "0001-01-01T00:00:00+14:00",
        "\uff12026-03-29T01:30:00Z",
        "tomorrow",
        "",
        "2026-03-29T01:30:00." + "1" * 10_000 + "Z",
    ],
)
def test_refused(text: str) -> None:
    with pytest.raises(ScheduleError) as caught:
        parse_rfc3339(text)
    assert (caught.value.field, caught.value.text) == ("instant", text)


def test_naive_datetimes_are_refused() -> None:
    with pytest.raises(ScheduleError, match="no UTC offset"):
        from_datetime(datetime(2026, 1, 1))


def test_datetimes_round_trip_exactly() -> None:
    random_source = random.Random(3)
    for _ in range(2000):
        moment = datetime(1, 1, 2, tzinfo=UTC) + timedelta(
            days=random_source.randrange(3_650_000), microseconds=random_source.randrange(86_400_000_000)
        )
        local = moment.astimezone(timezone(timedelta(minutes=random_source.randrange(-720, 840))))
        us = from_datetime(local)
        assert to_datetime(us) == moment
        assert format_rfc3339(us) == moment.strftime("%Y").zfill(4) + moment.strftime("-%m-%dT%H:%M:%S.%fZ")
        assert parse_rfc3339(format_rfc3339(us)) == us


def test_text_order_is_time_order() -> None:
    random_source = random.Random(4)
    instants = sorted(random_source.randrange(-(10**16), 10**17) for _ in range(500))
    texts = [format_rfc3339(us) for us in instants]
    assert texts == sorted(texts)
    assert {len(text) for text in texts} == {27}


@pytest.mark.parametrize(
    ("utc", "zone", "local"),
    [
        ("2026-03-29T00:59:59Z", "Europe/Berlin", "2026-03-29T01:59:59+01:00"),
        ("2026-03-29T01:00:00Z", "Europe/Berlin", "2026-03-29T03:00:00+02:00"),
        ("2026-03-29T01:00:00.25Z", "UTC", "2026-03-29T01:00:00.250000+00:00"),
        # Before 1972 Liberia was 44 min 30 s behind; the text names the same instant with a whole minute.
        ("1970-01-01T00:00:00Z", "Africa/Monrovia", "1969-12-31T23:15:00-00:45"),
    ],
)
def test_local_text(utc: str, zone: str, local: str) -> None:
    us = parse_rfc3339(utc)
    assert format_local(us, ZoneInfo(zone)) == local
    assert parse_rfc3339(local) == us


@pytest.mark.parametrize("us", [10**18, -(10**17)])
def test_instants_outside_the_calendar(us: int) -> None:
    for call in (format_rfc3339, to_datetime):
        with pytest.raises(OverflowError):
            call(us)
