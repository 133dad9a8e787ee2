"""The battery, as far as the machine tells of one."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
from structlog.testing import capture_logs

from aico_sched.host import PsutilSampler


def raises(error: Exception) -> Callable[[], Any]:
    def battery() -> Any:
        raise error

    return battery


@pytest.mark.parametrize(
    ("battery", "expected"),
    [
        (lambda: None, False),
        (lambda: SimpleNamespace(power_plugged=True), False),
        (lambda: SimpleNamespace(power_plugged=None), False),
        (lambda: SimpleNamespace(power_plugged=False), True),
        (raises(FileNotFoundError("/sys/class/power_supply/BAT0/capacity")), False),
        (raises(ValueError("invalid literal for int()")), False),
    ],
    ids=["none", "plugged", "unknown", "unplugged", "pulled", "odd"],
)
def test_only_a_battery_that_is_certainly_in_use_counts(
    battery: Callable[[], Any], expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(psutil, "sensors_battery", battery, raising=False)
    sampler = PsutilSampler()
    with capture_logs() as lines:
        assert [sampler.sample().on_battery for _ in range(3)] == [expected] * 3
    assert len(lines) <= 1, "told once"


def test_a_system_without_the_question(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(psutil, "sensors_battery", raising=False)
    assert PsutilSampler().sample().on_battery is False
