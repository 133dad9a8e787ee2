"""The store actor: the only writer of the database. A turn is a transaction, so its acknowledgements are durable."""

from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from aico_sched.clock import Clock, Flexible
from aico_sched.config_checks import ConfigChecks, Judge
from aico_sched.maintained import KeyChanges
from aico_sched.planning import Defaults
from aico_sched.runtime.actor import answers, handles
from aico_sched.store import housekeeping, task_writes
from aico_sched.store.alerts import Alerts
from aico_sched.store.attempts import Attempts
from aico_sched.store.bulk_claim import BulkClaim
from aico_sched.store.bulk_end import BulkEnd
from aico_sched.store.class_registry import Registry
from aico_sched.store.clock_step import ClockStep
from aico_sched.store.command_table import READS, RUN_CHANGES, TASK_CHANGES
from aico_sched.store.commands import Commands
from aico_sched.store.connection import Database
from aico_sched.store.deferrals import Deferrals
from aico_sched.store.errors import StoreError
from aico_sched.store.executions import Executions
from aico_sched.store.followers import Followers
from aico_sched.store.history import History
from aico_sched.store.recovery import Recovery
from aico_sched.store.retention import HistoryLimits, Retention
from aico_sched.store.run_commands import RunCommands
from aico_sched.store.slots import Slots
from aico_sched.store.strikes import Strikes
from aico_sched.store.tasks import Sender, TaskCommands
from aico_sched.store.trouble import Trouble
from aico_sched.store.unit import Unit
from aico_sched.topics import names
from aico_sched.topics.internal import (
    AlertRaise,
    AttemptEnd,
    AttemptProgress,
    AttemptsEnded,
    AttemptsLogged,
    AttemptsStart,
    BusReply,
    ClockSetBack,
    DueChanged,
    DueLoad,
    Empty,
    EventsCommitted,
    Heartbeat,
    Request,
    Slot,
    SlotsClaim,
    SlotsClaimed,
    SlotsDeferred,
    TaskWrite,
)
from aico_sched.tracing import NO_TRACING, Tracing
from aico_sched.verdicts import Unjudged

HOUSEKEEPING_INTERVAL = 10.0
MAX_LINKS = 100


