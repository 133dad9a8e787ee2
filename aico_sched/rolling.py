"""What happened lately: counters and gauges over a window that moves with time. Pure: time is an argument."""

from collections import deque
from collections.abc import Mapping
from typing import Any, NamedTuple


class _Look(NamedTuple):
    at: float
    counts: dict[str, float]
    gauges: dict[str, float]


class Rolling:
    """Takes in the present value of counters and gauges now and then, and tells how they moved within the last `span`
    seconds. It keeps at most one look in `step` seconds, so its size does not depend on how often it is fed.

    A counter that falls has started anew at zero (its actor was restarted); what it had counted is not lost.
    """

    def __init__(self, span: float, step: float, at: float) -> None:
        self._span, self._step = span, step
        self._last: dict[str, float] = {}
        self._sums: dict[str, float] = {}
        self._looks: deque[_Look] = deque([_Look(at, {}, {})])

    def observe(self, at: float, counters: Mapping[str, float], gauges: Mapping[str, float]) -> None:
        """The values now."""
        for name, value in counters.items():
            before = self._last.get(name, 0.0)
            self._sums[name] = self._sums.get(name, 0.0) + (value - before if value >= before else value)
            self._last[name] = value
        if at - self._looks[-1].at >= self._step or not self._looks[-1].gauges:
            self._looks.append(_Look(at, dict(self._sums), dict(gauges)))
        # The oldest one kept is where the window begins.
        while len(self._looks) > 1 and self._looks[1].at <= at - self._span:
            self._looks.popleft()

    def seconds(self, at: float) -> float:
        """How long the window is by now; shorter than `span` soon after the start."""
        return max(0.0, at - self._looks[0].at)

    def counted(self, name: str) -> float:
        """By how much a counter has grown within the window."""
        return self._sums.get(name, 0.0) - self._looks[0].counts.get(name, 0.0)

    def counted_below(self, prefix: str) -> dict[str, float]:
        """The same of every counter whose name starts with `prefix`, without it; those that have not moved are left
        out."""
        found = {name.removeprefix(prefix): self.counted(name) for name in self._sums if name.startswith(prefix)}
        return {name: count for name, count in found.items() if count}

    def rate(self, name: str, at: float) -> float:
        """The same per second."""
        seconds = self.seconds(at)
        return self.counted(name) / seconds if seconds > 0 else 0.0

    def range(self, name: str) -> dict[str, float]:
        """Of a gauge {now, mean, min, max} within the window; empty if it was never seen."""
        values = [look.gauges[name] for look in self._looks if name in look.gauges]
        if not values:
            return {}
        return {"now": values[-1], "mean": sum(values) / len(values), "min": min(values), "max": max(values)}


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, float]:
    """Every number in nested maps and lists, by its path with dots; what is no number is left out."""
    found: dict[str, float] = {}
    for name, value in values.items():
        path = f"{prefix}{name}"
        if isinstance(value, Mapping):
            found.update(flat(value, f"{path}."))
        elif isinstance(value, list | tuple):
            found.update(flat(dict(enumerate(value)), f"{path}."))  # type: ignore[arg-type]
        elif isinstance(value, int | float) and not isinstance(value, bool):
            found[path] = value
    return found
