"""The part of the bridge that speaks: answers, events in the order of their commits, signs of life, the log. What the
bus has no room for waits."""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from aico_sched.departures import Departure, Departures
from aico_sched.intake import Terms
from aico_sched.runtime.actor import Actor, handles
from aico_sched.schedule import format_rfc3339
from aico_sched.topics import limits, names
from aico_sched.topics.codecs import write
from aico_sched.topics.envelope import VERSION, Envelope, new_envelope, new_message_id, now_text
from aico_sched.topics.errors import CommandError, ErrorCode
from aico_sched.topics.internal import (
    AlertRaise,
    AttemptLines,
    AttemptsLogged,
    Empty,
    EventRecord,
    EventsCommitted,
    EventsPublished,
    EventsRefilled,
    Heartbeat,
    RepliesReady,
    ReplyReady,
)
from aico_sched.tracing import ATTRIBUTE

LOG_LINES = 50
"""Lines of the log published in one turn, between the commands."""

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


class LogLines(Protocol):
    """The service's log on its way to `topic` (`log_topic.LogTopic`)."""

    @property
    def topic(self) -> str: ...
    def on_line(self, wake: Callable[[], None]) -> None: ...
    def take(self, most: int) -> list[dict[str, Any]]: ...
    def figures(self) -> dict[str, int]: ...


class Spoken(Actor):
    """Base of the bridge. Says nothing of the service's own any more once it is `_quiet`."""

    figures: dict[str, int]
    _endpoint: Endpoint | None = None
    _departures: Departures
    _terms: Terms
    _log_lines: LogLines | None
    _source: str
    _heartbeat_interval: float
    _said_departed = 0
    _refilled = False
    _quiet = False

    @handles(names.REPLIES_READY, RepliesReady)
    def replies_ready(self, ready: RepliesReady) -> None:
        """An actor has answered."""
        at = now_text()
        answers = []
        for row in ready.replies:
            reply = ReplyReady(*row)
            answers.append(
                self._answer(reply.reply_to, reply.correlation_id, reply.codec, reply.body, at, reply.traceparent)
            )
        self._depart(answers)

    def _depart(self, messages: list[Departure]) -> None:
        """What leaves for the bus when this turn has ended."""
        self.effects.call(self._departures.put, messages)

    def _answer(
        self, topic: str, correlation_id: str, codec: str, payload: bytes, at: str, traceparent: str = ""
    ) -> Departure:
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
        return Departure(topic, body)

    def _say(self, envelope: Envelope) -> None:
        """Publish a message of the service's own."""
        self._depart([self._said(envelope)])

    def _said(self, envelope: Envelope, packed: bytes | None = None, event_id: int = 0) -> Departure:
        topic = envelope.message_type
        return Departure(
            topic, write(topic, envelope, self._terms.codec, packed=packed, sign=self._terms.sign), event_id
        )

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
        departing = []
        for row in rows:
            event = EventRecord._make(row)
            attributes = {"seq": str(event.seq)}
            if traces and event.message_id in traces:
                attributes[ATTRIBUTE] = traces[event.message_id]
            envelope = Envelope(event.message_id, event.timestamp, self._source, event.topic, VERSION, attributes, {})
            departing.append(self._said(envelope, event.body, event.event_id))
        self._depart(departing)
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

    def _hand_over(self, topic: str, body: bytes) -> bool:
        assert self._endpoint is not None
        return self._endpoint.send(topic, body)

    def _tell_departed(self) -> None:
        """Tell the store how far the events are on the bus; those that wait for it are not."""
        if self._departures.departed > self._said_departed:
            self._said_departed = self._departures.departed
            self.effects.post(names.EVENTS_PUBLISHED, EventsPublished(self._said_departed))
