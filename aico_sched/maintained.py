"""The part of the store actor that works on the whole database file: the connection is closed meanwhile, a child
process does the work, and messages wait in the mailbox."""

from pathlib import Path
from typing import Any, NamedTuple, Protocol

import msgpack
import structlog

from aico_sched.recorded import Recorded
from aico_sched.runtime.actor import handles
from aico_sched.security.database_key import InvalidDatabaseKey
from aico_sched.store.maintenance.job import Job, Outcome, Target, in_small_steps
from aico_sched.store.maintenance.operations import refuse_existing
from aico_sched.store.maintenance.process import run_worker
from aico_sched.store.opening import CHECKPOINT
from aico_sched.topics import names
from aico_sched.topics.errors import CommandError, ErrorCode
from aico_sched.topics.internal import AlertRaise, BusReply, MaintenanceAsk, Request, StoreState

log = structlog.get_logger(__name__)

CHILD = "maintenance"
KINDS = {
    names.STORE_VACUUM: "vacuum",
    names.STORE_CHECK: "check",
    names.STORE_BACKUP: "backup",
    names.STORE_REKEY: "rekey",
}
INCREMENT_PAGES = 32
"""Pages one turn gives back: 1 to 11 ms of the loop; with 64 its lag was over 20 ms at the 99th percentile."""

INCREMENT_CHECKPOINT = 125
"""Pages of the log that are moved into the database at once meanwhile. With the usual number each tenth turn took
20 ms, and the loop's lag was as much at the 99th percentile; so it is 8."""

ANALYSED_ROWS = 100
"""Rows of each index that a turn looks at for the planner's statistics."""

DAMAGED = "database_damaged"
"""The key of the alert."""


class KeyChanges(Protocol):
    """Where the database's key comes from."""

    def current(self) -> str:
        """The key now."""

    def stage(self) -> dict[str, str]:
        """Make a new key beside the one in use: `new_key`, `staged_key`, `key_file`, `retired_key`. Raises
        `CommandError` where the key is not the service's to change."""


class Asked(NamedTuple):
    """Who is to be answered: the sender of a command, or a task."""

    topic: str
    request: Request | None
    task: MaintenanceAsk | None


