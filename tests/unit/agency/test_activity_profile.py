"""What is learned of a user: it must beat the baseline on hours it has not seen, or not be used."""

import random
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aico_sched.quiet import HOUR_US, HOURS, QuietHours, hour_of_week, hour_start
from aico_sched.tasks.agency.activity_profile import ActivityProfile, CostProfile
from tests.support.people import Habit, night_shift, office

UTC_ZONE = ZoneInfo("UTC")
MONDAY = datetime(2026, 1, 5, tzinfo=UTC)


def us(at: datetime) -> int:
    return int(at.timestamp()) * 1_000_000


def learned(habit: Habit, days: int, seed: int = 3) -> ActivityProfile:
    draw, profile = random.Random(seed), ActivityProfile()
    for hour in range(days * 24):
        at = MONDAY + timedelta(hours=hour)
        profile.learn(us(at), draw.random() < habit(at), UTC_ZONE)
    return profile


@pytest.mark.parametrize("habit", [office, night_shift])
@pytest.mark.parametrize("seed", range(5))
def test_the_week_beats_the_baseline_on_hours_it_had_not_seen(habit: Habit, seed: int) -> None:
    profile = learned(habit, 42, seed)
    errors = profile.brier()
    assert errors["hour_of_week"] < 0.95 * errors["hour_of_day"] < 0.95 * errors["constant"]
    assert profile.best(14) == "hour_of_week"


@pytest.mark.parametrize("seed", range(5))
def test_a_user_without_a_rhythm_leaves_the_default_in_force(seed: int) -> None:
    profile = learned(lambda at: 0.4, 42, seed)
    assert profile.best(14) is None
    assert profile.quiet_hours(14, 0.8, UTC_ZONE, {}) is None


def test_days_that_are_all_alike_are_told_by_the_hour_of_the_day() -> None:
    models = [learned(lambda at: 0.9 if at.hour >= 8 else 0.03, 42, seed).best(14) for seed in range(5)]
    assert None not in models and "hour_of_day" in models


def test_nothing_counts_before_enough_days_were_seen() -> None:
    assert learned(office, 13).best(14) is None
    assert learned(office, 15).best(14) is not None


def test_the_stated_confidence_is_about_how_often_it_is_right() -> None:
    profile = learned(office, 56)
    quiet = profile.quiet_hours(14, 0.8, UTC_ZONE, {})
    assert quiet is not None
    draw, said, came = random.Random(99), [], []
    for hour in range(28 * 24):
        at = MONDAY + timedelta(days=56, hours=hour)
        if quiet.is_quiet(us(at), "x"):
            said.append(quiet.confidence[hour_of_week(us(at), UTC_ZONE)])
            came.append(draw.random() >= office(at))
    assert abs(sum(said) / len(said) - sum(came) / len(came)) < 0.05


def test_a_run_fits_into_the_quiet_or_does_not_start() -> None:
    quiet = QuietHours.of_window("02:00-05:00", "Europe/Berlin")
    long = QuietHours(quiet.zone, quiet.confidence, quiet.threshold, "x", {"user.long": 7_200.0})
    at = us(datetime(2026, 1, 5, 3, 30, tzinfo=ZoneInfo("Europe/Berlin")))
    assert quiet.is_quiet(at, "user.long") and not long.is_quiet(at, "user.long") and long.is_quiet(at, "user.short")
    assert long.is_quiet(at - HOUR_US, "user.long")
    assert quiet.describe_next(at + 4 * HOUR_US, "x") == "quiet from Tue 02:00"


@given(st.integers(0, 4_000_000_000), st.sampled_from(["UTC", "Asia/Kolkata", "America/St_Johns", "Europe/Berlin"]))
def test_the_next_quiet_moment_is_quiet_and_none_is_before_it(second: int, zone: str) -> None:
    quiet, at = QuietHours.of_window("23:00-01:00", zone), second * 1_000_000
    found = quiet.next_quiet(at, "x")
    assert found is not None and quiet.is_quiet(found, "x") and at <= found <= at + 25 * HOUR_US
    for moment in range(at, found, 600_000_000):
        assert not quiet.is_quiet(moment, "x")
    assert hour_start(at, quiet.zone) <= at < hour_start(at, quiet.zone) + HOUR_US


@given(st.lists(st.floats(0, 1), min_size=HOURS, max_size=HOURS), st.floats(0, 1))
def test_quiet_hours_survive_being_plain(confidence: list[float], threshold: float) -> None:
    quiet = QuietHours(UTC_ZONE, tuple(confidence), threshold, "hour_of_week", {"a.b": 1.5})
    assert QuietHours.from_plain(quiet.plain()) == quiet


@pytest.mark.parametrize("window", ["", "2-5", "02:00-02:00", "24:00-03:00", "02:30-05:00", "02:00-05:00\n"])
def test_no_window(window: str) -> None:
    with pytest.raises(ValueError, match="whole hours"):
        QuietHours.of_window(window, "UTC")


@pytest.mark.parametrize("plain", [{}, {"confidence": [0.5] * 3, "seconds": {}, "zone": "UTC", "threshold": 0.5}])
def test_no_quiet_hours(plain: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="quiet hours"):
        QuietHours.from_plain(plain)


@given(st.lists(st.floats(0, 10_000), min_size=1, max_size=50))
def test_an_expected_cost_lies_at_or_above_the_mean(seconds: list[float]) -> None:
    cost = CostProfile()
    for one in seconds:
        cost.learn(one)
    assert cost.runs == len(seconds) and cost.expected >= cost.mean >= 0
