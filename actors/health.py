"""The health actor: watches the machine and the loop, gathers the other actors' figures, and says how it goes."""

from collections.abc import Callable, Mapping
from math import inf
from typing import Any, NamedTuple

from aico_sched.clock import Clock, Flexible
from aico_sched.figures import lately, observe, raised, within_window
from aico_sched.health import Thresholds, constraint, judge, not_idle
from aico_sched.host import HostSampler
from aico_sched.load_history import LoadHistory
from aico_sched.loop_lag import LoopLag
from aico_sched.rolling import Rolling
from aico_sched.runtime.actor import Actor, answers, handles
from aico_sched.stress import Stress
from aico_sched.topics import names
from aico_sched.topics.internal import (
    Activity,
    AlertRaise,
    AskReport,
    Empty,
    Load,
    PeaksKept,
    Report,
    Request,
    StoreState,
)

REPORT_DEADLINE = 0.5
"""Seconds an actor has for its report; one that stays silent is unresponsive, which is a finding too."""

LOOKS_IN_WINDOW = 60
"""How often in a window the other actors are asked for their figures."""

LOOKS_ALIKE = 2
"""A changed status is told of when so many looks one after the other have found it."""

PEAKS_INTERVAL = 60.0
"""Seconds between two times that the highest values are written down."""

SEVERITY = {"degraded": "warning", "critical": "critical"}


class _Asked(NamedTuple):
    """`request` is None for a look of our own."""

    request: Request | None
    topic: str
    reports: dict[str, dict[str, Any]]
    deadline: float


