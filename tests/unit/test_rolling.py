"""The window over counters and gauges, histograms, and what is made of them."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aico_sched.figures import lately, observe, raised, within_window
from aico_sched.histogram import BOUNDS_MS, Histogram, percentile
from aico_sched.rolling import Rolling, flat

SPAN, STEP = 60.0, 1.0


@given(st.lists(st.tuples(st.floats(0.01, 30), st.integers(0, 50)), max_size=200))
def test_a_counter_s_growth_is_that_of_the_window(moves: list[tuple[float, int]]) -> None:
    rolling = Rolling(SPAN, STEP, 0.0)
    at, value, history = 0.0, 0, [(0.0, 0)]
    for pause, growth in moves:
        at += pause
        value += growth
        history.append((at, value))
        rolling.observe(at, {"n": value}, {"g": 1.0})
        # The window begins at a look that lies at most one step and one pause before `span` ago.
        longest = value - max((v for t, v in history if t <= at - SPAN - STEP - 30), default=0)
        shortest = value - min((v for t, v in history if t >= at - SPAN), default=value)
        assert shortest <= rolling.counted("n") <= longest
        assert rolling.seconds(at) <= SPAN + STEP + 30


@given(st.lists(st.integers(0, 100), min_size=1, max_size=50))
def test_a_restart_loses_nothing_that_was_counted(growths: list[int]) -> None:
    """The counter starts anew at 0 after each look."""
    rolling = Rolling(math.inf, 0.0, 0.0)
    before = total = 0
    for at, growth in enumerate(growths, 1):
        # A restarted counter that has already passed its old value cannot be told from one that went on.
        expected = growth - before if growth >= before else growth
        total += expected
        before = growth
        rolling.observe(float(at), {"n": growth}, {})
    assert rolling.counted("n") == total


@settings(deadline=None)
@given(st.lists(st.floats(0, 0.5), min_size=1, max_size=500))
def test_its_size_does_not_depend_on_how_often_it_is_fed(pauses: list[float]) -> None:
    rolling, at = Rolling(SPAN, STEP, 0.0), 0.0
    for pause in pauses:
        at += pause
        rolling.observe(at, {"n": 1}, {"g": pause})
    assert len(rolling._looks) <= SPAN / STEP + 3


def test_a_gauge_has_its_mean_and_its_extremes() -> None:
    rolling = Rolling(10.0, 1.0, 0.0)
    for at, value in ((1.0, 5.0), (2.0, 1.0), (3.0, 3.0)):
        rolling.observe(at, {}, {"g": value})
    assert rolling.range("g") == {"now": 3.0, "mean": 3.0, "min": 1.0, "max": 5.0}
    rolling.observe(12.5, {}, {"g": 2.0})
    assert rolling.range("g") == {"now": 2.0, "mean": 2.0, "min": 1.0, "max": 3.0}
    assert rolling.range("other") == {}


@given(st.lists(st.floats(0, 10_000_000), min_size=1, max_size=200), st.floats(0.01, 1))
def test_a_percentile_is_the_end_of_the_class_that_holds_it(values: list[float], share: float) -> None:
    histogram = Histogram()
    for value in values:
        histogram.add(value)
    assert sum(histogram.counts) == len(values)
    exact = sorted(values)[max(0, math.ceil(share * len(values) - 1e-9) - 1)]
    found = percentile(histogram.counts, share)
    assert found == next((bound for bound in BOUNDS_MS if bound >= exact), BOUNDS_MS[-1])


def test_nothing_counted_has_no_percentile() -> None:
    assert percentile(Histogram().counts, 0.5) is None
    backwards = Histogram()
    backwards.add(-5.0)
    assert (backwards.counts[0], backwards.total_ms) == (1, 0.0)


def test_nested_numbers_are_found_by_their_path() -> None:
    assert flat({"a": 1, "b": {"c": [2.5, 3], "d": "text", "e": True, "f": None}}) == {"a": 1, "b.c.0": 2.5, "b.c.1": 3}


def reports(ended: int, failed: int, restarts: int = 0) -> dict[str, dict[str, object]]:
    delay = Histogram()
    for _ in range(ended):
        delay.add(3.0)
    executor = {
        "ended": ended, "failed": failed, "seconds_total": ended * 0.5, "failures": {"OSError": failed}, "running": 2,
        "start_delay": delay.report(), "restarts": restarts, "limit": 10,
    }  # fmt: skip
    return {"executor": executor}


def test_the_window_forgives_what_is_over() -> None:
    rolling = Rolling(10.0, 1.0, 0.0)
    observe(rolling, 1.0, reports(20, 20, 1))
    assert within_window(rolling, reports(20, 20, 1))["executor"]["failed"] == 20
    observe(rolling, 20.0, reports(60, 20, 1))
    observe(rolling, 21.0, reports(60, 20, 1))
    found = within_window(rolling, reports(60, 20, 1))["executor"]
    assert (found["ended"], found["failed"], found["restarts"], found["limit"], found["running"]) == (40, 0, 0, 10, 2)
    recent = lately(rolling, 21.0)
    assert recent["executions"]["failure_rate"] == 0
    assert recent["executions"]["seconds_mean"] == 0.5
    assert recent["failures"] == {}
    assert recent["rates"]["executions"] == pytest.approx(2.0)
    assert (recent["start_delay_ms"]["count"], recent["start_delay_ms"]["p99"]) == (40, 5.0)
    assert recent["lateness_ms"]["p50"] is None


def test_peaks_only_rise() -> None:
    rolling = Rolling(10.0, 1.0, 0.0)
    observe(rolling, 1.0, reports(10, 0))
    peaks = raised({"running": 7.0, "executions_per_second": 1.0}, rolling, 1.0)
    assert (peaks["running"], peaks["executions_per_second"]) == (7.0, 10.0)
