"""The health actor: watches the machine and the loop, gathers the other actors' figures, and says how it goes."""

from typing import Any, NamedTuple

from aico_sched.clock import Clock, Flexible
from aico_sched.health import Thresholds, constraint, is_idle, judge
from aico_sched.host import HostSampler
from aico_sched.loop_lag import LoopLag
from aico_sched.runtime.actor import Actor, answers, handles
from aico_sched.topics import names
from aico_sched.topics.internal import AskReport, Load, Report, Request

REPORT_DEADLINE = 0.5
"""Seconds an actor has for its report; one that stays silent is unresponsive, which is a finding too."""


class _Asked(NamedTuple):
    request: Request
    topic: str
    reports: dict[str, dict[str, Any]]
    deadline: float


class HealthActor(Actor):
    """Samples load every `check_interval` seconds and answers `scheduler.stats` and `scheduler.health`."""

    name = "health"

    def __init__(
        self,
        clock: Clock,
        sampler: HostSampler,
        thresholds: Thresholds,
        *,
        actors: tuple[str, ...],
        check_interval: float,
        version: str,
    ) -> None:
        super().__init__(clock)
        self._sampler, self._thresholds = sampler, thresholds
        self._actors, self._check_interval, self._version = frozenset(actors), check_interval, version
        self._asked: dict[int, _Asked] = {}
        self._ask_id = 0
        self._started = clock.monotonic()
        self._next_sample = self._started
        self._lag = LoopLag()
        self._load = Load(0.0, 0.0, 0.0, True, "")
        self.figures = {"samples": 0, "constrained": 0, "silent_actors": 0}

    async def on_start(self) -> None:
        self._lag.start()

    async def on_stop(self) -> None:
        self._lag.stop()

    # Watching.

    def take_input(self) -> bool:
        now = self.clock.monotonic()
        if now >= self._next_sample:
            self._next_sample = now + self._check_interval
            self._sample()
        for ask_id in [ask_id for ask_id, asked in self._asked.items() if now >= asked.deadline]:
            self.figures["silent_actors"] += 1
            self._answer(ask_id)
        return False

    def wake_at(self) -> float:
        deadline = min((asked.deadline for asked in self._asked.values()), default=float("inf"))
        return Flexible(min(self._next_sample, deadline), deadline)

    def _sample(self) -> None:
        sample = self._sampler.sample()
        constrained = constraint(sample, self._thresholds)
        self.figures["samples"] += 1
        self.figures["constrained"] += bool(constrained)
        self._load = Load(
            sample.cpu_percent, sample.memory_percent, self._lag.last, is_idle(sample, self._thresholds), constrained
        )
        self.send(names.LOAD, self._load)

    # Answering.

    @answers(names.STATS, names.HEALTH)
    def ask_all(self, topic: str, request: Request) -> None:
        """Ask every actor for its figures; the answer follows when all have spoken, or the deadline has passed."""
        self._ask_id += 1
        deadline = self.clock.monotonic() + REPORT_DEADLINE
        self._asked[self._ask_id] = _Asked(request, topic, {}, deadline)
        self.send(names.REPORT_ASK, AskReport(self._ask_id))

    @handles(names.REPORT, Report)
    def reported(self, report: Report) -> None:
        """One actor's figures."""
        asked = self._asked.get(report.ask_id)
        if asked is None:
            return
        asked.reports[report.actor] = report.figures
        if asked.reports.keys() >= self._actors:
            self._answer(report.ask_id)

    def _answer(self, ask_id: int) -> None:
        asked = self._asked.pop(ask_id)
        answer = self._stats(asked.reports) if asked.topic == names.STATS else self._health(asked.reports)
        self.reply(asked.request, {"ok": True, "result": answer})

    def _stats(self, reports: dict[str, dict[str, Any]]) -> dict[str, Any]:
        executor = reports.get("executor", {})
        caches: dict[str, Any] = {}
        for report in reports.values():
            caches.update(report.pop("caches", {}))
        return {
            "uptime_seconds": self.clock.monotonic() - self._started,
            "actors": reports,
            "executions": {
                name: executor.get(name, 0)
                for name in (
                    "started",
                    "ended",
                    "succeeded",
                    "failed",
                    "timed_out",
                    "cancelled",
                    "interrupted",
                    "running",
                )
            },
            "caches": caches,
            "host": {**self._load._asdict(), "loop_lag_max": self._lag.worst},
        }

    def _health(self, reports: dict[str, dict[str, Any]]) -> dict[str, Any]:
        status, reasons, checks = judge(reports, self._actors, self._load, self._lag.worst)
        return {
            "status": status,
            "live": True,
            "ready": self._actors <= reports.keys(),
            "reasons": reasons,
            "checks": checks,
            "version": self._version,
        }

    def report(self) -> dict[str, Any]:
        return {**self.figures, "loop_lag_ms": self._lag.last * 1_000, "loop_lag_ms_max": self._lag.worst * 1_000}