class HealthActor(Actor):
    """Samples load every `check_interval` seconds, gathers the figures of the last `window` seconds, and answers
    `scheduler.stats` and `scheduler.health`. `key_ages` gives the ages of the bus's keys by name, of
    which none should be above `max_key_age`; both in days."""

    name = "health"

    def __init__(
        self,
        clock: Clock,
        sampler: HostSampler,
        thresholds: Thresholds,
        *,
        actors: tuple[str, ...],
        check_interval: float,
        window: float,
        user_idle_after: float,
        stress: Stress,
        version: str,
        key_ages: Callable[[], Mapping[str, float]] = dict,
        max_key_age: float = inf,
    ) -> None:
        super().__init__(clock)
        self._sampler, self._thresholds = sampler, thresholds
        self._key_ages, self._max_key_age = key_ages, max_key_age
        self._actors, self._check_interval, self._version = frozenset(actors), check_interval, version
        self._asked: dict[int, _Asked] = {}
        self._ask_id = 0
        self._started = clock.monotonic()
        self._next_sample = self._started
        self._look_interval = window / LOOKS_IN_WINDOW
        self._next_look = self._started + self._look_interval
        self._rolling = Rolling(window, self._look_interval, self._started)
        self._history = LoadHistory()
        self._peaks: dict[str, float] | None = None
        self._peaks_kept: dict[str, float] = {}
        self._next_keep = self._started + PEAKS_INTERVAL
        self._found, self._found_times, self._told = "", 0, ""
        self._lag = LoopLag()
        self._user_idle_after, self._user_idle_at = user_idle_after, self._started
        self._stress = stress
        self._stress_told: bool | None = None
        self._machine_not_idle = ""
        self._load = Load(0.0, 0.0, 0.0, True, "")
        self._store = StoreState("", "")
        self.figures = {"samples": 0, "constrained": 0, "silent_actors": 0, "activities": 0}
        self._incidents = {"cpu": 0, "memory": 0}

    async def on_start(self) -> None:
        self._lag.start()
        self.send(names.PEAKS_ASK, Empty())

    async def on_stop(self) -> None:
        self._lag.stop()

    def begin_stop(self) -> None:
        self._keep_peaks()

    # Watching.

    def take_input(self) -> bool:
        now = self.clock.monotonic()
        if now >= self._next_sample:
            self._next_sample = now + self._check_interval
            self._sample()
        elif self._load.user_active and now >= self._user_idle_at:
            self._say_load(self._load)
        if now >= self._next_look:
            self._next_look = now + self._look_interval
            self._ask(None, "")
        if now >= self._next_keep:
            self._next_keep = now + PEAKS_INTERVAL
            self._keep_peaks()
        for ask_id in [ask_id for ask_id, asked in self._asked.items() if now >= asked.deadline]:
            self.figures["silent_actors"] += 1
            self._answer(ask_id)
        return False

    def wake_at(self) -> float:
        deadline = min((asked.deadline for asked in self._asked.values()), default=float("inf"))
        if self._load.user_active:
            # What is for idle hours waits for the user to have been away for long enough.
            deadline = min(deadline, self._user_idle_at)
        return Flexible(min(self._next_sample, self._next_look, self._next_keep, deadline), deadline)

    def _sample(self) -> None:
        sample = self._sampler.sample()
        constrained = constraint(sample, self._thresholds)
        self.figures["samples"] += 1
        self.figures["constrained"] += bool(constrained)
        if constrained and not self._load.constrained:
            self._incidents["cpu" if sample.cpu_percent > self._thresholds.max_cpu else "memory"] += 1
        self._stress.look(bool(constrained))
        self._tell_stress(constrained)
        self._machine_not_idle = not_idle(sample, self._thresholds)
        self._say_load(Load(sample.cpu_percent, sample.memory_percent, self._lag.last, False, constrained))

    def _say_load(self, load: Load) -> None:
        """Tell the others; whether it is idle, and the stretch, as they are now."""
        why = self._not_idle()
        active = self.clock.monotonic() < self._user_idle_at
        self._load = load._replace(idle=not why, not_idle=why, stretch=self._stress.stretch, user_active=active)
        self.send(names.LOAD, self._load)

    def _not_idle(self) -> str:
        if self._machine_not_idle or self.clock.monotonic() >= self._user_idle_at:
            return self._machine_not_idle
        return f"the user was active less than {self._user_idle_after:g} s ago (scheduler.user_idle_after)"

    @handles(names.ACTIVITY, Activity)
    def active(self, activity: Activity) -> None:
        """The user is here: what is for idle hours makes way at once."""
        self.figures["activities"] += 1
        self._user_idle_at = self.clock.monotonic() + self._user_idle_after
        if not self._load.user_active and self._user_idle_after > 0:
            self._say_load(self._load)

    @handles(names.LOAD_ASK, Empty)
    def load_asked(self, _: Empty) -> None:
        """An actor has just started and knows nothing of the load."""
        if self.figures["samples"]:
            self.send(names.LOAD, self._load)

    def _tell_stress(self, constrained: str) -> None:
        """An alert when the load begins to last, and when that is over."""
        if self._stress.lasting == self._stress_told:
            return
        self._stress_told = self._stress.lasting
        if self._stress.lasting:
            looks, stretch = self._stress.patience, self._stress.stretch
            message = (
                f"the machine has been short of resources for {looks} looks ({constrained}): of frequent tasks that "
                f"are not critical, one slot in {stretch} or fewer runs until that is over"
            )
            alert = AlertRaise("stress", "warning", message, None, {"stretch": stretch}, lasting=True)
        else:
            message = "the machine has resources again: all slots run"
            alert = AlertRaise("stress", "info", message, None, {}, resolved=True)
        self.send(names.ALERT_RAISE, alert)

    @handles(names.PEAKS_KEPT, PeaksKept)
    def peaks_kept(self, kept: PeaksKept) -> None:
        """The highest values of all boots before this one."""
        self._peaks_kept = self._peaks = kept.peaks

    def _keep_peaks(self) -> None:
        if self._peaks is not None and self._peaks != self._peaks_kept:
            self._peaks_kept = self._peaks
            self.send(names.PEAKS_KEEP, PeaksKept(self._peaks))

    # Asking and answering.

    @answers(names.STATS, names.HEALTH)
    def ask_all(self, topic: str, request: Request) -> None:
        """Ask every actor for its figures; the answer follows when all have spoken, or the deadline has passed."""
        self._ask(request, topic)

    def _ask(self, request: Request | None, topic: str) -> None:
        self._ask_id += 1
        self._asked[self._ask_id] = _Asked(request, topic, {}, self.clock.monotonic() + REPORT_DEADLINE)
        self.send(names.REPORT_ASK, AskReport(self._ask_id))

    @answers(names.STATS_HISTORY)
    def history(self, topic: str, request: Request) -> dict[str, Any]:
        """The load of the last hour."""
        return self._history.view()

    @handles(names.STORE_STATE, StoreState)
    def store_state(self, state: StoreState) -> None:
        """What keeps the store from its usual work. While it holds its messages back, it cannot report either."""
        self._store = state
        if not self._expected() >= self._actors:
            for ask_id in [i for i, asked in self._asked.items() if asked.reports.keys() >= self._expected()]:
                self._answer(ask_id)

    def _expected(self) -> frozenset[str]:
        return self._actors - {"store"} if self._store.state == "maintenance" else self._actors

    @handles(names.REPORT, Report)
    def reported(self, report: Report) -> None:
        """One actor's figures."""
        asked = self._asked.get(report.ask_id)
        if asked is None:
            return
        asked.reports[report.actor] = report.figures
        if asked.reports.keys() >= self._expected():
            self._answer(report.ask_id)

    def _answer(self, ask_id: int) -> None:
        asked = self._asked.pop(ask_id)
        now = self.clock.monotonic()
        observe(self._rolling, now, asked.reports)
        self._history.observe(now, self.clock.now_us(), asked.reports)
        if self._peaks is not None:
            self._peaks = raised(self._peaks, self._rolling, now)
        if asked.request is None:
            self._tell(self._health(asked.reports))
        else:
            answer = self._stats(asked.reports) if asked.topic == names.STATS else self._health(asked.reports)
            self.reply(asked.request, {"ok": True, "result": answer})

    def _tell(self, health: dict[str, Any]) -> None:
        """Raise an alert when the status has changed and stays so; once it is healthy again, say that."""
        status, reasons = health["status"], health["reasons"]
        self._found_times = self._found_times + 1 if status == self._found else 1
        self._found = status
        if status == self._told or self._found_times < LOOKS_ALIKE:
            return
        self._told = status
        if status == "healthy":
            message = "the service is healthy again"
            self.send(names.ALERT_RAISE, AlertRaise("health", "info", message, None, {}, resolved=True))
        else:
            message = f"the service is {status}: {'; '.join(reasons)}"
            details = {"status": status, "reasons": reasons}
            alert = AlertRaise("health", SEVERITY[status], message, None, details, lasting=True)
            self.send(names.ALERT_RAISE, alert)

    def _stats(self, reports: dict[str, dict[str, Any]]) -> dict[str, Any]:
        executor, store = reports.get("executor", {}), reports.get("store", {})
        caches: dict[str, Any] = {}
        for report in reports.values():
            caches.update(report.pop("caches", {}))
        counted = ("started", "ended", "succeeded", "failed", "timed_out", "cancelled", "interrupted", "running")
        return {
            "uptime_seconds": self.clock.monotonic() - self._started,
            "actors": reports,
            "executions": {name: executor.get(name, 0) for name in counted},
            "recent": lately(self._rolling, self.clock.monotonic()),
            "totals": store.pop("totals", {}),
            "peaks": self._peaks or {},
            "caches": caches,
            "host": {**self._load._asdict(), "loop_lag_max": self._lag.worst},
        }

    def _health(self, reports: dict[str, dict[str, Any]]) -> dict[str, Any]:
        lately_reported = within_window(self._rolling, reports)
        status, reasons, checks = judge(
            lately_reported,
            self._expected(),
            self._load,
            self._lag.worst,
            self._store,
            self._key_ages(),
            self._max_key_age,
        )
        return {
            "status": status,
            "live": True,
            "ready": self._expected() <= reports.keys(),
            "reasons": reasons,
            "checks": checks,
            "version": self._version,
        }

    def report(self) -> dict[str, Any]:
        return {
            **self.figures,
            "incidents": dict(self._incidents),
            "lag": self._lag.spread.report(),
            "cpu_percent": self._load.cpu_percent,
            "memory_percent": self._load.memory_percent,
            "loop_lag_ms": self._lag.last * 1_000,
            "loop_lag_ms_max": self._lag.worst * 1_000,
        }
