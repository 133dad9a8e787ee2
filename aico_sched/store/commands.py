"""Commands that change something: each is carried out once, however often it arrives, and leaves a line in the audit
trail; a repeat gets the first answer."""

from collections.abc import Callable
from typing import Any

import msgpack

from aico_sched.store.bulk_create import BulkCreate
from aico_sched.store.errors import StoreError
from aico_sched.store.tasks import NewTask, Sender, TaskCommands
from aico_sched.store.unit import Unit
from aico_sched.topics import names
from aico_sched.topics.errors import CommandError, internal_error
from aico_sched.topics.internal import Request
from aico_sched.verdicts import Unjudged

FEWEST_CREATES = 3
"""With fewer creates in a row the long way is as short."""

Carry = Callable[[str, Request], dict[str, Any]]
Answer = Callable[[Request, bytes], None]
Postpone = Callable[[str, Request, Unjudged], None]


class Commands:
    """Applies commands inside the store's transaction. `carry_out` does what a command asks and returns the result,
    or raises; `answer` sends an answer once the transaction is durable; `postpone` has a command applied again when a
    question that it raises has been answered."""

    def __init__(self, unit: Unit, tasks: TaskCommands, carry_out: Carry, answer: Answer, postpone: Postpone) -> None:
        self._unit, self._tasks = unit, tasks
        self._carry_out, self._answer, self._postpone = carry_out, answer, postpone
        self._bulk_create = BulkCreate(unit, tasks)
        self.figures = {"commands": 0, "refused": 0, "deduplicated": 0}

    def apply(self, topic: str, request: Request) -> None:
        """Apply one command. Raises a `StoreError` of the database; any other is the command's own."""
        seen = self._unit.seen.answer(_seen_as(request))
        if seen is None:
            self._apply_new(topic, request)
            return
        self.figures["commands"] += 1
        self.figures["deduplicated"] += 1
        self._answer(request, seen)

    def create(self, requests: list[Request]) -> None:
        """Apply creates as `apply` does one after the other, their rows written together."""
        keys = [_seen_as(request) for request in requests]
        seen = self._unit.seen.known(keys)
        fresh: list[Request] = []
        for key, request in zip(keys, requests, strict=True):
            if key not in seen:
                fresh.append(request)
                seen.add(key)
            else:
                self._create_new(fresh)
                fresh = []
                self.apply(names.TASK_CREATE, request)
        self._create_new(fresh)

    def _create_new(self, requests: list[Request]) -> None:
        topic = names.TASK_CREATE
        if len(requests) < FEWEST_CREATES:
            for request in requests:
                self._apply_new(topic, request)
            return
        wanted = [(request.payload, Sender(request.source, request.role)) for request in requests]
        for request, (outcome, written) in zip(requests, self._bulk_create.prepare(wanted), strict=True):
            self._unit.traced(request.traceparent)
            if isinstance(outcome, CommandError):
                self._refused(topic, request, outcome)
            elif written and isinstance(outcome, NewTask):
                self._accepted(topic, request, self._tasks.added(outcome))
            else:
                self._apply_new(topic, request)

    def _apply_new(self, topic: str, request: Request) -> None:
        """A refused command leaves no trace but its line in the audit trail."""
        mark = self._unit.mark()
        try:
            result = self._carry_out(topic, request)
        except (CommandError, StoreError) as error:
            if isinstance(error, StoreError) and error.of_database:
                raise
            self._unit.restore(mark)
            self._refused(topic, request, error if isinstance(error, CommandError) else internal_error(error))
            return
        except Unjudged as question:
            self._unit.restore(mark)
            self._postpone(topic, request, question)
            return
        self._unit.keep(mark)
        self._accepted(topic, request, result)

    def _accepted(self, topic: str, request: Request, result: dict[str, Any]) -> None:
        self._unit.audit(request.source, request.role, topic, _target(request), "ok")
        self._conclude(request, {"ok": True, "result": result})

    def _refused(self, topic: str, request: Request, refusal: CommandError) -> None:
        self.figures["refused"] += 1
        self._unit.audit(request.source, request.role, topic, _target(request), refusal.code, refusal.message)
        self._conclude(request, refusal.as_reply())

    def _conclude(self, request: Request, answer: dict[str, Any]) -> None:
        self.figures["commands"] += 1
        body = msgpack.packb(answer)
        self._unit.seen.remember(_seen_as(request), self._unit.now_us, body)
        self._answer(request, body)


def _seen_as(request: Request) -> str:
    """An id is its sender's own: another's must not be answered with what this one was told."""
    return f"{request.source}/{request.message_id}"


def _target(request: Request) -> str:
    return str(request.payload.get("task_id") or request.payload.get("execution_id") or "")
