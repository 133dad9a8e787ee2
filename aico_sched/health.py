"""Judging the service's health and the machine's load. Pure."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from math import inf
from types import MappingProxyType
from typing import Any, NamedTuple

from aico_sched.host import HostSample
from aico_sched.topics.internal import Load, StoreState

FAILURE_RATE_LIMIT = 0.10
"""From this share of failed attempts on the service is degraded (the seeds' rule: healthy is below it)."""

CRITICAL_FAILURE_RATE = 0.50
"""From this share on hardly anything works any more."""

WELL = StoreState("", "")

NO_KEYS: Mapping[str, float] = MappingProxyType({})

FEWEST_ATTEMPTS = 10
"""Fewer attempts than this say nothing about a rate."""

LAG_LIMIT = 0.1

CRITICAL_STATES = frozenset({"full", "read_only", "damaged"})
"""States of the database in which nothing can be changed."""


_DATABASE = {
    "maintenance": "the database is being worked on ({}); commands wait until that is through",
    "full": "the disk of the database is full; changes are refused until there is room: {}",
    "read_only": "the database cannot be written; changes are refused until it can: {}",
    "damaged": "the database is damaged ({}); stop the service and run: aico-sched restore FILE",
}


@dataclass(frozen=True, slots=True)
class Thresholds:
    """Percent. At 100 a threshold never holds anything back."""

    max_cpu: float
    max_memory: float
    idle_cpu: float
    idle_memory: float


def constraint(sample: HostSample, thresholds: Thresholds) -> str:
    """Why nothing new should start now; empty if all is well."""
    if sample.cpu_percent > thresholds.max_cpu:
        return f"CPU load {sample.cpu_percent:.0f} % is over scheduler.max_cpu_percent ({thresholds.max_cpu:g} %)"
    if sample.memory_percent > thresholds.max_memory:
        used, limit = sample.memory_percent, thresholds.max_memory
        return f"memory use {used:.0f} % is over scheduler.max_memory_percent ({limit:g} %)"
    return ""


def not_idle(sample: HostSample, thresholds: Thresholds) -> str:
    """Why the machine has something better to do than what is for idle hours; empty if it has not."""
    if sample.cpu_percent > thresholds.idle_cpu:
        used, limit = sample.cpu_percent, thresholds.idle_cpu
        return f"CPU load {used:.0f} % is over scheduler.idle_threshold_cpu ({limit:g} %)"
    if sample.memory_percent > thresholds.idle_memory:
        used, limit = sample.memory_percent, thresholds.idle_memory
        return f"memory use {used:.0f} % is over scheduler.idle_threshold_memory ({limit:g} %)"
    return "it runs on its battery" if sample.on_battery else ""


class _Finding(NamedTuple):
    """One check: what was found, and what is to be said of it if that is not well."""

    name: str
    check: dict[str, Any]
    reasons: tuple[str, ...] = ()


Reports = Mapping[str, Mapping[str, Any]]


def _said(*reasons: tuple[Any, str]) -> tuple[str, ...]:
    """The reasons that hold."""
    return tuple(text for holds, text in reasons if holds)


def _of_actors(reports: Reports, silent: list[str], dropped: int) -> list[_Finding]:
    """Whether the actors answer and handle all they get."""
    restarts = {name: report["restarts"] for name, report in reports.items() if report.get("restarts")}
    lost = reports.get("bridge", {}).get("log_lines_dropped", 0)
    return [
        _Finding(
            "actors",
            {"ok": not silent, "silent": silent, "restarts": restarts},
            _said(
                (silent, f"no answer from {', '.join(silent)}"),
                (restarts, f"actors have crashed and were restarted: {', '.join(sorted(restarts))}"),
            ),
        ),
        _Finding(
            "messages",
            {"ok": not dropped, "dropped": dropped},
            _said((dropped, f"{dropped} messages could not be handled and were dropped")),
        ),
        _Finding(
            "log_topic",
            {"ok": not lost, "dropped": lost},
            _said((lost, f"{lost} lines of the log found no room on scheduler.log_topic")),
        ),
    ]


def _failure_rate(executor: Mapping[str, Any]) -> tuple[int, int, float]:
    """Attempts that ended, those that failed, and the share, 0 while there are too few to tell."""
    ended = executor.get("ended", 0)
    failed = executor.get("failed", 0) + executor.get("timed_out", 0)
    return ended, failed, failed / ended if ended >= FEWEST_ATTEMPTS else 0.0


def _of_runs(executor: Mapping[str, Any], store: Mapping[str, Any]) -> list[_Finding]:
    """How runs end, and whether all tasks can run."""
    ended, failed, rate = _failure_rate(executor)
    unavailable = store.get("unavailable", [])
    return [
        _Finding(
            "failures",
            {"ok": rate < FAILURE_RATE_LIMIT, "ended": ended, "failed": failed},
            _said((rate >= FAILURE_RATE_LIMIT, f"{rate:.0%} of the attempts failed")),
        ),
        _Finding(
            "task_classes",
            {"ok": not unavailable, "unavailable": unavailable},
            _said((unavailable, f"task classes are missing for {', '.join(unavailable[:5])}")),
        ),
        _Finding("dead_letters", {"ok": True, "count": store.get("dead_letters", 0)}),
        _Finding("sandbox", _sandbox(executor)),
    ]


def _sandbox(executor: Mapping[str, Any]) -> dict[str, Any]:
    """How well the newest run of a user's task was shut in. What the machine does not offer is a reason to look, but
    none to call the service unwell; a sandbox that cannot be had at all fails the runs."""
    level = executor.get("environments", {}).get("sandbox", {}).get("sandbox")
    if level is None:
        return {"ok": True, "level": "not used yet", "missing": []}
    return {"ok": not level["missing"], "level": level["level"], "missing": level["missing"]}


def _of_breaker(breaker: str) -> _Finding:
    text = f"the event loop was blocked and is given a rest (the circuit breaker is {breaker})"
    return _Finding("breaker", {"ok": breaker == "closed", "state": breaker}, _said((breaker != "closed", text)))


def _of_load(load: Load, lag_max: float) -> list[_Finding]:
    """Whether the machine and the event loop keep up."""
    late, lag = load.loop_lag > LAG_LIMIT, load.loop_lag
    return [
        _Finding(
            "load",
            {"ok": not load.constrained, "cpu_percent": load.cpu_percent, "memory_percent": load.memory_percent},
            _said((load.constrained, load.constrained)),
        ),
        _Finding(
            "loop",
            {"ok": not late, "lag_seconds": lag, "lag_seconds_max": lag_max},
            _said((late, f"the event loop is {lag * 1_000:.0f} ms behind")),
        ),
    ]


def _of_keys(keys: Mapping[str, float], max_age: float) -> list[_Finding]:
    if not keys:
        return []
    oldest = max(keys, key=lambda name: keys[name])
    days = round(keys[oldest], 1)
    check = {"ok": days <= max_age, "count": len(keys), "oldest": oldest, "oldest_days": days}
    text = f"the key of {oldest} is {days:.0f} days old; run: aico-sched keys rotate {oldest}"
    return [_Finding("keys", check, _said((days > max_age, text)))]


def _of_database(database: StoreState) -> _Finding:
    check = {"ok": database.state in ("", "maintenance"), "state": database.state, "detail": database.detail}
    if not database.state:
        return _Finding("database", check)
    return _Finding("database", check, (_DATABASE[database.state].format(database.detail),))


def judge(
    reports: Reports,
    expected: Collection[str],
    load: Load,
    lag_max: float,
    database: StoreState = WELL,
    keys: Mapping[str, float] = NO_KEYS,
    max_key_age: float = inf,
) -> tuple[str, list[str], dict[str, dict[str, Any]]]:
    """Status (healthy, degraded, critical), the reasons in words, and each check with what it found. The counters among
    the reports are to be those of a window of time, so that what is over is forgiven. `keys` are the ages of the keys
    of the bus's clients by name; they and `max_key_age` are days."""
    executor, store = reports.get("executor", {}), reports.get("store", {})
    silent = sorted(set(expected) - reports.keys())
    dropped = sum(report.get("dropped", 0) for report in reports.values())
    findings = [
        _of_breaker(reports.get("scheduler", {}).get("breaker", "closed")),
        *_of_actors(reports, silent, dropped),
        *_of_runs(executor, store),
        *_of_load(load, lag_max),
        *_of_keys(keys, max_key_age),
        _of_database(database),
    ]
    reasons = [reason for finding in findings for reason in finding.reasons]
    hopeless = _failure_rate(executor)[2] >= CRITICAL_FAILURE_RATE
    critical = silent or dropped or hopeless or database.state in CRITICAL_STATES
    status = "critical" if critical else "degraded" if reasons else "healthy"
    return status, reasons, {finding.name: finding.check for finding in findings}
