"""The part of the store actor that goes on when its database is full, read-only or damaged: questions are answered as
far as they can be, changes are refused, and what must not be lost (ends of attempts above all) waits."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

import structlog

from aico_sched.runtime.actor import Actor
from aico_sched.store.alerts import Alerts
from aico_sched.store.connection import Database
from aico_sched.store.errors import StoreCorrupt, StoreError, StoreFull, StoreReadOnly
from aico_sched.store.room import READ_ONLY, shortage
from aico_sched.store.trouble import Trouble
from aico_sched.store.unit import Unit
from aico_sched.topics import names
from aico_sched.topics.errors import CommandError, ErrorCode
from aico_sched.topics.internal import AlertRaise, Request, StoreState

log = structlog.get_logger(__name__)

RETRY_AFTER: Final = 0.25
"""Seconds to the next try of a turn that met somebody else's lock."""

TROUBLE: Final = "database"
"""The key of the alert."""

AUDIT_KEPT: Final = 10_000
"""Lines of the audit trail that wait in memory for the database; what is asked meanwhile makes one each."""

_PASS: Final = frozenset(
    {
        names.AUDIT,
        names.ATTEMPT_PROGRESS,
        names.CONFIG_JUDGED,
        names.EVENTS_PUBLISHED,
        names.MAINTENANCE_ASK,
        names.TASK_WRITE,
    }
)
"""Messages that are handled meanwhile, beside commands: they are answered, or need not be kept."""


class Impaired(Actor):
    """Base of the store actor. A turn that meets such trouble is undone, and from then on nothing is begun."""

    _database: Database | None
    _unit: Unit
    _alerts: Alerts
    _built: bool
    """Whether there is what reads the database."""
    _arrived: bool
    """Whether this instance has taken over the database, which is its first write."""
    _trouble: Trouble

    def _open_and_build(self) -> None:
        """Open the database and make what reads it. Raises `StoreError` and then has opened nothing."""
        raise NotImplementedError

    def _arrive(self) -> None:
        """In the turn's transaction: take over, and put in order what an earlier life has left."""
        raise NotImplementedError

    def _closed(self) -> bool:
        """Whether there is no connection to ask."""
        return self._database is None or self._database.suspended

    def recovers(self, error: Exception) -> float | None:
        """A busy database is waited for; one that cannot be written is gone on without; anything else is a crash."""
        if not isinstance(error, StoreError):
            return None
        if self._enters(error):
            return 0.0
        return RETRY_AFTER if error.retryable else None

    def starts_without(self, error: Exception) -> bool:
        return isinstance(error, StoreError) and self._enters(error)

    def _enters(self, error: StoreError) -> bool:
        """Whether the trouble that `error` tells of can be gone on with: damage only where there is something to read,
        for else it ends the service."""
        if self._closed() and isinstance(error, StoreCorrupt):
            return False
        if isinstance(error, StoreFull) and self._database is not None and shortage(self._database.path) == READ_ONLY:
            # SQLite calls it a disk error when the file system has become read-only.
            error = StoreReadOnly(str(error))
        return self._trouble.enter(error, self.clock.monotonic())

    def sieve(self) -> Callable[[str], bool] | None:
        return self._passes if self._trouble.refusing else None

    def _passes(self, topic: str) -> bool:
        handler = self.handlers.get(topic)
        if topic == names.AUDIT:
            return self._built
        return handler is None or handler.kind is Request or topic in _PASS

    def _begin(self) -> None:
        """Open the turn's transaction. Raises `CommandError` in trouble."""
        if self._trouble.refusing:
            raise self._trouble.refusal()
        self._unit.begin(self.clock.now_us())

    def _turned_away(self, request: Request) -> bool:
        """In trouble, answer a change with a refusal, or with its first answer if it is a repeat. Returns whether it
        was answered."""
        if not self._trouble.refusing:
            return False
        try:
            seen = None if self._closed() else self._unit.seen.answer(f"{request.source}/{request.message_id}")
        except StoreError:
            seen = None
        if seen is not None:
            self.reply_packed(request, seen)
        else:
            self.refuse(request, self._trouble.refusal())
        return True

    @contextmanager
    def _reading(self) -> Iterator[None]:
        """In trouble, a question that meets a damaged page is refused; the first one to meet it begins the trouble."""
        if self._closed():
            raise self._trouble.refusal()
        try:
            yield
        except StoreError as error:
            if not self._trouble.refusing:
                raise
            message = f"what was asked for cannot be read: {error}"
            raise CommandError(ErrorCode.UNAVAILABLE, message, state=self._trouble.state) from error

    def _face_trouble(self) -> bool:
        """Tell of trouble that has begun, and see when it may be over; as a part of `take_input`. Returns whether the
        next turn is to come right away, to try."""
        trouble = self._trouble
        if not trouble.told:
            trouble.told = True
            log.critical(f"database_{trouble.state}", reason=trouble.detail, hint=trouble.advice)
            self.send(names.STORE_STATE, StoreState(trouble.state, trouble.detail))
            alert = AlertRaise(TROUBLE, "critical", trouble.advice, None, {"state": trouble.state}, lasting=True)
            self.send(names.ALERT_UNKEPT, alert)
        if self._closed():
            return trouble.refusing and self._reopened()
        assert self._database is not None
        return trouble.try_at(self.clock.monotonic(), self._database.path)

    def _reopened(self) -> bool:
        """See whether the database can be opened again, where it is time to. Returns whether it is open: then the end
        of this turn tries to write."""
        now = self.clock.monotonic()
        if now < self._trouble.next_try:
            return False
        try:
            if self._database is None:
                self._open_and_build()
            else:
                self._database.resume()
        except StoreError as error:
            if not self._enters(error):
                raise
            return False
        self._trouble.trying = True
        return True

    def _write_again(self) -> None:
        """The turn that tries: it fails like any other if the trouble is not over."""
        if not self._arrived:
            self._arrive()
        self._begin()
        if self._trouble.unaudited:
            detail = f"{self._trouble.unaudited} lines were dropped while the database could not be written"
            self._unit.audit("aico-sched", "service", names.AUDIT_LIST, "", ErrorCode.UNAVAILABLE, detail)
        notice = AlertRaise(TROUBLE, "info", "the database can be written again", None, {}, resolved=True)
        self._alerts.over(notice)

    def _trouble_over(self) -> None:
        """It was written: the trouble is over."""
        log.info("database_well", was=self._trouble.state)
        self._trouble = Trouble()
        self.send(names.STORE_STATE, StoreState("", ""))
