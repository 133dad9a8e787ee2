"""The bridge actor: the only one with a socket on the bus. Commands come in through it, replies and events go out."""

import secrets
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import msgpack
import structlog

from aico_sched.bus.refusal import TokenBucket
from aico_sched.bus.round_trip import back, there
from aico_sched.clock import Clock
from aico_sched.departures import Departures
from aico_sched.intake import Refused, Terms, accept, refused_by_bus
from aico_sched.logs import described
from aico_sched.runtime.actor import Actor, handles
from aico_sched.schedule import format_rfc3339
from aico_sched.topics import limits, names
from aico_sched.topics.codecs import decode, write
from aico_sched.topics.envelope import VERSION, Envelope, Unreadable, new_envelope, new_message_id, now_text
from aico_sched.topics.errors import CommandError, ErrorCode
from aico_sched.topics.internal import (
    Activity,
    AlertRaise,
    AttemptLines,
    AttemptsLogged,
    Audit,
    AuditLines,
    BusPublish,
    BusReply,
    BusRequest,
    Empty,
    EventRecord,
    EventsCommitted,
    EventsPublished,
    EventsRefilled,
    Heartbeat,
    RepliesReady,
    ReplyReady,
)
from aico_sched.topics.registry import COMMANDS
from aico_sched.tracing import ATTRIBUTE, NO_TRACING, Tracing

log = structlog.get_logger(__name__)

INTAKE = 200
"""Frames taken from the bus in one turn."""

LOG_LINES = 50
"""Lines of the log published in one turn, between the commands."""

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
EXPIRES_AFTER_BEATS = 3


class Endpoint(Protocol):
    """A place on the bus (`bus.endpoint.BusEndpoint`)."""

    def connect(self) -> None: ...
    def subscribe(self, prefix: str) -> None: ...
    async def ready(self, timeout: float) -> None: ...
    def send(self, topic: str, body: bytes) -> bool: ...
    def receive(self, limit: int) -> list[tuple[str, bytes]]: ...
    def on_readable(self, callback: Callable[[], None]) -> None: ...
    def close(self) -> None: ...


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


class LogLines(Protocol):
    """The service's log on its way to `topic` (`log_topic.LogTopic`)."""

    @property
    def topic(self) -> str: ...
    def on_line(self, wake: Callable[[], None]) -> None: ...
    def take(self, most: int) -> list[dict[str, Any]]: ...
    def figures(self) -> dict[str, int]: ...


