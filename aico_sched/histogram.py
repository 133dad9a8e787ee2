"""How long things took, in a handful of counts: enough for percentiles, the same size however much is counted. Pure."""

from bisect import bisect_left
from collections.abc import Sequence
from typing import Final

BOUNDS_MS: Final = (
    1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 30_000, 60_000, 300_000, 3_600_000,
)  # fmt: skip
"""Upper ends of the classes, milliseconds; one more class holds what is longer."""


class Histogram:
    """Counts durations by class; `counts` has one more entry than `BOUNDS_MS`, `total_ms` is their sum."""

    __slots__ = ("counts", "total_ms")

    def __init__(self) -> None:
        self.counts = [0] * (len(BOUNDS_MS) + 1)
        self.total_ms = 0.0

    def add(self, milliseconds: float) -> None:
        """Count one; a clock that was set back can make it negative, which counts as none."""
        self.counts[bisect_left(BOUNDS_MS, milliseconds)] += 1
        self.total_ms += max(0.0, milliseconds)

    def report(self) -> dict[str, object]:
        """As an actor reports it: {counts, total_ms}."""
        return {"counts": list(self.counts), "total_ms": self.total_ms}


def percentile(counts: Sequence[float], share: float) -> float | None:
    """The end of the class in which the value lies that `share` (0 to 1) of all are not above, milliseconds; None where
    nothing was counted. What is longer than the last bound counts as that."""
    wanted = share * sum(counts)
    if wanted <= 0:
        return None
    reached = 0.0
    for bound, count in zip((*BOUNDS_MS, BOUNDS_MS[-1]), counts, strict=True):
        reached += count
        if reached >= wanted:
            return float(bound)
    return float(BOUNDS_MS[-1])
