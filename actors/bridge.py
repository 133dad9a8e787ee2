"""The bridge actor: the only one with a socket on the bus. Commands come in through it, replies and events go out."""

import secrets
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import msgpack
import structlog

from aico_sched.bus.refusal import TokenBucket
from aico_sched.bus.round_trip import back, there
from aico_sched.clock import Clock
from aico_sched.departures import Departures
from aico_sched.intake import Refused, Terms, accept, refused_by_bus
from aico_sched.logs import described
from aico_sched.runtime.actor import handles
from aico_sched.spoken import Endpoint, LogLines, Spoken
from aico_sched.topics import names
from aico_sched.topics.codecs import decode
from aico_sched.topics.envelope import Unreadable, new_envelope, now_text
from aico_sched.topics.errors import CommandError, ErrorCode
from aico_sched.topics.internal import (
    Activity,
    Audit,
    AuditLines,
    BusPublish,
    BusReply,
    BusRequest,
    Empty,
)
from aico_sched.topics.registry import COMMANDS
from aico_sched.tracing import NO_TRACING, Tracing

log = structlog.get_logger(__name__)

INTAKE = 200
"""Frames taken from the bus in one turn."""

ACTIVITY_INTERVAL = 1.0
"""Seconds between two words to health that the user is active; what comes in between costs a look at its topic."""

_SAID_BY_US = (names.REPLY, names.EVENTS)
"""Topics of the service's own, and of clients that try their connections; none is meant for the service."""

_COMMAND_FAMILIES = sorted(
    {topic if topic.startswith(names.EVENTS) else ".".join(topic.split(".")[:2]) for topic in COMMANDS}
)

_READS = frozenset(topic for topic, command in COMMANDS.items() if not command.mutates) - {names.REGISTRY_RELOAD}
"""Commands that the store does not write into the audit trail by carrying them out."""

REFUSALS_A_SECOND = 50.0
REFUSALS_AT_ONCE = 200.0
"""Refusals that are answered and written down where nobody is authenticated: a flood of forged commands must not become
one of answers and of commits."""

READY_TIMEOUT = 15.0
FLUSH_TIMEOUT = 2.0


class BusRefusal(Protocol):
    """A message that the hosted broker refused (`bus.local.BusRefusal`)."""

    @property
    def name(self) -> str: ...
    @property
    def topic(self) -> str: ...
    @property
    def code(self) -> ErrorCode: ...
    @property
    def reason(self) -> str: ...
    @property
    def body(self) -> bytes: ...
    @property
    def action(self) -> str: ...