class StoreActor(ConfigChecks):
    """Applies commands, claims slots, records attempts, and hands out what others must know after each commit."""

    name = "store"
    # In a burst what is due starts before what has ended is written down.
    urgent = frozenset((names.SLOTS_CLAIM,))
    _registry: Registry

    def __init__(
        self,
        clock: Clock,
        open_database: Callable[[], Database],
        registry: Registry,
        defaults: Defaults,
        boot_id: str,
        *,
        cache_size: int,
        kept: housekeeping.Kept,
        heartbeat_interval: float,
        keys: KeyChanges,
        maintenance_timeout: float,
        history: HistoryLimits,
        judge: Judge,
        tracing: Tracing = NO_TRACING,
    ) -> None:
        super().__init__(clock)
        self._keys, self._maintenance_timeout, self._tracing = keys, maintenance_timeout, tracing
        self._history_limits = history
        self._open, self._registry, self._judge = open_database, registry, judge
        self._defaults, self._boot_id = defaults, boot_id
        self._cache_size, self._kept, self._heartbeat_interval = cache_size, kept, heartbeat_interval
        self._database: Database | None = None
        self._built = self._arrived = False
        self._trouble = Trouble()
        self._next_housekeeping = self._next_heartbeat = self._next_mark = clock.monotonic()
        self.figures = {"commits": 0, "claimed": 0, "interrupted": 0}

    @classmethod
    def given_up(cls, topic: str, message: Any) -> list[tuple[str, tuple[Any, ...]]]:
        """A claim that cannot be handled is taken apart, and what alone cannot be claimed is let go."""
        if topic != names.SLOTS_CLAIM:
            return []
        parts: list[SlotsClaim] = [SlotsClaim(message.claim_id, [slot], []) for slot in message.slots]
        parts += [SlotsClaim(message.claim_id, [], [run]) for run in message.runs]
        if len(parts) == 1:
            return [(names.SLOTS_CLAIMED, SlotsClaimed(message.claim_id, 0, 1))]
        return [(names.SLOTS_CLAIM, part) for part in parts]

    async def on_start(self) -> None:
        if not self._working():
            self._open_and_build()
            self._arrive()
            self.end_turn()

    def _open_and_build(self) -> None:
        database = self._open()
        try:
            self._build(database)
        except BaseException:
            database.close()
            raise
        self._database, self._built = database, True

    def _build(self, database: Database) -> None:
        self._unit = Unit(database, self._defaults, self._boot_id, self._cache_size, self._registry.environment_of)
        self._tasks = TaskCommands(self._unit, self._registry)
        self._executions = Executions(self._unit)
        followers = Followers(self._unit, self._executions)
        self._slots = Slots(self._unit, self._tasks, self._executions, followers)
        self._deferrals = Deferrals(self._unit, self._executions, followers)
        self._attempts = Attempts(self._unit, self._executions, followers)
        self._runs = RunCommands(self._unit, self._tasks, self._executions)
        self._history = History(self._unit)
        self._recovery = Recovery(self._unit, self._tasks, self._executions, self._attempts, self._registry)
        self._commands = Commands(self._unit, self._tasks, self._carry_out, self.reply_packed, self._postpone)
        self._bulk_claim = BulkClaim(self._unit, self._executions, self._slots)
        self._bulk_end = BulkEnd(self._unit, self._executions, self._attempts)
        self._clock_step = ClockStep(self._unit, self._tasks)
        self._alerts = Alerts(self._unit)
        self._strikes = Strikes(self._unit, self._tasks, self._defaults.strikes, self._alerts.raised)
        self._retention = Retention(self._unit, self._history_limits)

    def _arrive(self) -> None:
        self._unit.database.take_lease(self._boot_id)
        self._unit.begin(self.clock.now_us())
        self._clock_step.look_back()
        self.figures["interrupted"] = self._recovery.interrupt_unfinished()
        for problem in self._recovery.register(self._registry.system_tasks()):
            self._alerts.raised(AlertRaise("system_task", "warning", problem.message, None, problem.details))
        self._recovery.park_and_return()
        # After both: a system task that this boot has made runs at this start, and one whose class is back as well.
        self._recovery.fire_reboot_tasks()

    async def on_stop(self) -> None:
        if self._database is None:
            return
        self._database.rollback()
        try:
            due = self._built and (self._published or self._unit.audit_trail.waiting)
            if due and not self._database.suspended and not self._trouble.state:
                self._begin()
                self._unit.audit_trail.seal()
                self._mark_published()
                self._database.commit()
        finally:
            self._database.close()

    # The transaction of a turn.

    def end_turn(self) -> None:
        if self._database is None or self._database.suspended:
            return
        if self._trouble.trying:
            self._write_again()
        if self._database.in_transaction:
            self._commit()
        if self._trouble.trying:
            self._trouble_over()
        self._unit.audit_trail.settle()

    def _commit(self) -> None:
        assert self._database is not None
        if self._published and self.clock.monotonic() >= self._next_mark:
            self._mark_published()
        said, events = self._unit.announce()
        if said.starts:
            self.send(names.ATTEMPTS_START, AttemptsStart(said.starts))
        if events:
            self.send(names.EVENTS_COMMITTED, EventsCommitted(events, self._unit.outbox.take_traces()))
        if said.due_tasks or said.due_runs or said.gone:
            self.send(names.DUE_CHANGED, DueChanged(said.due_tasks, said.due_runs, said.gone))
        for cancel in said.cancels:
            self.send(names.ATTEMPT_CANCEL, cancel)
        with self._commit_span():
            self._database.commit()
        self.figures["commits"] += 1
        self._arrived = True

    def _commit_span(self) -> AbstractContextManager[Any]:
        """A commit is shared: it lies below the first of what it makes durable, and is linked to the others."""
        traces = self._unit.take_traces()
        if not traces:
            return nullcontext()
        return self._tracing.span("store.commit", traces[0], links=traces[1 : MAX_LINKS + 1], traces=len(traces))

    def abort_turn(self) -> None:
        if self._database is None:
            return
        self._database.rollback()
        if self._built and not self._database.suspended:
            self._unit.reset()
            self._clock_step.reset()
            self._retention.reset()
            self._executions.reset()
            self._alerts.reset()

    def take_input(self) -> bool:
        now = self.clock.monotonic()
        beats = self._built and now >= self._next_heartbeat
        if beats:
            self._next_heartbeat = now + self._heartbeat_interval
            self.send(names.HEARTBEAT, Heartbeat(self._unit.outbox.handed_out()))
        if self._working():
            return False
        maintained = self._go_on()
        trying = self._face_trouble()
        if self._trouble.state:
            return maintained or trying
        maintained = self._give_back() or maintained
        if beats and self._unit.audit_trail.waiting:
            self._begin()
        if now >= self._next_housekeeping:
            self._next_housekeeping = now + HOUSEKEEPING_INTERVAL
            self._begin()
            if housekeeping.step(self._unit, self._retention, self._kept):
                # A chunk a turn until it is done, so that trimming keeps up with any rate.
                self._next_housekeeping = now
        if self._clock_step.under_way:
            self._begin()
            self._clock_step.advance()
        return self._clock_step.under_way or maintained

    def wake_at(self) -> float | None:
        if self._working():
            return Flexible(self._next_heartbeat, float("inf")) if self._built else None
        work = self._trouble.next_try if self._trouble.state else self._next_housekeeping
        return Flexible(min(self._next_heartbeat, work) if self._built else work, float("inf"))

    # Commands.

    @handles(names.TASK_CREATE, Request, gathered=True)
    def create(self, requests: list[Request]) -> None:
        """New tasks, written together."""
        wanted = self._to_be_done(names.TASK_CREATE, requests)
        if wanted:
            self._begin()
            self._commands.create(wanted)

    @answers(*(TASK_CHANGES.keys() - {names.TASK_CREATE}), *RUN_CHANGES)
    def change(self, topic: str, request: Request) -> None:
        """Apply a command once, however often it arrives: a repeat gets the first answer."""
        if not self._waits_its_turn(topic, request):
            self._apply(topic, request)

    def _apply(self, topic: str, request: Request) -> None:
        if not self._turned_away(request):
            self._begin()
            self._commands.apply(topic, request)

    def _carry_out(self, topic: str, request: Request) -> dict[str, Any]:
        # A class that has to be asked about a configuration first is no failure: the command comes again.
        with self._tracing.span(f"handle {topic}", request.traceparent, expected=Unjudged) as span:
            self._unit.traced(span.traceparent or request.traceparent)
            return self._carried_out(topic, request)

    def _carried_out(self, topic: str, request: Request) -> dict[str, Any]:
        sender = Sender(request.source, request.role)
        if topic in RUN_CHANGES:
            done: dict[str, Any] = getattr(self._runs, RUN_CHANGES[topic])(request.payload, sender)
            return done
        result: dict[str, Any] = getattr(self._tasks, TASK_CHANGES[topic])(request.payload, sender)
        if topic == names.TASK_DELETE and request.payload.get("remove_code"):
            self._remove_code(result["task_class"])
        return result

    def _remove_code(self, task_class: str) -> None:
        """Delete the code file of a task that has just been deleted, after the commit."""
        self._tasks.check_removable(task_class, self._registry.code_file(task_class))
        self.effects.call(self._registry.remove_code, task_class)
        self.send(names.REGISTRY_CHANGED, Empty())

    @answers(*READS)
    def read(self, topic: str, request: Request) -> dict[str, Any]:
        """Answer a question."""
        with self._reading(), self._tracing.span(f"handle {topic}", request.traceparent):
            result: dict[str, Any] = getattr(self._history, READS[topic])(request.payload)
            return result

    @answers(names.TASK_STATUS)
    def status(self, topic: str, request: Request) -> dict[str, Any]:
        """A task and its newest executions."""
        with self._reading():
            task = self._tasks.require(request.payload["task_id"])
            return self._history.status(task, request.payload.get("history", 10))

    @answers(names.REGISTRY_LIST)
    def registry_list(self, topic: str, request: Request) -> dict[str, Any]:
        """The task classes there are."""
        return {"classes": self._registry.describe()}

    @answers(names.REGISTRY_RELOAD)
    def registry_reload(self, topic: str, request: Request) -> dict[str, Any]:
        """Look for task classes anew; park the tasks whose class is gone, take back those whose class came."""
        self._begin()
        changes = self._registry.rescan()
        self._recovery.park_and_return()
        self._unit.audit(request.source, request.role, topic, "", "ok")
        self.send(names.REGISTRY_CHANGED, Empty())
        return changes

    @handles(names.CLOCK_SET_BACK, ClockSetBack)
    def clock_set_back(self, step: ClockSetBack) -> None:
        """The wall clock went back: what waits for a time by the old one is looked at again, bit by bit."""
        self._begin()
        self._clock_step.begin(step.by_us)

    # Due work.

    @handles(names.DUE_LOAD, DueLoad)
    def load_due(self, wanted: DueLoad) -> None:
        """Tell the scheduler what is due soon."""
        self.send(names.DUE_LOADED, self._unit.load_due(wanted))

    @handles(names.SLOTS_CLAIM, SlotsClaim)
    def claim(self, claim: SlotsClaim) -> None:
        """Claim due slots and waiting runs, and start them once that is durable."""
        self._begin()
        before = len(self._unit.said.starts)
        started = self._bulk_claim.claim([Slot._make(slot) for slot in claim.slots])
        started += sum(self._executions.start_waiting(execution_id) for execution_id in claim.runs)
        self.figures["claimed"] += started
        places = Counter(key for start in self._unit.said.starts[before:] for key in start.places or ())
        settled = len(claim.slots) + len(claim.runs)
        self.send(names.SLOTS_CLAIMED, SlotsClaimed(claim.claim_id, started, settled, dict(places)))

    @handles(names.SLOTS_DEFERRED, SlotsDeferred)
    def deferred(self, deferred: SlotsDeferred) -> None:
        """Publish that starts are put off, and end runs that have waited for too long."""
        self._begin()
        self._deferrals.record(deferred)

    @handles(names.ATTEMPTS_ENDED, AttemptsEnded)
    def ended(self, ended: AttemptsEnded) -> None:
        """Record how attempts ended."""
        self._begin()
        self._bulk_end.ended([AttemptEnd._make(end) for end in ended.ends])

    @handles(names.ATTEMPT_PROGRESS, AttemptProgress)
    def progressed(self, progress: AttemptProgress) -> None:
        """Keep an attempt's latest progress, unless nothing can be kept."""
        if not self._trouble.refusing:
            self._begin()
            self._executions.progressed(progress)

    @handles(names.ATTEMPTS_LOGGED, AttemptsLogged)
    def logged(self, logged: AttemptsLogged) -> None:
        """Remember what runs have logged, for those who look at one."""
        self._unit.running_logs.take(logged.runs)

    @handles(names.TASK_WRITE, TaskWrite)
    def task_write(self, wanted: TaskWrite) -> None:
        """Make a task's change; it is told when the change is durable."""
        if self._trouble.refusing:
            refusal = {"failed": self._trouble.advice}
            self.send(names.TASK_WRITTEN, BusReply(wanted.execution_id, wanted.call_id, refusal))
            return
        self._begin()
        assert self._database is not None
        result = task_writes.apply(self._database, wanted.sql, wanted.parameters, may_touch_ours=wanted.system)
        self.send(names.TASK_WRITTEN, BusReply(wanted.execution_id, wanted.call_id, result))

    def report(self) -> dict[str, Any]:
        if self._closed():
            return dict(self.figures)
        try:
            return {
                **self.figures,
                **self._commands.figures,
                **self._history.counted(),
                "caches": {**self._registry.cache_stats(), "recent_executions": self._unit.recent.stats()},
                "unrecorded": self._bulk_end.unrecorded,
            }
        except StoreError:
            if not self._trouble.refusing:
                raise
            return dict(self.figures)
