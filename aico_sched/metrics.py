"""The figures of `scheduler.stats` and `scheduler.health` as OpenMetrics text, for Prometheus and its kin.

A registry of its own: what the embedding program measures stays out of it, and ours out of its.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, get_args

from prometheus_client import CollectorRegistry
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
    StateSetMetricFamily,
)
from prometheus_client.openmetrics.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector

from aico_sched.histogram import BOUNDS_MS
from aico_sched.topics.views import BreakerState

CONTENT_TYPE: Final = CONTENT_TYPE_LATEST
"""What `render` makes, for the Content-Type header."""

PREFIX: Final = "aico_sched_"

_ACTOR_COUNTERS: Final = (
    ("messages", "actor_messages", "Messages that actors have handled.", ""),
    ("turns", "actor_turns", "Turns of actors, each a batch of messages.", ""),
    ("restarts", "actor_restarts", "Actors that were restarted after a crash.", ""),
    ("dropped", "actor_dropped_messages", "Messages given up because no instance survived them.", ""),
    ("busy_s", "actor_busy_seconds", "Time actors have spent on the event loop.", "seconds"),
)
_COUNTERS: Final = (
    ("store", "commands", "commands", "Commands that change something."),
    ("store", "refused", "commands_refused", "Commands that were refused."),
    ("store", "deduplicated", "commands_repeated", "Commands that were answered as before."),
    ("store", "commits", "commits", "Transactions made durable."),
    ("bridge", "events", "events_published", "Events put on the bus."),
    ("bridge", "received", "bus_messages_received", "Commands taken from the bus."),
    ("scheduler", "claims", "claims", "Claims of due work sent to the store."),
    ("scheduler", "deferred", "deferred_starts", "Starts put off for lack of resources."),
    ("scheduler", "passed_over", "slots_passed_over", "Slots left out under lasting load."),
    ("scheduler", "breaker_opened", "breaker_opened", "Times that the circuit breaker opened."),
    ("executor", "abandoned", "attempts_abandoned", "Attempts left to themselves because they did not end."),
    ("scheduler", "clock_steps", "clock_steps", "Times that the system clock was set."),
)
_GAUGES: Final = (
    ("executor", "running", "running", "Attempts that run now."),
    ("executor", "waiting", "waiting", "Claimed attempts that wait for a place."),
    ("executor", "limit", "concurrency_limit", "Attempts that may run at once."),
    ("scheduler", "ready", "queue_depth", "Due work that waits to be claimed."),
    ("scheduler", "held", "held", "Due work that is put off."),
    ("scheduler", "known", "horizon_entries", "Tasks and runs in the near horizon."),
    ("store", "tasks", "tasks", "Tasks there are."),
    ("store", "dead_letters", "dead_letters", "Executions that failed for good and wait for somebody."),
    ("store", "database_bytes", "database_bytes", "Size of the database without its log."),
    ("bridge", "unsent", "bus_unsent_messages", "Messages that wait for the bus to take them."),
)
_HISTOGRAMS: Final = (
    ("scheduler", "lateness", "start_lateness_seconds", "How long after its time due work was claimed."),
    ("executor", "start_delay", "start_delay_seconds", "From a durable claim to the task's first line."),
    ("health", "lag", "loop_lag_seconds", "How late the event loop was."),
)


def render(stats: Mapping[str, Any], health: Mapping[str, Any]) -> bytes:
    """The answers to `scheduler.stats` and `scheduler.health` as OpenMetrics text.

    A figure that is missing (its actor did not answer) is left out. Counters count from the start of the service,
    `aico_sched_execution_events` from the making of the database.
    """
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Figures(stats, health))
    text: bytes = generate_latest(registry)  # type: ignore[no-untyped-call]
    return text


class _Figures(Collector):
    """One pair of answers."""

    def __init__(self, stats: Mapping[str, Any], health: Mapping[str, Any]) -> None:
        self._stats, self._health = stats, health
        self._actors: Mapping[str, Mapping[str, Any]] = stats.get("actors", {})

    def collect(self) -> Iterable[Metric]:
        """Every family, those without a sample left out."""
        for make in (
            self._state, self._executions, self._of_actors, self._plain, self._durations, self._machine,
            self._environments, self._caches,
        ):  # fmt: skip
            yield from (family for family in make() if family.samples)

    def _state(self) -> Iterator[Metric]:
        info = InfoMetricFamily(PREFIX + "service", "The service.")
        info.add_metric([], {"version": str(self._health.get("version", ""))})
        yield info
        status = StateSetMetricFamily(PREFIX + "health", "The service's own judgement.")
        states = ("healthy", "degraded", "critical")
        status.add_metric([], {state: state == self._health.get("status") for state in states})
        yield status
        breaker = StateSetMetricFamily(PREFIX + "breaker", "The circuit breaker of the event loop.")
        if (state := self._actors.get("scheduler", {}).get("breaker")) is not None:
            breaker.add_metric([], {name: name == state for name in get_args(BreakerState)})
        yield breaker
        yield self._labelled(GaugeMetricFamily, "up", "Whether it is live, and whether it is ready.", "probe",
                             {name: int(bool(self._health.get(name))) for name in ("live", "ready")})  # fmt: skip
        checks = {name: int(bool(check.get("ok", True))) for name, check in self._health.get("checks", {}).items()}
        yield self._labelled(GaugeMetricFamily, "check", "Whether a check of health found nothing.", "check", checks)
        if "uptime_seconds" in self._stats:
            yield GaugeMetricFamily(
                PREFIX + "uptime_seconds", "Since the service started.", self._stats["uptime_seconds"], unit="seconds"
            )

    def _executions(self) -> Iterator[Metric]:
        executor = self._actors.get("executor", {})
        outcomes = ("succeeded", "failed", "timed_out", "cancelled", "interrupted")
        ended = {name: executor[name] for name in outcomes if name in executor}
        yield self._labelled(CounterMetricFamily, "attempts", "Attempts that have ended.", "outcome", ended)
        failures = executor.get("failures", {})
        yield self._labelled(CounterMetricFamily, "failures", "Failed attempts by type of error.", "error", failures)
        if "seconds_total" in executor:
            yield CounterMetricFamily(
                PREFIX + "attempt_seconds", "Time that attempts have taken.", executor["seconds_total"], unit="seconds"
            )
        totals = self._stats.get("totals", {})
        text = "Events of executions since the database was made."
        yield self._labelled(CounterMetricFamily, "execution_events", text, "event", totals)
        waiting = self._actors.get("store", {}).get("statuses", {})
        yield self._labelled(GaugeMetricFamily, "executions_open", "Executions that are not over.", "status", waiting)

    def _of_actors(self) -> Iterator[Metric]:
        for figure, name, text, unit in _ACTOR_COUNTERS:
            values = {actor: report[figure] for actor, report in self._actors.items() if figure in report}
            yield self._labelled(CounterMetricFamily, name, text, "actor", values, unit)

    def _plain(self) -> Iterator[Metric]:
        for actor, figure, name, text in _COUNTERS:
            value = self._actors.get(actor, {}).get(figure)
            if value is not None:
                yield CounterMetricFamily(PREFIX + name, text, value)
        for actor, figure, name, text in _GAUGES:
            value = self._actors.get(actor, {}).get(figure)
            if value is not None:
                yield GaugeMetricFamily(PREFIX + name, text, value)

    def _durations(self) -> Iterator[Metric]:
        for actor, figure, name, text in _HISTOGRAMS:
            report = self._actors.get(actor, {}).get(figure)
            if report is None:
                continue
            buckets: list[tuple[str, float]] = []
            reached = 0
            for bound, count in zip((*(str(ms / 1_000) for ms in BOUNDS_MS), "+Inf"), report["counts"], strict=True):
                reached += count
                buckets.append((bound, reached))
            family = HistogramMetricFamily(PREFIX + name, text, unit="seconds")
            family.add_metric([], buckets, report["total_ms"] / 1_000)
            yield family

    def _machine(self) -> Iterator[Metric]:
        host = self._stats.get("host", {})
        load = {name: host[f"{name}_percent"] / 100 for name in ("cpu", "memory") if f"{name}_percent" in host}
        yield self._labelled(GaugeMetricFamily, "host_load_ratio", "Use of the machine.", "resource", load, "ratio")
        incidents = self._actors.get("health", {}).get("incidents", {})
        text = "Times that a resource became scarce."
        yield self._labelled(CounterMetricFamily, "resource_incidents", text, "resource", incidents)

    def _environments(self) -> Iterator[Metric]:
        family = GaugeMetricFamily(
            PREFIX + "environment", "Figures of where attempts run.", labels=["environment", "figure"]
        )
        for environment, report in self._actors.get("executor", {}).get("environments", {}).items():
            for figure, value in report.items():
                if isinstance(value, int | float):
                    family.add_metric([environment, figure], value)
        yield family

    def _caches(self) -> Iterator[Metric]:
        caches = self._stats.get("caches", {})
        sizes = {name: cache["size"] for name, cache in caches.items() if "size" in cache}
        yield self._labelled(GaugeMetricFamily, "cache_entries", "Entries of each cache.", "cache", sizes)
        for figure in ("hits", "misses"):
            counts = {name: cache[figure] for name, cache in caches.items() if figure in cache}
            text = f"Cache {figure}."
            yield self._labelled(CounterMetricFamily, f"cache_{figure}", text, "cache", counts)

    def _labelled(
        self,
        kind: type[CounterMetricFamily] | type[GaugeMetricFamily],
        name: str,
        text: str,
        label: str,
        values: Mapping[str, float],
        unit: str = "",
    ) -> Metric:
        family = kind(PREFIX + name, text, labels=[label], unit=unit)
        for value, count in values.items():
            family.add_metric([value], count)
        return family
