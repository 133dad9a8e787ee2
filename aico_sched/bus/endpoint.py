"""One end of the bus: how the bridge and every client publish and listen.

It publishes from an XPUB socket, which shows the broker's subscription: what is sent before that is lost (slow joiner).
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Final

import zmq

from aico_sched.bus.address import BusAddress
from aico_sched.bus.echoes import Echoes, ProbeBody, msgpack_probe
from aico_sched.bus.link import Link
from aico_sched.bus.signal import Signal
from aico_sched.bus.sockets import HIGH_WATER, Context, Socket, identify, make_client, open_socket
from aico_sched.runtime.readiness import NOW, NOW_AND_MORE, Readiness, drain
from aico_sched.security.keys import CurveIdentity

_PROBE_PAUSE: Final = 0.02
_PROBE_PAUSE_MAX: Final = 0.5
_BATCH: Final = 256
_LOOK_AGAIN: Final = 0.1


Renew = Callable[[], CurveIdentity | None]
"""The key that its owner is given now; None if there is none."""


class BusUnreachable(ConnectionError):
    """No working connection to a broker; `reason` says what is known of why."""

    def __init__(self, address: BusAddress, seconds: float, reason: str) -> None:
        super().__init__(f"the bus at {address} was not reached within {seconds:g} s: {reason}")
        self.address, self.reason = address, reason


class EndpointClosed(RuntimeError):
    """The endpoint was closed, or is not connected yet."""


class BusEndpoint:
    """A connection to the broker at `address`, under the name that its messages carry as `source`.

    Hosted bus: `identity` (whose name must be `name`) and the broker's `server_public_key`. Joined bus
    (any XSUB/XPUB proxy): no identity; with the server's key CURVE under a random key, without it plain.
    All calls belong on the loop that `connect` was called on. The context stays the caller's. `renew` is asked for the
    present key when the broker refuses the one that was given: it may have been rotated. It raises nothing.
    """

    def __init__(
        self,
        context: Context,
        address: BusAddress,
        name: str,
        identity: CurveIdentity | None = None,
        server_public_key: str | None = None,
        *,
        probe_body: ProbeBody = msgpack_probe,
        high_water: int = HIGH_WATER,
        renew: Renew | None = None,
    ) -> None:
        if identity is not None and (server_public_key is None or identity.name != name):
            raise ValueError("an identity needs the server's public key, and its name is the endpoint's")
        self.address, self.name = address, name
        # Only a hosted bus knows keys by name, and only its broker subscribes to everything.
        self.joined = identity is None
        self._context, self._identity, self._server_key = context, identity, server_public_key
        self._probe_body, self._high_water, self._renew = probe_body, high_water, renew
        self._shown: dict[Socket, str] = {}
        self._echoes = Echoes(name)
        self._upstream: set[bytes] = set()
        self._inbox: deque[tuple[str, bytes]] = deque()
        self._callback: Callable[[], None] | None = None
        self._readable, self._stirred = Signal(), Signal()
        self._again: asyncio.Handle | None = None
        self._out: Socket | None = None
        self._in: Socket | None = None
        self._watches: tuple[Readiness, ...] = ()
        self._links: tuple[Link, ...] = ()
        self.malformed = 0

    # Life.

    def connect(self) -> None:
        """Begin to connect; ZeroMQ goes on trying for ever. `ready` tells when it has succeeded."""
        if self._out is not None:
            raise EndpointClosed("the endpoint is connected already")
        ipv6 = "[" in self.address.publish
        self._out = open_socket(self._context, zmq.XPUB, high_water=self._high_water, ipv6=ipv6)
        # At the high-water mark a send says so instead of dropping the message.
        self._out.setsockopt(zmq.XPUB_NODROP, 1)
        self._in = open_socket(self._context, zmq.SUB, high_water=self._high_water, ipv6=ipv6)
        for socket in (self._out, self._in):
            make_client(socket, self._server_key, self._identity)
        self._links = tuple(
            Link(socket, endpoint, self._stirred.notify, partial(self._refused, socket, endpoint))
            for socket, endpoint in ((self._out, self.address.publish), (self._in, self.address.subscribe))
        )
        self._out.connect(self.address.publish)
        self._in.connect(self.address.subscribe)
        self._watches = (Readiness(self._out, self._on_out), Readiness(self._in, self._on_in))
        # A pipe that nobody has tried to read gives no wake-up for its first message.
        self._read_upstream()
        self._look()

    def close(self) -> None:
        """Disconnect. What was not yet sent is lost; harmless when repeated."""
        if self._again is not None:
            self._again.cancel()
        for watch in self._watches:
            watch.close()
        for link in self._links:
            link.close()
        for socket in (self._out, self._in):
            if socket is not None:
                socket.close()
        self._watches, self._links = (), ()
        self._stirred.notify()
        self._readable.notify()

    async def ready(self, timeout: float = 5.0) -> None:
        """Until what is sent reaches the broker and every subscription made before this call is live, proved by
        receiving own messages. Raises `BusUnreachable` after `timeout` seconds, with the reason where it is known.

        It takes two messages: after failed attempts to connect ZeroMQ sends the subscriptions in alphabetical order, so
        that the first echo proves the connection only; the second probe's subscription follows all others.
        """
        self._sockets()
        try:
            async with asyncio.timeout(timeout) as limit:
                for _ in range(2):
                    await self._echo()
        except TimeoutError:
            if not limit.expired():
                raise
            raise BusUnreachable(self.address, timeout, self.problem) from None

    @property
    def open(self) -> bool:
        """Between `connect` and `close`."""
        return bool(self._watches)

    @property
    def linked(self) -> bool:
        """Whether both connections stand, as far as is known without asking the broker."""
        for link in self._links:
            link.refresh()
        return bool(self._links) and all(link.up for link in self._links)

    @property
    def connections(self) -> tuple[int, int]:
        """How often the publishing and the listening connection were established."""
        return self._links[0].connections, self._links[1].connections

    @property
    def problem(self) -> str:
        """What is known of why there is no working connection, for people."""
        for link in self._links:
            link.refresh()
        words = "; ".join(f"{link.endpoint}: {link.problem}" for link in self._links if not link.up)
        return words or "it is connected, but our own messages do not come back; is another role needed?"

    # Listening.

    def subscribe(self, prefix: str) -> None:
        """Receive every topic that begins with `prefix`. A prefix the broker refuses is refused silently."""
        self._sockets()[1].setsockopt(zmq.SUBSCRIBE, prefix.encode())
        self._look()

    def unsubscribe(self, prefix: str) -> None:
        """Undo one `subscribe(prefix)`."""
        self._sockets()[1].setsockopt(zmq.UNSUBSCRIBE, prefix.encode())
        self._look()

    def on_readable(self, callback: Callable[[], None] | None) -> None:
        """Call `callback` whenever there may be something to receive; it must call `receive`, which sees to it that
        a rest beyond its limit brings another call."""
        self._callback = callback
        self._soon()

    async def wait_readable(self) -> None:
        """Until `receive` has something. Raises `EndpointClosed` when the endpoint is closed meanwhile."""
        while not self._inbox and not self._has_input():
            await self._readable.wait()

    def receive(self, limit: int = _BATCH) -> list[tuple[str, bytes]]:
        """Up to `limit` messages (topic, body) that are there now, without waiting."""
        messages = [self._inbox.popleft() for _ in range(min(limit, len(self._inbox)))]
        while len(messages) < limit:
            wanted = limit - len(messages)
            frames = drain(self._sockets()[1], wanted)
            messages += self._accept(frames)
            if len(frames) < wanted:
                return messages
        self._soon()
        return messages

    # Publishing.

    def send(self, topic: str, body: bytes) -> bool:
        """Publish without waiting. False, and nothing is sent, when the broker is not connected or the queue is full;
        `wait_sendable`, then try again. True means handed to ZeroMQ, not arrived."""
        out = self._sockets()[0]
        # ZeroMQ would keep it for the next connection, and a command could take effect long after its sender gave up.
        if not self._links[0].up or not (self.joined or b"" in self._upstream):
            return False
        try:
            out.send(topic.encode(), NOW_AND_MORE)
            out.send(body, NOW)
        except zmq.Again:
            return False
        # The send may have consumed the wake-up for a subscription that arrived.
        if self._watches[0].has_input():
            self._read_upstream()
        return True

    async def wait_sendable(self) -> None:
        """Until something changed that may let a refused `send` succeed. Looks again now and then by itself."""
        self._sockets()
        await self._stirred.wait(_LOOK_AGAIN)

    # Inside.

    def _refused(self, socket: Socket, endpoint: str) -> None:
        """Not from within the monitor's callback, which reads on."""
        if self._renew is not None:
            asyncio.get_running_loop().call_soon(self._show_another_key, socket, endpoint)

    def _show_another_key(self, socket: Socket, endpoint: str) -> None:
        if not self.open or self._renew is None or self._identity is None:
            return
        found = self._renew()
        if found is None or found.public == self._shown.get(socket, self._identity.public):
            return
        self._shown[socket] = found.public
        # It is gone already where ZeroMQ has given up.
        with contextlib.suppress(zmq.ZMQError):
            socket.disconnect(endpoint)
        identify(socket, found)
        socket.connect(endpoint)
        self._read_upstream()
        self._look()

    def _sockets(self) -> tuple[Socket, Socket]:
        if self._out is None or self._in is None or not self.open:
            raise EndpointClosed("the endpoint is not connected")
        return self._out, self._in

    def _on_out(self) -> None:
        self._read_upstream()
        self._stirred.notify()

    def _has_input(self) -> bool:
        self._sockets()
        return self._watches[1].has_input()

    def _look(self) -> None:
        """After a call that may have consumed a wake-up."""
        if self._has_input():
            self._soon()

    def _on_in(self) -> None:
        # Asking also lets ZeroMQ send the subscriptions again after a reconnection: it does so only when called.
        if self._has_input():
            self._announce()

    def _announce(self) -> None:
        self._again = None
        self._stirred.notify()
        self._readable.notify()
        if self._callback is not None:
            self._callback()

    def _soon(self) -> None:
        if self._again is None:
            self._again = asyncio.get_running_loop().call_soon(self._announce)

    def _read_upstream(self) -> None:
        out = self._sockets()[0]
        while notices := drain(out, _BATCH):
            for frames in notices:
                (self._upstream.add if frames[0][:1] == b"\x01" else self._upstream.discard)(frames[0][1:])
            self._stirred.notify()

    def _accept(self, received: list[list[bytes]]) -> list[tuple[str, bytes]]:
        messages = []
        for frames in received:
            try:
                topic, body = frames
                text = topic.decode()
            except ValueError:
                self.malformed += 1
                continue
            if self._echoes.take(text):
                self._stirred.notify()
            else:
                messages.append((text, body))
        return messages

    async def _echo(self) -> None:
        """Subscribe to a fresh topic, and publish on it until it comes back."""
        topic = self._echoes.begin()
        body = self._probe_body(topic, self.name)
        self.subscribe(topic)
        try:
            pause, due = _PROBE_PAUSE, 0.0
            while not self._echoes.heard(topic):
                now = asyncio.get_running_loop().time()
                if now >= due and any(topic.encode().startswith(prefix) for prefix in self._upstream):
                    self.send(topic, body)
                    due, pause = now + pause, min(2 * pause, _PROBE_PAUSE_MAX)
                await self._stirred.wait(pause)
                self._collect()
        finally:
            self._echoes.end(topic)
            if self.open:
                self.unsubscribe(topic)

    def _collect(self) -> None:
        """Read what has come, keeping what is not a probe's for `receive`."""
        if len(self._inbox) < self._high_water:
            kept = self._accept(drain(self._sockets()[1], _BATCH))
            self._inbox += kept
            if kept:
                self._soon()
