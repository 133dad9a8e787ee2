"""Intervals, single moments, @reboot, and what all kinds of schedule share."""

from __future__ import annotations

import pickle
from datetime import UTC, datetime

import pytest

from aico_sched.schedule import (
    ScheduleError,
    TimezoneError,
    cache_stats,
    configure_caches,
    from_datetime,
    next_run,
    parse_rfc3339,
    parse_schedule,
)

SECOND = 1_000_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR
NOW = from_datetime(datetime(2026, 6, 15, 12, tzinfo=UTC))


@pytest.fixture
def fresh_caches() -> None:
    configure_caches(4096)


@pytest.mark.parametrize(
    ("text", "period"),
    [
        ("interval:5", 5 * SECOND),
        ("interval:0.001", 1000),
        ("interval:0.250000", 250_000),
        ("interval:0.0333", 33_300),
        ("INTERVAL: 60 ", MINUTE),
        ("interval:315576000", 315_576_000 * SECOND),
    ],
)
def test_interval_periods_are_exact(text: str, period: int) -> None:
    schedule = parse_schedule(text, "UTC")
    assert (schedule.kind, schedule.expression, schedule.period_us) == ("interval", text, period)


@pytest.mark.parametrize(
    "text", ["0", "-5", "+5", "x", "", "1e3", "0.0009", "0.0000001", "315576001", "1_0", "nan", "\uff15"]
)
def test_interval_refused(text: str) -> None:
    with pytest.raises(ScheduleError) as caught:
        parse_schedule(f"interval:{text}", "UTC")
    assert (caught.value.field, caught.value.text) == ("interval", text)


def test_an_interval_does_not_drift_over_a_million_fires() -> None:
    schedule = parse_schedule("interval:0.0333", "UTC")
    anchor = now = NOW + 7
    for _ in range(1_000_000):
        now = schedule.next_after(now, anchor)  # type: ignore[assignment]
    assert now == anchor + 1_000_000 * 33_300


def test_an_interval_fires_first_one_period_after_its_anchor() -> None:
    schedule = parse_schedule("interval:10", "UTC")
    assert schedule.next_after(NOW - DAY, NOW) == NOW + 10 * SECOND
    assert schedule.next_after(NOW, NOW) == NOW + 10 * SECOND
    assert schedule.next_after(NOW + 10 * SECOND - 1, NOW) == NOW + 10 * SECOND
    assert schedule.next_after(NOW + 10 * SECOND, NOW) == NOW + 20 * SECOND


def test_the_latest_slot_of_an_interval() -> None:
    schedule = parse_schedule("interval:5", "UTC")
    now = NOW + 14 * DAY + 3 * SECOND
    assert schedule.latest_at_or_before(now, NOW, NOW) == NOW + 14 * DAY
    assert schedule.latest_at_or_before(now, NOW + 14 * DAY, NOW) is None
    assert schedule.latest_at_or_before(NOW, NOW - DAY, NOW) is None
    assert schedule.count_between(NOW, now, NOW, limit=10**9) == 14 * 86_400 // 5
    assert schedule.count_between(NOW, now, NOW) == 10_000
    assert schedule.count_between(NOW - DAY, NOW, NOW) == 0


def test_at_fires_once() -> None:
    schedule = parse_schedule("at:2026-06-15T14:00:00.5+02:00", "Europe/Berlin")
    due = NOW + SECOND // 2
    assert (schedule.kind, schedule.period_us) == ("at", None)
    assert schedule.next_after(NOW) == due
    assert schedule.next_after(due) is None
    assert schedule.latest_at_or_before(due, NOW) == due
    assert schedule.latest_at_or_before(due - 1, NOW) is None
    assert schedule.latest_at_or_before(due + DAY, due) is None
    assert schedule.count_between(NOW, due + DAY) == 1


def test_at_refuses_a_naive_time() -> None:
    with pytest.raises(ScheduleError, match="no UTC offset") as caught:
        parse_schedule("at:2026-06-15T14:00:00", "UTC")
    assert (caught.value.field, caught.value.text) == ("at", "2026-06-15T14:00:00")
    assert "Z" in caught.value.suggestion


def test_reboot_is_never_due_by_the_clock() -> None:
    schedule = parse_schedule("@reboot", "UTC")
    assert (schedule.kind, schedule.period_us) == ("reboot", None)
    assert schedule.next_after(NOW) is None
    assert schedule.latest_at_or_before(NOW, 0) is None
    assert schedule.count_between(0, NOW) == 0


@pytest.mark.parametrize(
    ("expression", "period"),
    [
        ("* * * * *", MINUTE),
        ("*/5 * * * *", 5 * MINUTE),
        ("0,59 * * * *", MINUTE),
        ("0 */6 * * *", 6 * HOUR),
        ("0 9-17 * * *", HOUR),
        ("0 1,23 * * *", 2 * HOUR),
        ("@daily", DAY),
        ("0 9 * * MON-FRI", DAY),
        ("@weekly", 7 * DAY),
        ("@monthly", 28 * DAY),
        ("@yearly", 365 * DAY),
        ("0 0 29 2 *", (4 * 365 + 1) * DAY),
    ],
)
def test_cron_periods(expression: str, period: int) -> None:
    assert parse_schedule(expression, "Europe/Berlin").period_us == period


