"""Requests in flight: sent, sent again with the same id while no answer comes, and matched with their answers."""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from aico_sched.bus.end import BusEnd
from aico_sched.bus.endpoint import EndpointClosed
from aico_sched.client.errors import RequestTimeout, ServiceUnreachable, from_reply, refusal
from aico_sched.topics import limits
from aico_sched.topics.codecs import Codec, Sign, write
from aico_sched.topics.envelope import MSGPACK, Envelope, new_envelope, now_text
from aico_sched.topics.errors import ErrorCode

RETRY_SECONDS: Final = (1.0, 2.0, 4.0)
"""Pauses before the same message is sent again, at the least; the last one repeats."""

PATIENCE: Final = 4.0
"""Round trips to wait before a message counts as lost. A service that is only busy must not be sent everything twice,
which would keep it busy for good."""

_SMOOTHING: Final = 0.125

_BUSY_SECONDS: Final = 0.05


@dataclass(slots=True, eq=False)
class _InFlight:
    topic: str
    body: Callable[[], bytes]
    answer: "asyncio.Future[dict[str, Any]]"
    sent: int = 0
    sent_at: float = 0.0
    timer: asyncio.TimerHandle | None = None
    doubtful: Exception | None = None


class _Window:
    """Lets `size` in at a time, in the order they came. An `asyncio.Semaphore` looks through all who wait for each one
    that leaves: of 10,000 requests made at once that was a twentieth of the client's work."""

    def __init__(self, size: int) -> None:
        self._free = size
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def __aenter__(self) -> None:
        if self._free:
            self._free -= 1
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            # The place may have been given already.
            if turn.done() and not turn.cancelled():
                self._leave()
            raise

    async def __aexit__(self, *_: object) -> None:
        self._leave()

    def _leave(self) -> None:
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self._free += 1


class Requests:
    """The requests of one client. At most `window` are in flight; further ones wait their turn."""

    def __init__(
        self, endpoint: BusEnd, reply_topic: str, window: int, codec: Codec = MSGPACK, sign: Sign | None = None
    ) -> None:
        self._endpoint, self._reply_topic = endpoint, reply_topic
        self._codec, self._sign = codec, sign
        self._window = _Window(window)
        self._in_flight: dict[str, _InFlight] = {}
        self.resent = 0
        self._round_trip = 0.0

    def __len__(self) -> int:
        return len(self._in_flight)

    async def request(
        self, topic: str, payload: dict[str, Any], timeout: float, message_id: str | None
    ) -> dict[str, Any]:
        """The `result` of the command, or the typed error of its answer; `RequestTimeout` or `ServiceUnreachable`
        after `timeout` seconds, which include the wait for a place in the window."""
        attributes = {"reply_to": self._reply_topic}
        message = new_envelope(topic, self._endpoint.name, payload, attributes=attributes, message_id=message_id)
        # The same in every repetition, so that one answer to any of them is the answer.
        attributes["correlation_id"] = message.message_id
        answer: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        entry = _InFlight(topic, self._body_of(topic, message), answer)
        try:
            async with asyncio.timeout(timeout) as limit, self._window:
                return await self._answer(message.message_id, entry)
        except TimeoutError:
            if not limit.expired():
                raise
            if entry.doubtful is not None:
                raise entry.doubtful from None
            if not self._endpoint.joined and not self._endpoint.linked:
                raise ServiceUnreachable(
                    f"no answer to {topic} within {timeout:g} s, and no connection: {self._endpoint.problem}"
                ) from None
            raise RequestTimeout(topic, timeout, message.message_id) from None

    def _body_of(self, topic: str, message: Envelope) -> Callable[[], bytes]:
        """What to send, each time. A signature is made anew with the time: the same one twice would be a replay."""
        first = _encoded(topic, message, self._codec, self._sign)
        if self._sign is None:
            return lambda: first
        return lambda: _encoded(topic, message._replace(timestamp=now_text()), self._codec, self._sign)

    def take(self, envelope: Envelope, *, trusted: bool = True) -> bool:
        """Give an answer to who waits for it. False for one that nobody waits for (any more). One that is not
        `trusted` may be anybody's: if it is a refusal, that is the error when no other answer comes."""
        entry = self._in_flight.get(envelope.attributes.get("correlation_id", ""))
        if entry is None or entry.answer.done():
            return False
        if not trusted:
            if envelope.payload.get("ok") is False:
                entry.doubtful = from_reply(envelope.payload.get("error"))
            return False
        if entry.sent == 1:
            # Of a message sent twice nobody knows which one was answered.
            taken = asyncio.get_running_loop().time() - entry.sent_at
            self._round_trip += _SMOOTHING * (taken - self._round_trip)
        payload = envelope.payload
        result = payload.get("result")
        if payload.get("ok") is True and isinstance(result, dict):
            entry.answer.set_result(result)
        else:
            entry.answer.set_exception(from_reply(payload.get("error")))
        return True

    def close(self) -> None:
        """Fail what is still waited for."""
        for entry in self._in_flight.values():
            if not entry.answer.done():
                entry.answer.set_exception(
                    ServiceUnreachable(f"the client was closed before {entry.topic} was answered")
                )

    async def _answer(self, key: str, entry: _InFlight) -> dict[str, Any]:
        if key in self._in_flight:
            raise refusal(ErrorCode.CONFLICT, f"a request with the message id {key} is in flight already")
        self._in_flight[key] = entry
        try:
            self._send(entry)
            return await entry.answer
        finally:
            del self._in_flight[key]
            if entry.timer is not None:
                entry.timer.cancel()
            if entry.answer.done() and not entry.answer.cancelled():
                # An answer in the same turn as the deadline: nobody reads it any more.
                entry.answer.exception()

    def _send(self, entry: _InFlight) -> None:
        """Send, and see to it that it is sent again. A full socket, or none, is tried again soon."""
        if entry.answer.done():
            return
        try:
            taken = self._endpoint.send(entry.topic, entry.body())
        except EndpointClosed as error:
            entry.answer.set_exception(ServiceUnreachable(str(error)))
            return
        pause = _BUSY_SECONDS
        if taken:
            shortest = RETRY_SECONDS[min(entry.sent, len(RETRY_SECONDS) - 1)]
            pause = max(shortest, PATIENCE * self._round_trip * 2**entry.sent)
            entry.sent_at = asyncio.get_running_loop().time()
            self.resent += entry.sent > 0
            entry.sent += 1
        entry.timer = asyncio.get_running_loop().call_later(pause, self._send, entry)


def _encoded(topic: str, message: Envelope, codec: Codec, sign: Sign | None) -> bytes:
    try:
        body = write(topic, message, codec, sign=sign)
    except (TypeError, OverflowError, ValueError) as error:
        raise refusal(ErrorCode.INVALID_MESSAGE, f"the payload cannot be sent: {error}") from error
    if len(body) > limits.MAX_FRAME_BYTES:
        text = f"the message is {len(body)} bytes long, at most {limits.MAX_FRAME_BYTES} are allowed"
        raise refusal(ErrorCode.TOO_LARGE, text)
    return body
