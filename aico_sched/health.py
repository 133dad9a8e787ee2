"""Judging the service's health and the machine's load. Pure."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from math import inf
from types import MappingProxyType
from typing import Any

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


def _sandbox(executor: Mapping[str, Any]) -> dict[str, Any]:
    """How well the newest run of a user's task was shut in. What the machine does not offer is a reason to look, but
    none to call the service unwell; a sandbox that cannot be had at all fails the runs."""
    level = executor.get("environments", {}).get("sandbox", {}).get("sandbox")
    if level is None:
        return {"ok": True, "level": "not used yet", "missing": []}
    return {"ok": not level["missing"], "level": level["level"], "missing": level["missing"]}


def judge(
    reports: Mapping[str, Mapping[str, Any]],
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
    breaker = reports.get("scheduler", {}).get("breaker", "closed")
    silent = sorted(set(expected) - reports.keys())
    ended = executor.get("ended", 0)
    failed = executor.get("failed", 0) + executor.get("timed_out", 0)
    rate = failed / ended if ended >= FEWEST_ATTEMPTS else 0.0
    restarts = {name: report["restarts"] for name, report in reports.items() if report.get("restarts")}
    dropped = sum(report.get("dropped", 0) for report in reports.values())
    lost_lines = reports.get("bridge", {}).get("log_lines_dropped", 0)
    checks: dict[str, dict[str, Any]] = {
        "actors": {"ok": not silent, "silent": silent, "restarts": restarts},
        "messages": {"ok": not dropped, "dropped": dropped},
        "log_topic": {"ok": not lost_lines, "dropped": lost_lines},
        "failures": {"ok": rate < FAILURE_RATE_LIMIT, "ended": ended, "failed": failed},
        "task_classes": {"ok": not store.get("unavailable"), "unavailable": store.get("unavailable", [])},
        "dead_letters": {"ok": True, "count": store.get("dead_letters", 0)},
        "database": {"ok": database.state in ("", "maintenance"), "state": database.state, "detail": database.detail},
        "load": {"ok": not load.constrained, "cpu_percent": load.cpu_percent, "memory_percent": load.memory_percent},
        "sandbox": _sandbox(executor),
        "breaker": {"ok": breaker == "closed", "state": breaker},
        "loop": {"ok": load.loop_lag <= LAG_LIMIT, "lag_seconds": load.loop_lag, "lag_seconds_max": lag_max},
    }
    reasons = []
    if breaker != "closed":
        reasons.append(f"the event loop was blocked and is given a rest (the circuit breaker is {breaker})")
    if silent:
        reasons.append(f"no answer from {', '.join(silent)}")
    if restarts:
        reasons.append(f"actors have crashed and were restarted: {', '.join(sorted(restarts))}")
    if dropped:
        reasons.append(f"{dropped} messages could not be handled and were dropped")
    if lost_lines:
        reasons.append(f"{lost_lines} lines of the log found no room on scheduler.log_topic")
    if rate >= FAILURE_RATE_LIMIT:
        reasons.append(f"{rate:.0%} of the attempts failed")
    if store.get("unavailable"):
        reasons.append(f"task classes are missing for {', '.join(store['unavailable'][:5])}")
    if load.constrained:
        reasons.append(load.constrained)
    if load.loop_lag > LAG_LIMIT:
        reasons.append(f"the event loop is {load.loop_lag * 1_000:.0f} ms behind")
    if keys:
        oldest = max(keys, key=lambda name: keys[name])
        days = round(keys[oldest], 1)
        checks["keys"] = {"ok": days <= max_key_age, "count": len(keys), "oldest": oldest, "oldest_days": days}
        if days > max_key_age:
            reasons.append(f"the key of {oldest} is {days:.0f} days old; run: aico-sched keys rotate {oldest}")
    if database.state:
        reasons.append(_DATABASE[database.state].format(database.detail))
    critical = silent or dropped or rate >= CRITICAL_FAILURE_RATE or database.state in CRITICAL_STATES
    status = "critical" if critical else "degraded" if reasons else "healthy"
    return status, reasons, checks