class BridgeActor(Spoken):
    """Validates what comes in, so that nobody behind it has to, and publishes what is durable.

    `role_of` tells the role of a sender by name, `may_publish` whether a role may publish a topic.
    """

    name = "bridge"
    # In a burst runs start before the bus is told of those that have.
    patient = True

    def __init__(
        self,
        clock: Clock,
        make_endpoint: Callable[[], Endpoint],
        source: str,
        role_of: Callable[[str], str],
        may_publish: Callable[[str, str, str], bool],
        *,
        heartbeat_interval: float,
        terms: Terms,
        take_refusals: Callable[[], Sequence[BusRefusal]] = tuple,
        bus_figures: Callable[[], dict[str, Any]] = dict,
        log_lines: LogLines | None = None,
        tracing: Tracing = NO_TRACING,
    ) -> None:
        super().__init__(clock)
        self._make_endpoint, self._source = make_endpoint, source
        self._role_of, self._may_publish = role_of, may_publish
        self._take_refusals, self._bus_figures = take_refusals, bus_figures
        self._log_lines, self._tracing = log_lines, tracing
        self._heartbeat_interval, self._terms = heartbeat_interval, terms
        self._own_replies = names.TASK_REPLY + secrets.token_hex(16)
        self._there = there(source)
        self._departures = Departures(self._hand_over)
        self._asked: list[Audit] = []
        self._refused: list[Audit] = []
        # The hosted broker bounds what it lets through and tells of; nobody else does.
        foreign = terms.authenticate is not None
        self._refusals = TokenBucket(REFUSALS_A_SECOND, REFUSALS_AT_ONCE, clock.monotonic()) if foreign else None
        self._stop_by = 0.0
        self._next_activity = 0.0
        self.figures = {"received": 0, "refused": 0, "replies": 0, "events": 0, "published": 0, "unreported": 0}

    async def on_start(self) -> None:
        self._endpoint = self._make_endpoint()
        self._endpoint.connect()
        for prefix in (*_COMMAND_FAMILIES, self._own_replies, self._there):
            self._endpoint.subscribe(prefix)
        # Everything else below our root too, so that who misspells a command is told. The broker of a joined bus with
        # keys does not allow that, for the replies to others are among it, and passes over it.
        self._endpoint.subscribe(names.ROOT)
        for prefix in names.USER_ACTIVITY:
            self._endpoint.subscribe(prefix)
        await self._endpoint.ready(READY_TIMEOUT)
        self._endpoint.on_readable(self.effects.wake)
        if self._log_lines is not None:
            self._log_lines.on_line(self.effects.wake)
        self.send(names.EVENTS_REFILL, Empty())

    async def on_stop(self) -> None:
        if self._endpoint is None:
            return
        try:
            if self._quiet and not self._departures:
                # Its echo comes back when all that was sent before it has reached the broker.
                await self._endpoint.ready(FLUSH_TIMEOUT)
        except OSError as error:
            log.warning("bus_not_flushed", **described(error))
        finally:
            self._endpoint.close()

    # In.

    @handles(names.QUIESCE, Empty)
    def quiesce(self, _: Empty) -> None:
        """The service is about to stop: take no more commands, go on sending."""
        self._quiet = True
        self._say_availability("stopping", {})

    def take_input(self) -> bool:
        self._departures.flush()
        self.effects.call(self._tell_departed)
        more = self._publish_log()
        if self._quiet or self._departures:
            return more
        assert self._endpoint is not None
        for refusal in self._take_refusals():
            role = self._role_or_none(refusal.name)
            if refusal.action != "publish":
                self._note_refusal(refusal, role)
                continue
            self._refuse(refusal.topic, refused_by_bus(refusal.name, role, refusal.code, refusal.reason, refusal.body))
        frames = self._endpoint.receive(INTAKE)
        for topic, body in frames:
            if topic.startswith(names.USER_ACTIVITY):
                self._note_activity(topic, body)
            elif topic.startswith(self._own_replies):
                self._take_reply(body)
            elif topic.startswith(self._there):
                self._send_back(topic)
            elif topic in COMMANDS or not topic.startswith(_SAID_BY_US):
                self._take_command(topic, body)
        return more or len(frames) == INTAKE

    def end_turn(self) -> None:
        for lines, may_wait in ((self._refused, False), (self._asked, True)):
            if lines:
                self.send(names.AUDIT, AuditLines(list(lines), may_wait))
                lines.clear()

    def wake_at(self) -> float | None:
        # The bus does not tell when it has room again; a full one is rare.
        return self.clock.monotonic() + 0.01 if self._departures else None

    def _send_back(self, topic: str) -> None:
        """Answer whoever measures the way here and back: the service itself, unless anybody may send anything."""
        if self._refusals is None or self._refusals.take(self.clock.monotonic()):
            self._say(new_envelope(back(topic, self._source), self._source, {}))

    def _note_refusal(self, refusal: BusRefusal, role: str) -> None:
        """A subscription or a connection: there is nobody to tell, but it is written down."""
        self.figures["refused"] += 1
        now, action = self.clock.now_us(), f"bus.{refusal.action}"
        self._refused.append(Audit(now, refusal.name, role, action, refusal.topic, refusal.code, refusal.reason))

    def _role_or_none(self, name: str) -> str:
        try:
            return self._role_of(name)
        except LookupError:
            return ""

    def _take_command(self, topic: str, body: bytes) -> None:
        self.figures["received"] += 1
        try:
            request = accept(topic, body, self._role_of, self._terms)
        except Refused as refused:
            self._refuse(topic, refused)
        else:
            if topic in _READS:
                target = str(request.payload.get("task_id") or request.payload.get("execution_id") or "")
                line = Audit(self.clock.now_us(), request.source, request.role, topic, target, "ok", "")
                self._asked.append(line)
            if self._tracing.active:
                with self._tracing.span(topic, request.traceparent, kind="consumer", source=request.source) as span:
                    request = request._replace(traceparent=span.traceparent)
            self.send(topic, request)

    def _refuse(self, topic: str, refused: Refused) -> None:
        """Say no to the sender, where the message tells who that is, and to the audit trail; on a bus where anybody
        may send anything, to so many in a second only."""
        self.figures["refused"] += 1
        if self._refusals is not None and not self._refusals.take(self.clock.monotonic()):
            self.figures["unreported"] += 1
            return
        error = refused.error
        line = Audit(
            self.clock.now_us(), refused.source, refused.role, topic, refused.target, error.code, error.message[:500]
        )
        self._refused.append(line)
        if refused.reply_to:
            answer = msgpack.packb(error.as_reply())
            self._depart([self._answer(refused.reply_to, refused.correlation_id, refused.codec, answer, now_text())])

    def _note_activity(self, topic: str, body: bytes) -> None:
        """Tell health that a user did something, now and then; what a task of ours has published is no such thing."""
        now = self.clock.monotonic()
        if now < self._next_activity or self._is_ours(body):
            return
        self._next_activity = now + ACTIVITY_INTERVAL
        self.send(names.ACTIVITY, Activity(topic))

    def _is_ours(self, body: bytes) -> bool:
        try:
            return decode(body).source == self._source
        except Unreadable:
            return False

    def _take_reply(self, body: bytes) -> None:
        """The answer to a task's request; its correlation id begins with the execution's."""
        try:
            envelope = decode(body)
        except Unreadable as error:
            log.warning("unreadable_reply", error=error.message)
            return
        execution_id, _, correlation_id = envelope.attributes.get("correlation_id", "").partition("/")
        self.send(names.BUS_REPLY, BusReply(execution_id, correlation_id, envelope.payload))

    # Messages of tasks.

    @handles(names.BUS_PUBLISH, BusPublish)
    def bus_publish(self, message: BusPublish) -> None:
        """Publish for a task, as far as its creator may."""
        self._publish_for_task(message, {})

    @handles(names.BUS_REQUEST, BusRequest)
    def bus_request(self, request: BusRequest) -> None:
        """Ask another module for a task; the reply comes back on this bridge's own topic."""
        correlation_id = f"{request.execution_id}/{request.correlation_id}"
        more = {"correlation_id": correlation_id, "reply_to": self._own_replies}
        if not self._publish_for_task(BusPublish(*request.message), more):
            refusal = CommandError(ErrorCode.PERMISSION_DENIED, "the task's creator may not publish on this topic")
            reply = BusReply(request.execution_id, request.correlation_id, refusal.as_reply())
            self.send(names.BUS_REPLY, reply)

    def _publish_for_task(self, message: BusPublish, more: dict[str, str]) -> bool:
        allowed = not message.topic.startswith(names.ROOT) and self._may_publish(
            message.role, message.source, message.topic
        )
        if not allowed:
            detail = f"a task of {message.source} ({message.role}) may not publish on {message.topic}"
            line = Audit(
                self.clock.now_us(),
                message.source,
                message.role,
                "bus.publish",
                message.topic,
                ErrorCode.PERMISSION_DENIED,
                detail,
            )
            self._refused.append(line)
            log.warning("publish_refused", topic=message.topic, creator=message.source, role=message.role)
            return False
        attributes = {**message.attributes, "created_by": message.source, **more}
        self.figures["published"] += 1
        self._say(new_envelope(message.topic, self._source, message.payload, attributes=attributes))
        return True

    def begin_stop(self) -> None:
        self._stop_by = self.clock.monotonic() + FLUSH_TIMEOUT

    def may_stop(self) -> bool:
        # What a bus that is gone does not take is an event, which goes out at the next start.
        return not self._departures or self.clock.monotonic() >= self._stop_by

    def report(self) -> dict[str, Any]:
        waiting = {"unsent": len(self._departures), "unsent_max": self._departures.longest}
        lines = {} if self._log_lines is None else self._log_lines.figures()
        return {**self.figures, **waiting, **lines, **self._bus_figures()}