@pytest.mark.parametrize("expression", ["* * * * *", "*/7 1-5 * * *", "30 2 * * *", "0 0 1 * *", "0 0 29 2 *"])
@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "Australia/Lord_Howe"])
def test_the_latest_slot_of_cron_is_the_last_one_of_the_walk(expression: str, zone: str) -> None:
    schedule = parse_schedule(expression, zone)
    for start in (NOW, parse_rfc3339("2026-03-28T23:00:00Z"), parse_rfc3339("2026-10-24T23:00:00Z")):
        walked = None
        fire = schedule.next_after(start)
        for end in range(start, start + 2 * DAY, 37 * MINUTE + 11):
            while fire is not None and fire <= end:
                walked, fire = fire, schedule.next_after(fire)
            assert schedule.latest_at_or_before(end, start) == walked


def test_the_latest_slot_of_two_weeks_of_minutes_takes_few_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    schedule = parse_schedule("* * * * *", "Europe/Berlin")
    steps = 0
    next_after = type(schedule).next_after

    def counted(self: object, after_us: int, anchor_us: int | None = None) -> int | None:
        nonlocal steps
        steps += 1
        return next_after(self, after_us, anchor_us)  # type: ignore[arg-type]

    monkeypatch.setattr(type(schedule), "next_after", counted)
    assert schedule.latest_at_or_before(NOW + 14 * DAY + 5, NOW) == NOW + 14 * DAY
    assert steps < 25


def test_count_between_of_cron_stops_at_its_limit() -> None:
    schedule = parse_schedule("*/5 * * * *", "UTC")
    assert schedule.count_between(NOW, NOW + DAY) == 288
    assert schedule.count_between(NOW, NOW + DAY, limit=100) == 100


def test_cron_ends_with_the_calendar() -> None:
    end = from_datetime(datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC))
    assert parse_schedule("* * * * *", "UTC").next_after(end) is None
    assert parse_schedule("* * * * *", "Asia/Tokyo").next_after(end) is None
    assert parse_schedule("0 0 29 2 *", "Europe/Berlin").next_after(end) is None


@pytest.mark.parametrize("zone", ["Africa/Monrovia", "Europe/Amsterdam", "America/New_York", "Asia/Kolkata"])
@pytest.mark.parametrize("expression", ["* * * * *", "30 2 * * *", "0 0 1 * *"])
def test_old_local_mean_times_do_not_stop_a_schedule(zone: str, expression: str) -> None:
    schedule = parse_schedule(expression, zone)
    for year in (1, 1850, 1883, 1937, 1972):
        now = from_datetime(datetime(year, 1, 5, tzinfo=UTC))
        for _ in range(50):
            fire = schedule.next_after(now)
            assert fire is not None and fire > now
            now = fire


@pytest.mark.parametrize(
    ("zone", "suggested"),
    [
        ("europe/berlin", "Europe/Berlin"),
        ("Berlin", "Europe/Berlin"),
        ("Europe/Berlni", "Europe/Berlin"),
        ("Europe", "Europe/"),
        ("../../etc/passwd", "UTC"),
        ("/etc/localtime", "UTC"),
        ("right/UTC", "UTC"),
        ("posix/Europe/Berlin", "UTC"),
        ("tzdata.zi", "UTC"),
        ("Europe/Berlin\0", "UTC"),
        ("Europe/Berlin ", "UTC"),
        ("", "UTC"),
        ("A" * 10_000, "UTC"),
    ],
)
def test_timezones_are_checked(zone: str, suggested: str) -> None:
    with pytest.raises(TimezoneError) as caught:
        parse_schedule("* * * * *", zone)
    assert (caught.value.field, caught.value.text) == ("timezone", zone)
    assert suggested in caught.value.suggestion


def test_errors_survive_pickling() -> None:
    for text, zone in (("* * *", "UTC"), ("* * * * *", "Nowhere/Else")):
        with pytest.raises(ScheduleError) as caught:
            parse_schedule(text, zone)
        copy = pickle.loads(pickle.dumps(caught.value))
        assert type(copy) is type(caught.value)
        assert str(copy) == str(caught.value)


@pytest.mark.usefixtures("fresh_caches")
def test_caches_count_and_are_bounded() -> None:
    first = parse_schedule("*/5 * * * *", "UTC")
    assert parse_schedule("*/5 * * * *", "UTC") is first
    parse_schedule("*/5 * * * *", "Europe/Berlin")
    assert next_run(first, NOW) == next_run(first, NOW) == NOW + 5 * MINUTE
    stats = cache_stats()
    assert stats["schedules"] == {"hits": 1, "misses": 2, "size": 2, "maxsize": 4096}
    assert stats["patterns"] == {"hits": 1, "misses": 1, "size": 1, "maxsize": 4096}
    assert stats["next_run"] == {"hits": 1, "misses": 1, "size": 1, "maxsize": 4096}
    configure_caches(3)
    for minute in range(10):
        parse_schedule(f"{minute} * * * *", "UTC")
    assert cache_stats()["schedules"] == {"hits": 0, "misses": 10, "size": 3, "maxsize": 3}
    configure_caches(0)
    assert parse_schedule("1 * * * *", "UTC") is not parse_schedule("1 * * * *", "UTC")
    with pytest.raises(ValueError, match="-1"):
        configure_caches(-1)
    configure_caches(4096)


def test_schedules_are_frozen() -> None:
    for text in ("* * * * *", "interval:5", "at:2026-01-01T00:00:00Z", "@reboot"):
        with pytest.raises(AttributeError):
            parse_schedule(text, "UTC").expression = "0 0 * * *"
