"""The two sockets of a broker and the flow between them: what comes in on XSUB and passes the checks goes out on
XPUB to those whose subscription passed them."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import structlog
import zmq

from aico_sched.bus.checks import Checks
from aico_sched.bus.holders import Holders
from aico_sched.bus.local import LocalEndpoint
from aico_sched.bus.narrowing import narrowed
from aico_sched.bus.refusal import Reason, Refusals
from aico_sched.bus.sockets import Context, Socket, open_socket
from aico_sched.clock import Clock
from aico_sched.runtime.readiness import NOW, NOW_AND_MORE, Readiness
from aico_sched.security.keys import CurveKeys

log = structlog.get_logger(__name__)

_push: Final = zmq.backend.Socket.send
"""Without what `Socket.send` looks at besides, for options that nobody uses here."""

_TURN: Final = 256
"""Messages per turn of the loop, about 3 ms of work; other tasks of the process run in between."""

_SHOWN: Final = 120
"""Characters of a refused topic that are reported."""


class CannotBind(OSError):
    """The broker cannot listen at an endpoint."""

    def __init__(self, endpoint: str, problem: str) -> None:
        super().__init__(f"the bus cannot listen at {endpoint}: {problem}")
        self.endpoint = endpoint


class PortInUse(CannotBind):
    """Another program listens there."""

    def __init__(self, endpoint: str) -> None:
        advice = "stop it, choose another port (0 is any free one), or join its bus with --bus-connect"
        super().__init__(endpoint, f"another program does already; {advice}")


@dataclass(slots=True)
class Traffic:
    """Counts since the start, over reconnections."""

    received: int = 0
    forwarded: int = 0
    forwarded_bytes: int = 0


class Exchange:
    """Relays on the running loop from `bind` to `close`. `on_violation` is called with the name of a client that
    breaks the protocol of the subscription port."""

    def __init__(
        self,
        context: Context,
        server: CurveKeys,
        domain: str,
        checks: Checks,
        refusals: Refusals,
        traffic: Traffic,
        clock: Clock,
        on_violation: Callable[[str], None],
        *,
        high_water: int,
        ipv6: bool,
        local: LocalEndpoint | None = None,
    ) -> None:
        self._local = local
        self._checks, self._refusals, self._traffic, self._clock = checks, refusals, traffic, clock
        self._on_violation = on_violation
        self.holders = Holders()
        self._xsub = open_socket(context, zmq.XSUB, high_water=high_water, ipv6=ipv6)
        self._xpub = open_socket(context, zmq.XPUB, high_water=high_water, ipv6=ipv6)
        for socket in (self._xsub, self._xpub):
            _protect(socket, server, domain)
        self._xpub.setsockopt(zmq.XPUB_MANUAL, 1)
        # Everything, always: a publisher's XPUB sees this subscription as soon as it is connected.
        self._xsub.send(b"\x01")
        self._watches: tuple[Readiness, ...] = ()
        self._later: asyncio.Handle | None = None
        # After a frame on XPUB that is no subscription, until the socket was empty once: see `_violated`.
        self._suspect = False

    def bind(self, publish: str, subscribe: str) -> tuple[str, str]:
        """Take connections at the two endpoints (port `*` is any free one) and return the real ones. Raises
        `PortInUse` or `CannotBind`; the caller then closes."""
        bound = []
        for socket, endpoint in ((self._xsub, publish), (self._xpub, subscribe)):
            try:
                socket.bind(endpoint)
            except zmq.ZMQError as error:
                taken = error.errno == zmq.EADDRINUSE
                raise PortInUse(endpoint) if taken else CannotBind(endpoint, str(error)) from error
            bound.append(socket.getsockopt_string(zmq.LAST_ENDPOINT).rstrip("\0"))
        self._watches = (Readiness(self._xsub, self._wake), Readiness(self._xpub, self._wake))
        self._wake()
        return bound[0], bound[1]

    def close(self, linger: float = 0.0) -> None:
        """Disconnect everybody; what was in flight is gone, unless it goes out within `linger` seconds."""
        if self._later is not None:
            self._later.cancel()
        for watch in self._watches:
            watch.close()
        self._watches = ()
        self._xsub.close()
        self._xpub.close(linger=int(linger * 1_000))

    def _wake(self) -> None:
        # A turn that is due will look at both sockets anyway.
        if self._later is None:
            self._turn()

    def _turn(self) -> None:
        self._later = None
        now = self._clock.monotonic()
        more = self._relay(now)
        # After the sends, which may have consumed the wake-up for subscriptions; reading to the end finds them.
        if self._read_subscriptions(now) or more:
            self._later = asyncio.get_running_loop().call_soon(self._turn)

    # Publishing.

    def send_local(self, topic: bytes, body: bytes) -> None:
        """A message of the host's own, past the checks."""
        self._send(topic, body)
        # As after every send on XPUB: the wake-up for a subscription may have been consumed.
        if self._later is None:
            self._later = asyncio.get_running_loop().call_soon(self._turn)

    def resume(self) -> None:
        """Look at the sockets again."""
        if self._watches:
            self._wake()

    def _relay(self, now: float) -> bool:
        """Pass on what has come; whether there may be more."""
        receive = self._xsub.recv
        for _ in range(_TURN):
            if self._local is not None and self._local.full:
                return False
            try:
                head = receive(NOW, copy=False)
            except zmq.Again:
                return False
            body, frames = self._rest(head)
            try:
                self._forward(now, head, body, frames)
            except Exception:
                # One message costs itself, never the bus.
                log.exception("broker.relay_failed")
                self._refusals.add(now, "", "publish", "", Reason.INTERNAL)
        return True

    def _rest(self, head: zmq.Frame) -> tuple[bytes, int]:
        """The second frame and the number of frames. Further ones are read, not kept."""
        if not head.more:
            return b"", 1
        body = self._xsub.recv(NOW, copy=False)
        frames, last = 2, body
        while last.more:
            last = self._xsub.recv(NOW, copy=False)
            frames += 1
        return body.bytes if frames == 2 else b"", frames

    def _forward(self, now: float, head: zmq.Frame, body: bytes, frames: int) -> None:
        self._traffic.received += 1
        name, topic = _user(head), head.bytes
        refusal = Reason.FRAMES if frames != 2 else self._checks.publish(now, name, topic, body)
        if refusal is not None:
            told = self._refusals.add(now, name, "publish", _shown(topic), refusal)
            if told and name and self._local is not None:
                self._local.refused(name, _shown(topic), refusal, body)
            return
        if self._local is not None:
            self._local.deliver(topic, body)
        self._send(topic, body)

    def _send(self, topic: bytes, body: bytes) -> None:
        # XPUB never refuses: at a subscriber's high-water mark its messages are dropped, and its alone.
        _push(self._xpub, topic, NOW_AND_MORE)
        _push(self._xpub, body, NOW)
        traffic = self._traffic
        traffic.forwarded += 1
        traffic.forwarded_bytes += len(topic) + len(body)

    # Subscribing.

    def _read_subscriptions(self, now: float) -> bool:
        """Take in what clients want to hear; whether there may be more."""
        for _ in range(_TURN):
            try:
                frame = self._xpub.recv(NOW, copy=False)
            except zmq.Again:
                self._suspect = False
                return False
            try:
                self._subscription(now, frame)
            except Exception:
                log.exception("broker.subscription_failed")
                self._refusals.add(now, "", "subscribe", "", Reason.INTERNAL)
        return True

    def _subscription(self, now: float, frame: zmq.Frame) -> None:
        """Judge and apply one subscription. It must be applied before the next receive: ZeroMQ applies it to the
        connection that the last received one came from."""
        name, content = _user(frame), frame.bytes
        if content[:1] not in (b"\x00", b"\x01"):
            self._violated(now, name)
            return
        prefix = content[1:]
        if content[0] == 0:
            for each in self._applied(name, prefix):
                self._xpub.setsockopt(zmq.UNSUBSCRIBE, each)
            self.holders.remove(name or None, prefix)
            return
        refusal = self._checks.subscribe(now, name, prefix, self.holders.held_by(name))
        if refusal is None and not self._suspect:
            for each in self._applied(name, prefix):
                self._xpub.setsockopt(zmq.SUBSCRIBE, each)
            self.holders.add(name, prefix)
        elif refusal is not None:
            self._refusals.add(now, name, "subscribe", _shown(prefix), refusal)

    def _applied(self, name: str, prefix: bytes) -> tuple[bytes, ...]:
        """Only the service hears commands."""
        return (prefix,) if self._checks.hears_commands(name) else narrowed(prefix)

    def _violated(self, now: float, name: str) -> None:
        """A message on the subscription port that is no subscription. libzmq 4.3.5 queues those beside the
        connections that subscriptions came from and then pairs the two wrongly, so that the next client's subscription
        could be applied to the sender's connection. Nothing is applied until the queue is empty, and the
        caller disconnects everybody, which makes the honest ones send theirs again."""
        self._suspect = True
        self._refusals.add(now, name, "subscribe", "", Reason.PROTOCOL)
        self._on_violation(name)


def _protect(socket: Socket, server: CurveKeys, domain: str) -> None:
    socket.setsockopt(zmq.CURVE_SERVER, 1)
    socket.setsockopt(zmq.CURVE_SECRETKEY, server.secret.encode())
    socket.setsockopt_string(zmq.ZAP_DOMAIN, domain)
    # Without this a connection is let in unasked while nobody answers ZAP requests.
    socket.setsockopt(zmq.ZAP_ENFORCE_DOMAIN, 1)


def _user(frame: zmq.Frame) -> str:
    """The name of the key that `frame` came from; empty for what ZeroMQ itself reports."""
    try:
        return str(frame.get("User-Id"))
    except zmq.ZMQError:
        return ""


def _shown(topic: bytes) -> str:
    return topic[:_SHOWN].decode("utf-8", "backslashreplace")
