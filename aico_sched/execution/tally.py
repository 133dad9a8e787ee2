"""What the executor counts of its runs. Pure."""

from collections import Counter
from typing import Any, Final

from aico_sched.histogram import Histogram
from aico_sched.topics.internal import AttemptEnd

FAILURE_KINDS: Final = 50
"""Types of error that are counted each by itself."""

COUNTED: Final = (
    "started",
    "ended",
    "succeeded",
    "failed",
    "timed_out",
    "cancelled",
    "interrupted",
    "abandoned",
)


class Tally:
    """Runs by outcome, how long they took, and how late they began, since the executor started."""

    def __init__(self) -> None:
        self.counts = dict.fromkeys(COUNTED, 0)
        self._failures: Counter[str] = Counter()
        self._delay = Histogram()
        self._delay_ms_max = self._seconds_total = self._seconds_max = 0.0

    def started(self, delay_ms: float) -> None:
        """A run began so many milliseconds after it was claimed."""
        self.counts["started"] += 1
        self._delay_ms_max = max(self._delay_ms_max, delay_ms)
        self._delay.add(delay_ms)

    def ended(self, end: AttemptEnd) -> None:
        """A run has ended."""
        self.counts["ended"] += 1
        self.counts[end.outcome] += 1
        if end.error_type is not None:
            known = end.error_type in self._failures or len(self._failures) < FAILURE_KINDS
            self._failures[end.error_type if known else "other"] += 1
        seconds = (end.completed_us - end.started_us) / 1_000_000
        self._seconds_total += seconds
        self._seconds_max = max(self._seconds_max, seconds)

    def report(self) -> dict[str, Any]:
        """As the executor reports it."""
        return {
            **self.counts,
            "failures": dict(self._failures),
            "start_delay": self._delay.report(),
            "start_delay_ms_max": self._delay_ms_max,
            "seconds_total": self._seconds_total,
            "seconds_max": self._seconds_max,
        }
