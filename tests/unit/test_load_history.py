"""The load of the last hour: one sample a step, for an hour, whoever asks how often."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from aico_sched.load_history import SPAN, STEP, LoadHistory
from aico_sched.topics.views import HistoryView


def reports(ended: int, **health: float) -> dict[str, dict[str, Any]]:
    return {"executor": {"ended": ended, "running": 2}, "health": health, "scheduler": {"ready": 3}}


def test_a_sample_says_how_much_ended_since_the_one_before() -> None:
    history = LoadHistory()
    history.observe(100.0, 0, reports(50, cpu_percent=12.5, memory_percent=40, loop_lag_ms=1.5))
    history.observe(101.0, 1_000_000, reports(55))
    history.observe(100.0 + STEP, 15_000_000, reports(80))
    history.observe(100.0 + 2 * STEP, 30_000_000, reports(15))
    samples = HistoryView.model_validate(history.view()).samples
    assert [sample.ended_per_second for sample in samples] == [0.0, 2.0, 1.0]
    first = samples[0]
    assert (first.at, first.cpu_percent, first.memory_percent) == ("1970-01-01T00:00:00.000000Z", 12.5, 40)
    assert (first.loop_lag_ms, first.running, first.due) == (1.5, 2, 3)


@given(st.lists(st.floats(0.01, 400), max_size=400))
def test_it_holds_an_hour_at_most(pauses: list[float]) -> None:
    history, at = LoadHistory(), 0.0
    for pause in pauses:
        at += pause
        history.observe(at, int(at * 1_000_000), {})
    samples = history.view()["samples"]
    assert len(samples) <= SPAN / (STEP * 0.95) + 1
    assert bool(samples) == bool(pauses)
    assert HistoryView.model_validate(history.view())
