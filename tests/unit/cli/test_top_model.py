"""What `top` makes of the service's answers."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from aico_sched.cli.top.model import Model, Snapshot, bar

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)


def snapshot(seconds: float, ended: int, **parts: Any) -> Snapshot:
    stats = {
        "uptime_seconds": 90.0,
        "executions": {"ended": ended},
        "actors": {"executor": {"running": 2, "limit": 10, "waiting": 1}, "scheduler": {"ready": 3, "held": 4}},
        "host": {"cpu_percent": 12.4, "memory_percent": 50.0, "loop_lag": 0.0021},
    }
    health = {"status": "degraded", "reasons": ["CPU load\x1b[2J 91 % is over"]}
    lists: dict[str, Any] = {"running": [], "upcoming": [], "newest": [], "dead": []} | parts
    return Snapshot(NOW + timedelta(seconds=seconds), stats, health, **lists)


def test_throughput_is_what_ended_between_two_looks() -> None:
    model = Model()
    for seconds, ended in ((0, 100), (1, 110), (3, 150), (4, 5), (5, 8)):
        model.look(snapshot(seconds, ended))
    # The service was started anew between the third and the fourth.
    assert list(model.throughput) == [10.0, 20.0, 3.0]


def test_the_headline_tells_load_and_reasons_without_control_characters() -> None:
    model = Model()
    assert "waiting for the service" in model.headline()
    model.look(snapshot(0, 0))
    head = model.headline()
    assert "degraded" in head
    assert "running 2/10" in head
    assert "waiting 4" in head
    assert "lag 2.1 ms" in head
    assert "\x1b" not in head
    assert "91 % is over" in head


def test_a_running_execution_shows_how_far_it_is() -> None:
    run = {
        "execution_id": "e-1",
        "task_id": "user.a",
        "status": "running",
        "started_at": "2026-01-01T11:58:55Z",
        "progress": {"fraction": 0.5, "message": "half of it"},
    }
    model = Model()
    model.look(snapshot(0, 0, running=[run, {**run, "execution_id": "e-2", "progress": None}]))
    first, second = model.running()
    assert first.cells == ("e-1", "user.a", "1 min 5 s", "█████░░░░░  50%", "half of it")
    assert second.cells[3:] == ("", "")


@pytest.mark.parametrize(
    ("fraction", "shown"),
    [(None, ""), (0.0, "░░░░░░░░░░   0%"), (1.0, "██████████ 100%"), (7.0, "██████████ 100%"), (-1, "░░░░░░░░░░   0%")],
)
def test_a_bar(fraction: float | None, shown: str) -> None:
    assert bar(fraction) == shown
