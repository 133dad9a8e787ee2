"""The explanation of a schedule: sentence, next times, notes and warnings."""

from __future__ import annotations

import pytest

from aico_sched.schedule import Explanation, ScheduleError, explain, parse_rfc3339

BERLIN = "Europe/Berlin"


def explained(text: str, start: str, count: int = 3, zone: str = BERLIN) -> Explanation:
    return explain(text, zone, parse_rfc3339(start), count)


def test_a_time_in_a_gap() -> None:
    answer = explained("30 2 * * *", "2026-03-28T12:00:00Z", 2)
    assert answer == Explanation(
        expression="30 2 * * *",
        timezone=BERLIN,
        kind="cron",
        description="At 02:30",
        next=("2026-03-29T03:00:00+02:00", "2026-03-30T02:30:00+02:00"),
        notes=("2026-03-29: 02:30 does not exist, runs once at 03:00",),
        warnings=(),
    )


@pytest.mark.parametrize(
    ("text", "start", "zone", "note"),
    [
        (
            "15,45 2 * * *",
            "2026-03-28T12:00:00Z",
            BERLIN,
            "2026-03-29: 02:15 to 02:45 do not exist, runs once at 03:00",
        ),
        ("*/15 2 * * *", "2026-03-28T12:00:00Z", BERLIN, "2026-03-29: 02:00 to 02:45 do not exist and are skipped"),
        ("30 2 * * *", "2026-10-24T12:00:00Z", BERLIN, "2026-10-25: 02:30 comes twice, runs the first time only"),
        ("0 */1 * * *", "2026-10-24T23:30:00Z", BERLIN, "2026-10-25: 02:00 comes twice, runs both times"),
        (
            "0 9 * * *",
            "2011-12-29T23:00:00Z",
            "Pacific/Apia",
            "2011-12-30: 09:00 does not exist, runs once at 2011-12-31 00:00",
        ),
    ],
)
def test_notes(text: str, start: str, zone: str, note: str) -> None:
    assert explained(text, start, zone=zone).notes == (note,)


def test_no_notes_beyond_the_times_shown() -> None:
    assert explained("30 2 * * *", "2026-03-20T12:00:00Z").notes == ()
    assert explained("30 12 * * *", "2026-03-20T12:00:00Z", 20).notes == ()
    assert explained("30 2 * * *", "2026-03-29T01:00:00Z", 20).notes == ()


@pytest.mark.parametrize(
    ("text", "description"),
    [
        ("*/5 * * * *", "Every 5 minutes"),
        ("0 9 * * MON-FRI", "At 09:00, Monday through Friday"),
        ("0 0 13 * FRI", "At 00:00, on day 13 of the month, or on Friday"),
        ("0 0 */2 * FRI", "At 00:00, every 2 days, and only if it is on Friday"),
        ("0 0 LW,15 * *", "At 00:00, on day 15 or the last weekday of the month"),
        ("0 0 1,L * *", "At 00:00, on day 1 or the last day of the month"),
        ("0 0 L/2 * *", "At 00:00, on the last day of the month"),
        ("0 0 * * 5L", "At 00:00, on the last Friday of the month"),
        ("0 0 * * 3,5L,MON#2", "At 00:00, on every Wednesday, the second Monday or the last Friday of the month"),
        ("*/90 * * * *", "Every hour"),
        ("@hourly", "Every hour"),
        ("@reboot", "Once at every start of the service"),
        ("interval:1", "Every second, counted from its first due time"),
        ("interval:0.25", "Every 0.25 seconds, counted from its first due time"),
        ("interval:3600", "Every hour, counted from its first due time"),
        ("interval:172800", "Every 2 days, counted from its first due time"),
        ("at:2026-06-01T10:00:00Z", "Once, at 2026-06-01T12:00:00+02:00"),
    ],
)
def test_descriptions(text: str, description: str) -> None:
    assert explained(text, "2026-01-01T00:00:00Z").description == description


def test_the_other_kinds() -> None:
    start = "2026-01-01T00:00:00Z"
    assert explained("interval:5", start, 2).next == ("2026-01-01T01:00:05+01:00", "2026-01-01T01:00:10+01:00")
    assert explained("at:2026-06-01T10:00:00Z", start).next == ("2026-06-01T12:00:00+02:00",)
    assert explained("at:2020-06-01T10:00:00Z", start).next == ()
    assert explained("@reboot", start).next == ()
    assert explained("5/15 * * * *", start, 0).next == ()
    assert explained("5/15 * * * *", start).warnings != ()


def test_bad_requests() -> None:
    with pytest.raises(ScheduleError):
        explained("61 * * * *", "2026-01-01T00:00:00Z")
    for count in (-1, 1001):
        with pytest.raises(ValueError, match="count"):
            explained("* * * * *", "2026-01-01T00:00:00Z", count)
