"""The executor actor: runs claimed attempts, at most so many at once, and reports how they ended."""

import asyncio
import random
from collections import Counter, deque
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from pathlib import Path
from typing import Any, Protocol

import structlog

from aico_sched.clock import Clock
from aico_sched.data.source import DataSource
from aico_sched.execution.attempt import Attempt, GiveUp, broken, ended_unbegun, run_attempt
from aico_sched.execution.ends import Ends
from aico_sched.execution.environments import Environments, TaskLoader
from aico_sched.execution.guard import LoopGuard
from aico_sched.execution.live_logs import LiveLogs
from aico_sched.execution.pauses import Pauses
from aico_sched.execution.ports import AttemptPorts, MakePowers, Outside
from aico_sched.execution.stalls import Stall
from aico_sched.execution.tally import Tally
from aico_sched.logs import described
from aico_sched.runtime.actor import Actor, Child, handles
from aico_sched.security import permissions
from aico_sched.tasks.ports import ProbeBus
from aico_sched.tasks.session_keys import SessionKeys
from aico_sched.topics import names
from aico_sched.topics.errors import ErrorCode
from aico_sched.topics.internal import (
    AlertRaise,
    AttemptCancel,
    AttemptEnd,
    AttemptsEnded,
    AttemptsStart,
    AttemptStart,
    Audit,
    AuditLines,
    BreakerChanged,
    BusReply,
    Capacity,
    Empty,
    Load,
    LoopStalled,
)
from aico_sched.tracing import NO_TRACING, Span, Tracing

log = structlog.get_logger(__name__)

BEYOND_RUNNERS = 1.0
"""Seconds by which an attempt is given up later than its runner would do it, which knows best what it leaves behind."""


class Registry(TaskLoader, Protocol):
    """The task classes, as the executor uses them."""

    def rescan(self) -> Any:
        """Look for classes anew."""

    def cache_stats(self) -> dict[str, Any]:
        """Of the loaded classes."""


