"""The part of the store actor that writes down what the other actors tell: what was published, audited, an alert."""

from typing import Any

from aico_sched.audit_chain import Line
from aico_sched.impaired import AUDIT_KEPT, Impaired
from aico_sched.json_text import compact, decoded
from aico_sched.runtime.actor import answers, handles
from aico_sched.schedule import format_rfc3339
from aico_sched.store.audit import WAITING_LIMIT
from aico_sched.store.history import History
from aico_sched.store.strikes import Strikes
from aico_sched.topics import names
from aico_sched.topics.internal import (
    AlertRaise,
    Audit,
    AuditLines,
    BreakerChanged,
    Empty,
    EventsPublished,
    EventsRefilled,
    LoopStalled,
    PeaksKept,
    Request,
)

REFILL_CHUNK = 200
MARK_INTERVAL = 1.0
PEAKS = "peaks"


class Recorded(Impaired):
    """Base of the store actor."""

    _history: History
    _strikes: Strikes
    _published = 0
    _next_mark: float

    def _mark_published(self) -> None:
        """Write down how far the events are on the bus."""
        if not self._published:
            return
        self._unit.outbox.set_published(self._published)
        self._published = 0
        self._next_mark = self.clock.monotonic() + MARK_INTERVAL

    @handles(names.EVENTS_REFILL, Empty)
    def refill(self, _: Empty) -> None:
        """A bridge that has just started asks for what may not have been published."""
        if self._published:
            self._begin()
            self._mark_published()
        events = self._unit.outbox.unpublished(REFILL_CHUNK)
        self.send(names.EVENTS_REFILLED, EventsRefilled(events, len(events) < REFILL_CHUNK))

    @handles(names.EVENTS_PUBLISHED, EventsPublished)
    def published(self, published: EventsPublished) -> None:
        """Remember how far the events are on the bus. It is written down now and then, with a change that is made
        anyway; after a crash the events of the last second go out again, with the `seq` they had."""
        self._published = published.event_id

    @handles(names.AUDIT, AuditLines)
    def audit(self, batch: AuditLines) -> None:
        """Write what other actors decided."""
        trail = self._unit.audit_trail
        if self._trouble.refusing:
            if trail.waiting + len(batch.lines) > AUDIT_KEPT:
                self._trouble.unaudited += len(batch.lines)
                return
        elif not batch.may_wait or trail.waiting >= WAITING_LIMIT:
            self._begin()
        for row in batch.lines:
            line = Audit(*row)
            trail.defer(Line(format_rfc3339(line.at_us), *line[1:]))

    @answers(names.AUDIT_LIST)
    def audit_list(self, topic: str, request: Request) -> dict[str, Any]:
        """A page of the audit trail, this question's own sender not yet in it."""
        with self._reading():
            if not self._trouble.refusing:
                self._begin()
                self._unit.audit_trail.seal()
            return self._history.audit(request.payload)

    @handles(names.ALERT_RAISE, AlertRaise)
    def alert(self, alert: AlertRaise) -> None:
        """Publish an alert, the same one not again too soon."""
        self._begin()
        self._alerts.raised(alert)

    @handles(names.LOOP_STALLED, LoopStalled)
    def stalled(self, stall: LoopStalled) -> None:
        """The event loop was blocked: tell of it, and see what becomes of the task that did it."""
        self._begin()
        self._strikes.stalled(stall)

    @handles(names.BREAKER_CHANGED, BreakerChanged)
    def breaker_changed(self, breaker: BreakerChanged) -> None:
        """Publish that the circuit breaker has changed."""
        if breaker.previous:
            self._begin()
            self._unit.outbox.add(names.BREAKER, self._unit.now, {"at": self._unit.now, **breaker._asdict()})

    @handles(names.PEAKS_ASK, Empty)
    def peaks_asked(self, _: Empty) -> None:
        """Health has started and wants to go on from the highest values there ever were."""
        assert self._database is not None
        row = self._database.one("get_meta", (PEAKS,))
        self.send(names.PEAKS_KEPT, PeaksKept({} if row is None else decoded(row[0])))

    @handles(names.PEAKS_KEEP, PeaksKept)
    def keep_peaks(self, kept: PeaksKept) -> None:
        """Write them down."""
        self._begin()
        self._unit.database.run("set_meta", (PEAKS, compact(kept.peaks)))