class Maintained(Recorded):
    """Base of the store actor."""

    _keys: KeyChanges
    _maintenance_timeout: float
    _increments: Job | None = None

    # Holding messages back.

    def _job(self) -> Job | None:
        child = self.effects.children.get(CHILD)
        return None if child is None else child.info

    def _working(self) -> bool:
        """Whether a worker has the file for itself."""
        job = self._job()
        return job is not None and job.exclusive and job.outcome is None

    def holding(self) -> bool:
        return self._working() or (self._closed() and not self._trouble.refusing)

    def hasten(self) -> None:
        job = self._job()
        if job is None:
            return
        if job.outcome is None and not job.cancelled:
            job.cancelled = "the service is stopping; nothing was changed"
            self.effects.call(self.effects.children[CHILD].cancel, job.cancelled)
        elif job.outcome is not None and self._closed() and self._trouble.refusing:
            # It waits for a database that cannot be opened now.
            self.effects.release(CHILD)
            self._answer(job.asked, job.kind, job.outcome)

    def may_stop(self) -> bool:
        return self._job() is None

    # Being asked.

    @handles(names.STORE_VACUUM, Request)
    def vacuum_asked(self, request: Request) -> None:
        """Give free pages back."""
        self._command(names.STORE_VACUUM, request)

    @handles(names.STORE_CHECK, Request)
    def check_asked(self, request: Request) -> None:
        """Read every page."""
        self._command(names.STORE_CHECK, request)

    @handles(names.STORE_BACKUP, Request)
    def backup_asked(self, request: Request) -> None:
        """Copy the database."""
        self._command(names.STORE_BACKUP, request)

    @handles(names.STORE_REKEY, Request)
    def rekey_asked(self, request: Request) -> None:
        """Encrypt the database anew."""
        self._command(names.STORE_REKEY, request)

    @handles(names.MAINTENANCE_ASK, MaintenanceAsk)
    def task_asked(self, asked: MaintenanceAsk) -> None:
        """A system task wants it."""
        wanted = Asked(names.MAINTENANCE_ASK, None, asked)
        if self._trouble.refusing:
            self._answer(wanted, asked.kind, Outcome("unavailable", self._trouble.advice))
            return
        self._begin()
        self._ask(wanted, asked.kind, asked.options)

    def _command(self, topic: str, request: Request) -> None:
        if self._is_under_way(request) or self._turned_away(request):
            return
        self._begin()
        seen = self._unit.seen.answer(_seen_as(request))
        if seen is not None:
            self.reply_packed(request, seen)
            return
        asked = Asked(topic, request, None)
        if request.role != "admin":
            # On a joined bus nobody but the store is there to say so.
            self._answer(asked, KINDS[topic], Outcome("permission_denied", "only an admin may work on the database"))
            return
        self._ask(asked, KINDS[topic], request.payload)

    def _is_under_way(self, request: Request) -> bool:
        """Whether the sender asks again for what is under way, and will be answered."""
        job = self._job()
        if job is None or job.asked.request is None:
            return False
        return _seen_as(Request(*job.asked.request)) == _seen_as(request)

    def _ask(self, asked: Asked, kind: str, options: dict[str, Any]) -> None:
        """Begin it, or say why not."""
        try:
            self._start(asked, kind, options)
        except CommandError as error:
            self._answer(asked, kind, Outcome(error.code, error.message, error.details))

    def _start(self, asked: Asked, kind: str, options: dict[str, Any]) -> None:
        assert self._database is not None
        if self._job() is not None or self._increments is not None:
            raise CommandError(ErrorCode.CONFLICT, "other maintenance is under way; try again when it is through")
        if kind == "vacuum" and self._suits_increments(options):
            self._increments = Job("vacuum", {"before": self._database.size()}, asked, self.clock.now_us())
            self._pace_checkpoints(INCREMENT_CHECKPOINT)
            return
        if self._database.borrowed:
            message = "the database connection belongs to the embedding program, which must do this itself"
            raise CommandError(ErrorCode.CONFLICT, message)
        options = self._prepared(kind, options)
        job = Job(kind, options, asked, self.clock.now_us())  # type: ignore[arg-type]
        target, timeout = self._database.target(self._keys.current()), self._maintenance_timeout
        self.send(names.STORE_STATE, StoreState("maintenance", kind))
        self.effects.call(self._database.suspend)
        self.effects.spawn(CHILD, job, lambda: self._work(job, target, timeout))
        log.info("maintenance_started", kind=kind)

    def _prepared(self, kind: str, options: dict[str, Any]) -> dict[str, Any]:
        """The worker's options; raises `CommandError` for what it could not do."""
        if kind == "backup":
            return {"file": str(_checked_file(options["file"]))}
        if kind == "rekey":
            backup = options.get("backup")
            try:
                staged = self._keys.stage()
            except InvalidDatabaseKey as error:
                raise CommandError(ErrorCode.CONFLICT, str(error)) from error
            return {**staged, "backup": None if backup is None else str(_checked_file(backup))}
        return {}

    async def _work(self, job: Job, target: Target, timeout: float) -> None:
        """The child task."""
        await run_worker(job, target, timeout, self.effects.wake)

    # Going on.

    def _go_on(self) -> bool:
        """Open the connection again as soon as the file is free, and answer when the work is through. Returns whether
        messages may have waited."""
        job = self._job()
        waited = self._closed()
        if waited and self._trouble.refusing:
            return False
        if self._database is None:
            self._open_and_build()
            self._arrive()
        elif waited:
            self._database.resume()
            self.send(names.STORE_STATE, StoreState("", ""))
        if job is not None and job.outcome is not None:
            self.effects.release(CHILD)
            if not self._trouble.refusing:
                self._begin()
            self._answer(job.asked, job.kind, job.outcome)
        return waited

    def _answer(self, asked: Asked, kind: str, outcome: Outcome) -> None:
        """Tell who asked, and the audit trail; a damaged database is everybody's business."""
        asked = Asked(asked.topic, asked.request and Request(*asked.request), asked.task)
        reply = _reply(outcome)
        log.info("maintenance_ended", kind=kind, outcome=outcome.code, message=outcome.message)
        if asked.request is not None:
            request, body = asked.request, msgpack.packb(reply)
            if self._built:
                self._unit.audit(request.source, request.role, asked.topic, kind, outcome.code, outcome.message)
                if outcome.code != "unavailable":
                    self._unit.seen.remember(_seen_as(request), self._unit.now_us, body)
            self.reply_packed(request, body)
        elif asked.task is not None:
            task = MaintenanceAsk(*asked.task)
            if self._built:
                self._unit.audit(task.task_id, "service", asked.topic, kind, outcome.code, outcome.message)
            self.send(names.MAINTENANCE_DONE, BusReply(task.execution_id, task.correlation_id, reply))
        if self._trouble.refusing:
            return
        if outcome.result.get("findings") or outcome.result.get("error_type") == "StoreCorrupt":
            self._report_damage(outcome.result.get("findings") or [outcome.message])
        elif kind == "check" and outcome.code == "ok":
            self._alerts.raised(AlertRaise(DAMAGED, "info", "the database is sound", None, {}, resolved=True))

    def _report_damage(self, found: list[str]) -> None:
        message = "the database is damaged; stop the service and restore a backup: aico-sched restore FILE"
        self._alerts.raised(AlertRaise(DAMAGED, "critical", message, None, {"findings": found[:10]}, lasting=True))
        self.send(names.STORE_STATE, StoreState("damaged", found[0]))
        # From the next turn on: this one's alert is written yet.
        self.effects.call(self._trouble.found_damage, found[0])

    # Vacuum in small steps.

    def _suits_increments(self, options: dict[str, Any]) -> bool:
        assert self._database is not None
        if self._database.borrowed and options.get("mode", "auto") == "auto":
            return True
        return in_small_steps(options, self._database.free_bytes() / max(1, self._database.size()))

    def _pace_checkpoints(self, pages: int) -> None:
        """A connection that is borrowed keeps its owner's rule."""
        assert self._database is not None
        if not self._database.borrowed:
            self._database.checkpoint_after(pages)

    def _give_back(self) -> bool:
        """Free some pages; returns whether there are more."""
        job = self._increments
        if job is None:
            return False
        assert self._database is not None
        self._begin()
        self._database.incremental_vacuum(INCREMENT_PAGES)
        if self._database.free_bytes():
            return True
        self._increments = None
        self._pace_checkpoints(CHECKPOINT)
        if not self._database.borrowed:
            self._database.refresh_statistics(ANALYSED_ROWS)
        before, after = job.options["before"], self._database.size()
        result = {
            "mode": "incremental",
            "bytes_before": before,
            "bytes_after": after,
            "bytes_freed": before - after,
            "seconds": (self.clock.now_us() - job.started_us) / 1_000_000,
        }
        self._answer(job.asked, "vacuum", Outcome("ok", "", result))
        return False


def _reply(outcome: Outcome) -> dict[str, Any]:
    if outcome.code == "ok":
        return {"ok": True, "result": outcome.result}
    return CommandError(ErrorCode(outcome.code), outcome.message, **outcome.result).as_reply()


def _seen_as(request: Request) -> str:
    return f"{request.source}/{request.message_id}"


def _checked_file(text: str) -> Path:
    path = Path(text)
    if not path.is_absolute():
        message = f"the file must be an absolute path on the service's machine, not {text!r}"
        raise CommandError(ErrorCode.INVALID_MESSAGE, message, field="file")
    try:
        refuse_existing(path)
    except NotADirectoryError as error:
        raise CommandError(ErrorCode.INVALID_MESSAGE, str(error), field="file") from error
    except OSError as error:
        raise CommandError(ErrorCode.CONFLICT, str(error), field="file") from error
    return path
