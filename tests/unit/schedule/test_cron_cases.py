"""Every line of the project's list of cron cases, as Debian's cron means it and cronsim 2.8 computes it."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from aico_sched.schedule import ScheduleError, format_local, from_datetime, parse_schedule

BERLIN = "Europe/Berlin"


def fires_on(expression: str, zone: str, day: str) -> list[str]:
    """All fires of one local day as `HH:MM+HH:MM`."""
    info = ZoneInfo(zone)
    schedule = parse_schedule(expression, zone)
    now = from_datetime(datetime.fromisoformat(f"{day}T00:00:00").replace(tzinfo=info)) - 1
    found = []
    while True:
        fire = schedule.next_after(now)
        assert fire is not None and fire > now
        text = format_local(fire, info)
        if not text.startswith(day):
            return found
        found.append(f"{text[11:16]}{text[19:]}")
        now = fire


def first_fires(expression: str, zone: str, start: str, count: int) -> list[str]:
    now: int | None = from_datetime(datetime.fromisoformat(start).replace(tzinfo=ZoneInfo(zone)))
    found = []
    for _ in range(count):
        assert now is not None
        now = parse_schedule(expression, zone).next_after(now)
        assert now is not None
        found.append(format_local(now, ZoneInfo(zone)))
    return found


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("30 2 * * *", ["03:00+02:00"]),
        ("0 2 * * *", ["03:00+02:00"]),
        ("59 2 * * *", ["03:00+02:00"]),
        ("0 2-4 * * *", ["03:00+02:00", "04:00+02:00"]),
        ("30 1-3 * * *", ["01:30+01:00", "03:00+02:00", "03:30+02:00"]),
        ("15 2,3 * * *", ["03:00+02:00", "03:15+02:00"]),
        ("*/30 2 * * *", []),
        ("* 2 * * *", []),
    ],
)
def test_berlin_gap(expression: str, expected: list[str]) -> None:
    assert fires_on(expression, BERLIN, "2026-03-29") == expected


def test_berlin_gap_every_other_hour() -> None:
    assert fires_on("0 */2 * * *", BERLIN, "2026-03-29")[:2] == ["00:00+01:00", "04:00+02:00"]


def test_berlin_gap_every_quarter() -> None:
    fires = fires_on("*/15 * * * *", BERLIN, "2026-03-29")
    assert fires[fires.index("01:45+01:00") + 1] == "03:00+02:00"
    assert len(fires) == 23 * 4


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("30 2 * * *", ["02:30+02:00"]),
        ("30 2-3 * * *", ["02:30+02:00", "03:30+01:00"]),
        ("*/30 2 * * *", ["02:00+02:00", "02:30+02:00", "02:00+01:00", "02:30+01:00"]),
    ],
)
def test_berlin_overlap(expression: str, expected: list[str]) -> None:
    assert fires_on(expression, BERLIN, "2026-10-25") == expected


@pytest.mark.parametrize("expression", ["0 * * * *", "0 */1 * * *"])
def test_berlin_overlap_wildcard_hour_runs_twice(expression: str) -> None:
    fires = fires_on(expression, BERLIN, "2026-10-25")
    assert [fire for fire in fires if fire.startswith("02:00")] == ["02:00+02:00", "02:00+01:00"]
    assert len(fires) == 25


def test_berlin_overlap_listed_hours_run_once() -> None:
    fires = fires_on("0 0-23 * * *", BERLIN, "2026-10-25")
    assert [fire for fire in fires if fire.startswith("02:00")] == ["02:00+02:00"]
    assert len(fires) == 24


def test_a_fixed_time_does_not_run_again_for_a_start_inside_the_second_pass() -> None:
    second_pass = from_datetime(datetime(2026, 10, 25, 2, 10, tzinfo=ZoneInfo(BERLIN), fold=1))
    fire = parse_schedule("30 2 * * *", BERLIN).next_after(second_pass)
    assert fire is not None
    assert format_local(fire, ZoneInfo(BERLIN)) == "2026-10-26T02:30:00+01:00"


@pytest.mark.parametrize(
    ("zone", "day", "expression", "expected"),
    [
        ("Australia/Lord_Howe", "2026-10-04", "15 2 * * *", ["02:30+11:00"]),
        ("America/Santiago", "2026-09-06", "0 0 * * *", ["01:00-03:00"]),
        ("America/Santiago", "2026-09-06", "30 0 * * *", ["01:00-03:00"]),
        ("America/Santiago", "2026-04-04", "30 23 * * *", ["23:30-03:00"]),
        ("Africa/Cairo", "2026-04-24", "0 0 * * *", ["01:00+03:00"]),
        ("America/Havana", "2026-03-08", "0 0 * * *", ["01:00-04:00"]),
        ("Antarctica/Troll", "2026-03-29", "30 2 * * *", ["03:00+02:00"]),
    ],
)
def test_odd_zones(zone: str, day: str, expression: str, expected: list[str]) -> None:
    assert fires_on(expression, zone, day) == expected


def test_a_skipped_day_runs_once_right_after_it() -> None:
    fires = first_fires("30 12 * * *", "Pacific/Apia", "2011-12-29T13:00:00", 2)
    assert fires == ["2011-12-31T00:00:00+14:00", "2011-12-31T12:30:00+14:00"]


def test_a_wildcard_job_follows_the_wall_clock_over_a_gap_of_half_an_hour() -> None:
    assert fires_on("*/15 3 * * *", "Australia/Lord_Howe", "2026-10-04") == [
        "03:00+11:00",
        "03:15+11:00",
        "03:30+11:00",
        "03:45+11:00",
    ]


@pytest.mark.parametrize(
    ("expression", "days"),
    [
        # Either field.
        ("0 0 13 * FRI", ["02-06", "02-13", "02-20", "02-27", "03-06", "03-13"]),
        # Led by a star, so both: the Fridays on odd days.
        ("0 0 */2 * FRI", ["02-13", "02-27", "03-13", "03-27", "04-03", "04-17"]),
        ("0 0 L * *", ["02-28", "03-31", "04-30"]),
        # The last of February and of May 2026 fall on weekends.
        ("0 0 LW * *", ["02-27", "03-31", "04-30", "05-29"]),
        ("0 0 * * 5L", ["02-27", "03-27", "04-24"]),
        ("0 0 * * MON#2", ["02-09", "03-09", "04-13"]),
        ("0 0 1,LW * *", ["02-27", "03-01", "03-31", "04-01"]),
    ],
)
def test_days(expression: str, days: list[str]) -> None:
    fires = first_fires(expression, "UTC", "2026-02-01T12:00:00", len(days))
    assert [fire[5:10] for fire in fires] == days


def test_the_29th_or_a_monday_in_february() -> None:
    fires = first_fires("0 0 29 2 MON", "UTC", "2028-02-01T00:00:00", 6)
    assert [fire[:10] for fire in fires] == [
        "2028-02-07",
        "2028-02-14",
        "2028-02-21",
        "2028-02-28",
        "2028-02-29",
        "2029-02-05",
    ]


@pytest.mark.parametrize("start", ["2026-01-01T00:00:00", "2043-12-31T00:00:00"])
def test_the_fifth_monday_of_february(start: str) -> None:
    assert first_fires("0 0 * 2 MON#5", "UTC", start, 1) == ["2044-02-29T00:00:00+00:00"]


def test_the_rarest_day_comes_after_forty_years() -> None:
    assert first_fires("0 0 * 2 MON#5", "UTC", "2072-03-01T00:00:00", 1) == ["2112-02-29T00:00:00+00:00"]


@pytest.mark.parametrize(
    ("expression", "same_as"),
    [
        ("0 0 * * 7", "0 0 * * 0"),
        ("0 0 * * 5-7", "0 0 * * 0,5,6"),
        ("0 0 * * 0-7", "0 0 * * *"),
        ("0 0 * * SUN-MON", "0 0 * * 0,1"),
        ("00 007 * * *", "0 7 * * *"),
        ("0 0 * jan,Feb,DEC mon", "0 0 * 1,2,12 1"),
        ("  0 \t 0  *   *  * ", "0 0 * * *"),
        ("0 0 * * 7L", "0 0 * * 0L"),
        ("0 0 * * 7#2", "0 0 * * SUN#2"),
        ("*/90 * * * *", "0 * * * *"),
        ("5/15 * * * *", "5-59/15 * * * *"),
        ("@yearly", "0 0 1 1 *"),
        ("@annually", "0 0 1 1 *"),
        ("@monthly", "0 0 1 * *"),
        ("@weekly", "0 0 * * 0"),
        ("@daily", "0 0 * * *"),
        ("@midnight", "0 0 * * *"),
        ("@hourly", "0 * * * *"),
    ],
)
def test_accepted_spellings(expression: str, same_as: str) -> None:
    start = "2026-01-15T12:34:56"
    assert first_fires(expression, BERLIN, start, 40) == first_fires(same_as, BERLIN, start, 40)


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        ("*/7 * * * *", "uneven"),
        ("*/90 * * * *", "acts as 0"),
        ("5/15 * * * *", "not portable"),
        ("0 */5 * * *", "uneven"),
        ("0 0 13 * FRI", "either"),
    ],
)
def test_warned_about(expression: str, said: str) -> None:
    (warning,) = parse_schedule(expression, "UTC").warnings
    assert said in warning


@pytest.mark.parametrize("expression", ["*/5 * * * *", "0 */6 * * *", "0 0 * */3 *", "0 9 * * MON-FRI", "@daily"])
def test_not_warned_about(expression: str) -> None:
    assert parse_schedule(expression, "UTC").warnings == ()


@pytest.mark.parametrize(
    ("expression", "field", "text", "suggested"),
    [
        ("*/0 * * * *", "minute", "*/0", "*/1"),
        ("* * L/0 * *", "day-of-month", "L/0", "L/1"),
        ("60 * * * *", "minute", "60", "0 to 59"),
        ("* 24 * * *", "hour", "24", "0 to 23"),
        ("* * 0 * *", "day-of-month", "0", "1 to 31"),
        ("* * 32 * *", "day-of-month", "32", "1 to 31"),
        ("* * * 13 *", "month", "13", "1 to 12"),
        ("* * * * 8", "day-of-week", "8", "0 to 7"),
        ("1,,2 * * * *", "minute", "", "comma"),
        ("+1 * * * *", "minute", "+1", "value"),
        ("1_0 * * * *", "minute", "1_0", "value"),
        ("\uff11 * * * *", "expression", "\uff11 * * * *", "ASCII"),
        ("* * * January *", "month", "January", "JAN"),
        ("* * * * 6-0", "day-of-week", "6-0", "6-7"),
        ("* * * * FRI-MON", "day-of-week", "FRI-MON", "5-6,0-1"),
        ("* 22-2 * * *", "hour", "22-2", "22-23,0-2"),
        ("* * * NOV-FEB *", "month", "NOV-FEB", "11-12,1-2"),
        ("* * * foo *", "month", "foo", "JAN"),
        ("* * * * L", "day-of-week", "L", "5L"),
        ("* * * * MON#6", "day-of-week", "MON#6", "#5"),
        ("* * L-3 * *", "day-of-month", "L-3", "LW"),
        ("0 0 30 2 *", "day-of-month", "30 2 *", "length"),
        ("0 0 31 4 *", "day-of-month", "31 4 *", "length"),
        # Days that exclude each other: the first of the month is never its second Monday, LW never a Saturday.
        ("0 0 */90 * MON#2", "day-of-month", "*/90 * MON#2", "length"),
        ("0 0 LW * */6", "day-of-month", "LW * */6", "length"),
        ("0 0 0 * * *", "expression", "0 0 0 * * *", "interval:"),
        ("* * *", "expression", "* * *", "day-of-week"),
        ("", "expression", "", "day-of-week"),
        ("@often", "expression", "@often", "@daily"),
    ],
)
def test_refused(expression: str, field: str, text: str, suggested: str) -> None:
    with pytest.raises(ScheduleError) as caught:
        parse_schedule(expression, "UTC")
    error = caught.value
    assert (error.expression, error.field, error.text) == (expression, field, text)
    assert suggested in error.suggestion
    assert error.suggestion in str(error)
    assert field in str(error)


def test_six_fields_are_refused_by_name() -> None:
    with pytest.raises(ScheduleError, match="six fields, but seconds are refused"):
        parse_schedule("0 0 0 * * *", "UTC")


def test_a_wildcard_job_that_only_ever_falls_into_a_gap_is_refused() -> None:
    with pytest.raises(ScheduleError, match="Europe/Berlin skips"):
        parse_schedule("* 2 * 3 7L", BERLIN)
    assert parse_schedule("* 2 * 3 7L", "UTC").kind == "cron"
    assert parse_schedule("30 2 * 3 7L", BERLIN).kind == "cron"


def test_a_very_long_expression_is_refused_without_being_repeated() -> None:
    with pytest.raises(ScheduleError, match="longer than 1000") as caught:
        parse_schedule("1," * 5000 + "1 * * * *", "UTC")
    assert len(str(caught.value)) < 500


def test_a_huge_step_costs_nothing() -> None:
    schedule = parse_schedule(f"*/{'9' * 900} * * * *", "UTC")
    assert schedule.next_after(0) == 3600 * 1_000_000