class ExecutorActor(Actor):
    """Every attempt is a child task, so it outlives a crash of this actor; its end comes back as a message.

    `may_publish` tells whether a role, of a creator by name, may publish a topic. `open_data` opens AICO's data for the
    tasks that may see it. `make_powers` makes what else an attempt may do; `session_keys` are
    the bus's, for system tasks. `probe_bus` sends a
    message over the bus and back (`tasks.ports.Ports`). `default_timeout` is that of tasks which name none (seconds).
    """

    name = "executor"

    def __init__(
        self,
        clock: Clock,
        registry: Registry,
        environments: Environments,
        guard: LoopGuard,
        pauses: Pauses,
        data_dir: Path,
        may_publish: Callable[[str, str, str], bool],
        *,
        max_concurrent: int,
        shutdown_grace: float,
        cancel_grace: float,
        open_data: Callable[[], AbstractAsyncContextManager[DataSource]] | None = None,
        make_powers: MakePowers | None = None,
        session_keys: SessionKeys | None = None,
        probe_bus: ProbeBus | None = None,
        default_timeout: float = 300.0,
        tracing: Tracing = NO_TRACING,
    ) -> None:
        super().__init__(clock)
        self._tracing = tracing
        self._open_data, self._make_powers, self._session_keys = open_data, make_powers, session_keys
        self._probe_bus, self._default_timeout = probe_bus, default_timeout
        self._registry, self._environments, self._guard = registry, environments, guard
        self._pauses = pauses
        self._freed: Counter[str] = Counter()
        self._refill, self._user_active = False, pauses.user_active
        self._data_dir, self._may_publish = data_dir, may_publish
        self._limit, self._grace = max_concurrent, shutdown_grace
        self._give_up = GiveUp(cancel_grace + BEYOND_RUNNERS, self._given_up)
        self._waiting: deque[AttemptStart] = deque()
        self._running = 0
        self._ends: list[AttemptEnd] = []
        self._decisions: list[Audit] = []
        self._stop_at: float | None = None
        self._stopped_children = False
        self._tally = Tally()

    async def on_start(self) -> None:
        attempts = [child.info for child in self.effects.children.values()]
        self._running = sum(attempt.begun for attempt in attempts)
        self._waiting.extend(attempt.start for attempt in attempts if not attempt.begun)
        self._done = Ends(self.effects.post)
        self._outside = Outside(
            clock=self.clock,
            post=self.effects.post,
            live_logs=LiveLogs(self.clock, self.effects.post),
            gate=self._guard.gate,
            pauses=self._pauses,
            may_publish=self._may_publish,
            open_data=self._open_data,
            make_powers=self._make_powers,
            session_keys=self._session_keys,
            probe_bus=self._probe_bus,
            default_timeout=self._default_timeout,
            attempts=lambda: [child.info for child in self.effects.children.values()],
        )
        self._guard.watch.start(self._stalled)
        self.send(names.LOAD_ASK, Empty())
        self._announce(whole=True)

    async def on_stop(self) -> None:
        self._guard.watch.stop()

    def _stalled(self, stall: Stall) -> None:
        """For the watch; called between turns."""
        self.effects.post(names.LOOP_STALLED, LoopStalled(*stall, list(self._environments.names)))

    @handles(names.BREAKER_CHANGED, BreakerChanged)
    def breaker_changed(self, breaker: BreakerChanged) -> None:
        """What runs on the loop holds at its next checkpoint while the breaker is open."""
        gate = self._guard.gate
        self.effects.call(gate.shut if breaker.state == "open" else gate.open)

    @handles(names.LOAD, Load)
    def load(self, load: Load) -> None:
        """What is for idle hours pauses at its next checkpoint while the user is there."""
        self.effects.call(self._pauses.set_user_active, load.user_active)
        self._user_active = load.user_active
        self._refill = bool(self._pauses)

    @handles(names.ATTEMPT_PAUSED, Empty)
    def paused(self, _: Empty) -> None:
        """A run has given up its place for a while."""
        self._refill = True

    # Starting.

    @handles(names.ATTEMPTS_START, AttemptsStart)
    def start(self, batch: AttemptsStart) -> None:
        """Run these; what does not fit waits here, in order."""
        for row in batch.attempts:
            start = AttemptStart._make(row)
            if self._active < self._limit and not self._waiting:
                self._spawn(start)
            else:
                self._waiting.append(start)
                self.effects.remember(start.execution_id, Attempt(start))

    @property
    def _active(self) -> int:
        """Runs that have a place."""
        return self._running - len(self._pauses)

    def _spawn(self, start: AttemptStart) -> None:
        if self._stop_at is not None:
            # Its row says running; the next boot finds it and treats it as interrupted.
            return
        now = self.clock.now_us()
        self._decisions.append(_decided(start, now))
        attempt = Attempt(start, begun=True)
        self._running += 1
        self._tally.started((now - start.claimed_us) / 1_000)
        self.effects.spawn(start.execution_id, attempt, lambda: self._run(attempt))

    async def _run(self, attempt: Attempt) -> None:
        """The child task. It touches nothing of this instance but what never changes."""
        ends, live_logs = self._done, self._outside.live_logs
        try:
            ports = AttemptPorts(self._outside, attempt)
            with self._span(attempt.start) as span:
                attempt.traceparent = span.traceparent or attempt.start.traceparent
                end = await run_attempt(
                    attempt,
                    self._environments,
                    self._registry,
                    ports,
                    self._data_dir,
                    self.clock,
                    random.random,
                    self._give_up,
                )
                span.note("outcome", end.outcome)
                if end.outcome != "succeeded":
                    span.fail(end.error_message or end.reason or end.outcome)
        except Exception as error:
            # A mistake of ours; without this the execution would look as if it ran for ever.
            log.error("attempt_broke", execution_id=attempt.start.execution_id, **described(error))
            end = broken(attempt, error, self.clock)
        live_logs.over(attempt)
        ends.add(end)

    def _span(self, start: AttemptStart) -> AbstractContextManager[Span]:
        if not self._tracing.active:
            return NO_TRACING.span("")
        return self._tracing.span(
            f"execute {start.task_class}",
            start.traceparent,
            task_id=start.task_id,
            execution_id=start.execution_id,
            attempt=start.attempt,
        )

    # Ending.

    @handles(names.ATTEMPTS_DONE, AttemptsEnded)
    def done(self, batch: AttemptsEnded) -> None:
        """Attempts have ended, or were given up."""
        for row in batch.ends:
            self._has_ended(AttemptEnd._make(row))

    @classmethod
    def given_up(cls, topic: str, message: Any) -> list[tuple[str, tuple[Any, ...]]]:
        """Ends that cannot be handled together are handled each by itself."""
        if topic != names.ATTEMPTS_DONE or len(message.ends) == 1:
            return []
        return [(topic, AttemptsEnded([end])) for end in message.ends]

    def _has_ended(self, end: AttemptEnd) -> None:
        """What an attempt that was given up says later is of no interest."""
        child = self.effects.children.get(end.execution_id)
        if child is None or child.info.start.attempt != end.attempt:
            return
        self.effects.release(end.execution_id)
        self._running -= 1
        self._tally.ended(end)
        self._ends.append(end)
        self._freed.update(child.info.start.places or ())
        if end.usage and end.usage.get("abandoned"):
            self._abandoned(child.info, end)

    def _given_up(self, end: AttemptEnd) -> None:
        """For the attempts; called between turns."""
        if (child := self.effects.children.get(end.execution_id)) is not None:
            self._outside.live_logs.over(child.info)
        self._done.add(end)

    def _abandoned(self, attempt: Attempt, end: AttemptEnd) -> None:
        """Say that a run goes on which nobody waits for any more."""
        self._tally.counts["abandoned"] += 1
        task_id = attempt.start.task_id
        message = (
            f"a run of {task_id} did not end when it was told to; it was left to itself and may still use the machine. "
            "Let it pass on CancelledError and call context.checkpoint() now and then"
        )
        details = {"execution_id": end.execution_id, "outcome": end.outcome}
        self.send(names.ALERT_RAISE, AlertRaise(f"abandoned:{task_id}", "warning", message, task_id, details))

    def end_turn(self) -> None:
        if self._ends:
            self.send(names.ATTEMPTS_ENDED, AttemptsEnded(self._ends))
            self._ends = []
            self._refill = True
        if self._refill:
            self._refill = False
            self._fill_places()
        if self._decisions:
            self.send(names.AUDIT, AuditLines(self._decisions, may_wait=True))
            self._decisions = []

    def _fill_places(self) -> None:
        """Places are free: for runs that pause, once the user is away, and for those that wait to begin."""
        resumed = 0
        if not self._user_active:
            resumed = max(0, min(self._limit - self._active, len(self._pauses)))
            self.effects.call(self._pauses.resume, resumed)
        while self._waiting and self._active + resumed < self._limit:
            self._spawn(self._waiting.popleft())
        self._announce(resumed)

    def _announce(self, resumed: int = 0, *, whole: bool = False) -> None:
        """Tell the scheduler of the places there are; `whole`, if it does not know who has them."""
        running = self._running + len(self._waiting)
        limit = self._limit + len(self._pauses) - resumed
        places, self._freed = self._freed, Counter()
        if whole:
            places = Counter(key for child in self.effects.children.values() for key in child.info.start.places or ())
        self.send(names.CAPACITY, Capacity(limit, self._tally.counts["ended"], running, dict(places), whole))

    @handles(names.CAPACITY_ASK, Empty)
    def capacity_asked(self, _: Empty) -> None:
        """The scheduler has just started."""
        self._announce(whole=True)

    @handles(names.ATTEMPT_CANCEL, AttemptCancel)
    def cancel(self, cancel: AttemptCancel) -> None:
        """End an attempt; one that has not begun ends without having run."""
        child = self.effects.children.get(cancel.execution_id)
        if child is None:
            return
        attempt: Attempt = child.info
        attempt.end_as = (cancel.outcome, cancel.reason)
        if attempt.begun:
            self.effects.call(_end, child, cancel.reason)
        elif attempt.start in self._waiting:
            self._waiting.remove(attempt.start)
            self._running += 1
            self._has_ended(ended_unbegun(attempt, self.clock))

    # Stopping: wait for what runs, at most the grace time, then end it.

    def begin_stop(self) -> None:
        for start in self._waiting:
            self.effects.release(start.execution_id)
        self._waiting.clear()
        self._stop_at = self.clock.monotonic() + self._grace

    def may_stop(self) -> bool:
        return not self.effects.children

    def take_input(self) -> bool:
        if self._stop_at is not None and not self._stopped_children and self.clock.monotonic() >= self._stop_at:
            self._stopped_children = True
            for child in self.effects.children.values():
                if child.info.end_as is None:
                    child.info.end_as = ("interrupted", "the service stopped")
                self.effects.call(_end, child, "the service stopped")
        return False

    def wake_at(self) -> float | None:
        return None if self._stopped_children else self._stop_at

    # What a running task has asked for.

    @handles(names.MAINTENANCE_DONE, BusReply)
    @handles(names.TASK_WRITTEN, BusReply)
    @handles(names.BUS_REPLY, BusReply)
    def replied(self, reply: BusReply) -> None:
        """The answer to a task's request, or to its change of a table; too late for one that has given up."""
        child = self.effects.children.get(reply.execution_id)
        future = child.info.replies.get(reply.correlation_id) if child is not None else None
        if future is not None:
            self.effects.call(_resolve, future, reply.payload)

    @handles(names.REGISTRY_CHANGED, Empty)
    def registry_changed(self, _: Empty) -> None:
        """The store has looked for task classes anew; so does this actor's own registry."""
        self._registry.rescan()

    def report(self) -> dict[str, Any]:
        return {
            **self._tally.report(),
            "limit": self._limit,
            "running": self._running,
            "waiting": len(self._waiting),
            "paused": len(self._pauses),
            "loop": self._guard.report(),
            "environments": self._environments.report(),
            "caches": self._registry.cache_stats(),
        }


def _decided(start: AttemptStart, now_us: int) -> Audit:
    """Whether the task may run, for the audit trail; `run_attempt` abides by the same rule."""
    refusal = permissions.execution_refusal(start.task_id, start.task_class, start.role)
    outcome = "ok" if refusal is None else ErrorCode.PERMISSION_DENIED
    detail = start.execution_id if refusal is None else f"{start.execution_id}: {refusal}"
    return Audit(now_us, start.creator, start.role, "task.execute", start.task_id, outcome, detail)


def _end(child: Child, reason: str) -> None:
    """Cancel a run, and see that it ends."""
    child.cancel(reason)
    insist: Callable[[], None] | None = child.info.insist
    if insist is not None:
        insist()


def _resolve(future: "asyncio.Future[dict[str, Any]]", payload: dict[str, Any]) -> None:
    """Only the first of several replies counts."""
    if not future.done():
        future.set_result(payload)
