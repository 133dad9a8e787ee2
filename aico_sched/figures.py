"""What the actors' reports mean: which of their numbers count what, and the summaries made of them. Pure.

Counters grow while the service runs; gauges stand for a moment. Names are `actor.figure`, as in `scheduler.stats`.
"""

from collections.abc import Mapping
from typing import Any, Final

from aico_sched.histogram import BOUNDS_MS, percentile
from aico_sched.rolling import Rolling, flat

Reports = Mapping[str, Mapping[str, Any]]

OUTCOMES: Final = ("succeeded", "failed", "timed_out", "cancelled", "interrupted")

_OF_EVERY_ACTOR: Final = ("messages", "turns", "restarts", "dropped", "retried", "busy_s")
_COUNTERS: Final = {
    "executor": ("started", "ended", *OUTCOMES, "seconds_total", "failures", "start_delay"),
    "scheduler": ("claims", "deferred", "clock_steps", "loads", "lateness"),
    "store": ("commits", "commands", "refused", "deduplicated", "claimed"),
    "bridge": ("received", "refused", "replies", "events", "published", "log_lines_dropped"),
    "health": ("samples", "constrained", "incidents", "lag"),
}
_GAUGES: Final = {
    "executor": ("running", "waiting"),
    "scheduler": ("ready", "held", "known", "free"),
    "health": ("cpu_percent", "memory_percent", "loop_lag_ms"),
    "bridge": ("unsent",),
}


def observe(rolling: Rolling, at: float, reports: Reports) -> None:
    """Take the reports into the window."""
    counters: dict[str, Any] = {}
    gauges: dict[str, Any] = {}
    for actor, report in reports.items():
        wanted = (*_OF_EVERY_ACTOR, *_COUNTERS.get(actor, ()))
        counters[actor] = {name: report[name] for name in wanted if name in report}
        gauges[actor] = {name: report[name] for name in _GAUGES.get(actor, ()) if name in report}
    rolling.observe(at, flat(counters), flat(gauges))


def within_window(rolling: Rolling, reports: Reports) -> dict[str, dict[str, Any]]:
    """The reports with what their counters have counted within the window instead of since the start."""
    return {
        actor: {
            name: int(rolling.counted(f"{actor}.{name}"))
            if name in (*_OF_EVERY_ACTOR, *_COUNTERS.get(actor, ())) and isinstance(value, int)
            else value
            for name, value in report.items()
        }
        for actor, report in reports.items()
    }


def lately(rolling: Rolling, at: float) -> dict[str, Any]:
    """`recent` of `scheduler.stats`: rates per second, gauges as {now, mean, min, max}, percentiles in milliseconds."""
    ended = rolling.counted("executor.ended")
    failed = rolling.counted("executor.failed") + rolling.counted("executor.timed_out")
    return {
        "seconds": rolling.seconds(at),
        "rates": {
            "executions": rolling.rate("executor.ended", at),
            "starts": rolling.rate("executor.started", at),
            "commands": rolling.rate("store.commands", at),
            "events": rolling.rate("bridge.events", at),
            "commits": rolling.rate("store.commits", at),
        },
        "executions": {
            "ended": ended,
            **{name: rolling.counted(f"executor.{name}") for name in OUTCOMES},
            "failure_rate": failed / ended if ended else 0.0,
            "seconds_mean": rolling.counted("executor.seconds_total") / ended if ended else 0.0,
        },
        "failures": rolling.counted_below("executor.failures."),
        "resource_incidents": rolling.counted_below("health.incidents."),
        "lateness_ms": _spread(rolling, "scheduler.lateness"),
        "start_delay_ms": _spread(rolling, "executor.start_delay"),
        "loop_lag_ms": _spread(rolling, "health.lag"),
        "busy": {actor: rolling.rate(f"{actor}.busy_s", at) for actor in sorted(_COUNTERS)},
        "queue_depth": rolling.range("scheduler.ready"),
        "held": rolling.range("scheduler.held"),
        "running": rolling.range("executor.running"),
        "cpu_percent": rolling.range("health.cpu_percent"),
        "memory_percent": rolling.range("health.memory_percent"),
    }


def _spread(rolling: Rolling, name: str) -> dict[str, Any]:
    counts = [rolling.counted(f"{name}.counts.{number}") for number in range(len(BOUNDS_MS) + 1)]
    total = sum(counts)
    return {
        "count": total,
        "mean": rolling.counted(f"{name}.total_ms") / total if total else None,
        **{f"p{share:g}": percentile(counts, share / 100) for share in (50, 95, 99)},
    }


PEAKS: Final = {
    "running": "executor.running",
    "queue_depth": "scheduler.ready",
    "held": "scheduler.held",
    "cpu_percent": "health.cpu_percent",
    "memory_percent": "health.memory_percent",
    "loop_lag_ms": "health.loop_lag_ms",
    "executions_per_second": "executor.ended",
}
"""What is kept at its highest: the gauges by their names, and one rate."""


def raised(peaks: Mapping[str, float], rolling: Rolling, at: float) -> dict[str, float]:
    """The peaks, with what has risen above them."""
    found = dict(peaks)
    for name, figure in PEAKS.items():
        value = rolling.rate(figure, at) if name.endswith("_per_second") else rolling.range(figure).get("now", 0.0)
        found[name] = max(found.get(name, 0.0), value)
    return found