class BridgeActor(Actor):
    """Validates what comes in, so that nobody behind it has to, and publishes what is durable.

    `role_of` tells the role of a sender by name, `may_publish` whether a role may publish a topic.
    """

    name = "bridge"

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
        self._endpoint: Endpoint | None = None
        self._own_replies = f"{names.REPLY}{source}.{secrets.token_hex(16)}"
        self._there = there(source)
        self._departures = Departures(self._hand_over)
        self._said_departed = 0
        self._asked: list[Audit] = []
        self._refused: list[Audit] = []
        # The hosted broker bounds what it lets through and tells of; nobody else does.
        foreign = terms.authenticate is not None
        self._refusals = TokenBucket(REFUSALS_A_SECOND, REFUSALS_AT_ONCE, clock.monotonic()) if foreign else None
        self._stop_by = 0.0
        self._refilled = False
        self._quiet = False
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
            self._reply(refused.reply_to, refused.correlation_id, refused.codec, answer, now_text())

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

    # Out.

    @handles(names.REPLIES_READY, RepliesReady)
    def replies_ready(self, ready: RepliesReady) -> None:
        """An actor has answered."""
        at = now_text()
        for row in ready.replies:
            reply = ReplyReady(*row)
            self._reply(reply.reply_to, reply.correlation_id, reply.codec, reply.body, at, reply.traceparent)

    def _reply(
        self, topic: str, correlation_id: str, codec: str, payload: bytes, at: str, traceparent: str = ""
    ) -> None:
        self.figures["replies"] += 1
        attributes = {"correlation_id": correlation_id}
        if traceparent:
            attributes[ATTRIBUTE] = traceparent
        envelope = Envelope(new_message_id(), at, self._source, topic, VERSION, attributes, {})
        body = write(topic, envelope, codec, packed=payload, sign=self._terms.sign)
        if len(body) > limits.MAX_FRAME_BYTES:
            message = f"the answer is {len(body)} bytes long; ask for less with `limit`"
            refusal = CommandError(ErrorCode.TOO_LARGE, message, field="limit").as_reply()
            body = write(topic, envelope._replace(payload=refusal), codec, sign=self._terms.sign)
        self.effects.call(self._departures.put, topic, body)

    def _say(self, envelope: Envelope, packed: bytes | None = None, event_id: int = 0) -> None:
        """Publish a message of the service's own."""
        topic = envelope.message_type
        body = write(topic, envelope, self._terms.codec, packed=packed, sign=self._terms.sign)
        self.effects.call(self._departures.put, topic, body, event_id)

    @handles(names.EVENTS_COMMITTED, EventsCommitted)
    def committed(self, committed: EventsCommitted) -> None:
        """Events that are durable. Until the refill is through they are part of it."""
        if self._refilled:
            self._publish_events(committed.events, committed.traces)

    @handles(names.EVENTS_REFILLED, EventsRefilled)
    def refilled(self, refilled: EventsRefilled) -> None:
        """Events that may not have been published before the bridge, or the service, started."""
        self._publish_events(refilled.events)
        self._refilled = refilled.done
        if not refilled.done:
            self.send(names.EVENTS_REFILL, Empty())

    def _publish_events(self, rows: list[EventRecord], traces: Mapping[str, str] | None = None) -> None:
        if not rows:
            return
        self.figures["events"] += len(rows)
        for row in rows:
            event = EventRecord._make(row)
            attributes = {"seq": str(event.seq)}
            if traces and event.message_id in traces:
                attributes[ATTRIBUTE] = traces[event.message_id]
            envelope = Envelope(event.message_id, event.timestamp, self._source, event.topic, VERSION, attributes, {})
            self._say(envelope, event.body, event.event_id)
        self.effects.call(self._tell_departed)

    @handles(names.ATTEMPTS_LOGGED, AttemptsLogged)
    def logged(self, logged: AttemptsLogged) -> None:
        """Lines of running attempts, for those who follow them, unless the bus is full."""
        if self._departures:
            return
        at = format_rfc3339(logged.at_us)
        for row in logged.runs:
            lines = AttemptLines(*row)._asdict() | {"at": at}
            self._say(new_envelope(names.EXECUTION_LOGGED, self._source, lines))

    @handles(names.HEARTBEAT, Heartbeat)
    def heartbeat(self, beat: Heartbeat) -> None:
        """Tell the bus that the service is here."""
        if not self._quiet:
            self._say_availability("ready", beat.sequences)

    def _say_availability(self, status: str, sequences: dict[str, int]) -> None:
        envelope = new_envelope(names.AVAILABILITY, self._source, {})
        payload = {
            "instance": self._source,
            "status": status,
            "at": envelope.timestamp,
            "expires_in": EXPIRES_AFTER_BEATS * self._heartbeat_interval,
            "seq": sequences,
        }
        self._say(envelope._replace(payload=payload))

    @handles(names.ALERT_UNKEPT, AlertRaise)
    def alert_unkept(self, alert: AlertRaise) -> None:
        """An alert that the database cannot keep: it has no number, and is in no history."""
        envelope = new_envelope(names.ALERT, self._source, {})
        told = {name: value for name, value in alert._asdict().items() if name != "lasting"}
        self._say(envelope._replace(payload={"at": envelope.timestamp, **told}))

    def _publish_log(self) -> bool:
        """Publish lines of the log while the bus takes them; returns whether more wait."""
        if self._log_lines is None or self._departures:
            return False
        rows = self._log_lines.take(LOG_LINES)
        for row in rows:
            self._say(new_envelope(self._log_lines.topic, self._source, row))
        return len(rows) == LOG_LINES

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

    # The socket.

    def _hand_over(self, topic: str, body: bytes) -> bool:
        assert self._endpoint is not None
        return self._endpoint.send(topic, body)

    def _tell_departed(self) -> None:
        """Tell the store how far the events are on the bus; those that wait for it are not."""
        if self._departures.departed > self._said_departed:
            self._said_departed = self._departures.departed
            self.effects.post(names.EVENTS_PUBLISHED, EventsPublished(self._said_departed))

    def begin_stop(self) -> None:
        self._stop_by = self.clock.monotonic() + FLUSH_TIMEOUT

    def may_stop(self) -> bool:
        # What a bus that is gone does not take is an event, which goes out at the next start.
        return not self._departures or self.clock.monotonic() >= self._stop_by

    def report(self) -> dict[str, Any]:
        waiting = {"unsent": len(self._departures), "unsent_max": self._departures.longest}
        lines = {} if self._log_lines is None else self._log_lines.figures()
        return {**self.figures, **waiting, **lines, **self._bus_figures()}
