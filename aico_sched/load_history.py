"""The load of the last hour, a sample now and then. Pure: time is an argument."""

from collections import deque
from collections.abc import Mapping
from typing import Any, Final

from aico_sched.schedule import format_rfc3339

SPAN: Final = 3_600.0
"""Seconds that are kept, in memory; after a restart of the service it begins anew."""

STEP: Final = 15.0
"""Seconds between two samples."""

_LATE: Final = 0.05
"""The part of a step by which a sample may be early, since those who bring them do not keep time exactly."""


class LoadHistory:
    """Samples as `topics.views.LoadSample`, the oldest first."""

    def __init__(self) -> None:
        self._samples: deque[tuple[float, dict[str, Any]]] = deque()
        self._at: float | None = None
        self._ended = 0

    def observe(self, at: float, now_us: int, reports: Mapping[str, Mapping[str, Any]]) -> None:
        """The actors' figures now; of those that come sooner than a step after the last sample none is taken. `at`
        are seconds that never go back, `now_us` the time of day."""
        passed = None if self._at is None else at - self._at
        if passed is not None and passed < STEP * (1 - _LATE):
            return
        executor, health = reports.get("executor", {}), reports.get("health", {})
        ended = int(executor.get("ended", 0))
        # An executor that was restarted counts from zero.
        more = ended - self._ended if ended >= self._ended else ended
        while self._samples and self._samples[0][0] <= at - SPAN:
            self._samples.popleft()
        self._samples.append(
            (
                at,
                {
                    "at": format_rfc3339(now_us),
                    "cpu_percent": float(health.get("cpu_percent", 0.0)),
                    "memory_percent": float(health.get("memory_percent", 0.0)),
                    "loop_lag_ms": float(health.get("loop_lag_ms", 0.0)),
                    "running": int(executor.get("running", 0)),
                    "due": int(reports.get("scheduler", {}).get("ready", 0)),
                    "ended_per_second": 0.0 if passed is None else more / passed,
                },
            )
        )
        self._at, self._ended = at, ended

    def view(self) -> dict[str, Any]:
        """As `topics.views.HistoryView`."""
        return {"interval_seconds": STEP, "samples": [sample for _, sample in self._samples]}
