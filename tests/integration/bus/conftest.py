"""A real hosted bus on loopback, with clients by name."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import zmq

from aico_sched.bus.access import AccessRules
from aico_sched.bus.address import BusAddress
from aico_sched.bus.broker import Broker
from aico_sched.bus.endpoint import BusEndpoint
from aico_sched.bus.sockets import Socket, make_client, open_socket
from aico_sched.client import SchedulerClient
from aico_sched.security.keys import CurveIdentity, KeyRing
from aico_sched.topics import names
from aico_sched.topics.envelope import Envelope, decode, encode, new_envelope
from aico_sched.topics.errors import CommandError
from aico_sched.topics.registry import COMMANDS

DEADLINE = 10.0
ROLES = {"opal": "operator", "bob": "observer", "rob": "observer", "mod": "module"}


class Bus:
    """The broker, its keys, and everything opened on it, closed at the end."""

    def __init__(self, folder: Path, **options: Any) -> None:
        self.ahead = 0.0
        """Seconds by which the clock of the key ring is ahead."""
        self.ring = KeyRing(folder / "keys", lambda: time.time() + self.ahead)
        self.ring.ensure()
        for name, role in ROLES.items():
            self.ring.create(name, role)
        self.context: zmq.Context[Socket] = zmq.Context()
        self.clients: zmq.Context[Socket] = zmq.Context()
        self.refusals: asyncio.Queue[tuple[str, ...]] = asyncio.Queue()
        self.broker = Broker(self.context, self.ring, AccessRules.load(), on_refused=self._refused, **options)
        self.address = BusAddress("", "")
        self._open: list[BusEndpoint | Socket] = []

    def _refused(self, *report: str) -> None:
        self.refusals.put_nowait(report)

    async def start(self) -> None:
        self.address = await self.broker.start()

    async def stop(self) -> None:
        for each in self._open:
            each.close()
        await self.broker.stop()
        self.context.term()
        self.clients.term()

    def endpoint(
        self, name: str, *, server_key: str | None = None, identity: CurveIdentity | None = None
    ) -> BusEndpoint:
        made = BusEndpoint(
            self.clients,
            self.address,
            name,
            identity or self.ring.client(name),
            server_key or self.ring.server().public,
        )
        self._open.append(made)
        made.connect()
        return made

    async def ready(self, name: str, *prefixes: str) -> BusEndpoint:
        made = self.endpoint(name)
        for prefix in prefixes:
            made.subscribe(prefix)
        await made.ready(DEADLINE)
        return made

    def raw(self, kind: int, name: str) -> Socket:
        """A bare socket with the key of `name`, connected to the port for its kind."""
        socket = open_socket(self.clients, kind)
        self._open.append(socket)
        make_client(socket, self.ring.server().public, self.ring.client(name))
        socket.connect(self.address.publish if kind in (zmq.PUB, zmq.XPUB) else self.address.subscribe)
        return socket

    async def publisher(self, name: str) -> Socket:
        """A bare XPUB that is connected: it has seen the broker's subscription."""
        socket = self.raw(zmq.XPUB, name)
        assert await self.arrived(socket) == [b"\x01"]
        return socket

    def client(self, name: str = "admin", **options: Any) -> SchedulerClient:
        return SchedulerClient(self.address, self.ring.client(name), self.ring.server().public, **options)

    async def refusal(self) -> tuple[str, ...]:
        async with asyncio.timeout(DEADLINE):
            return await self.refusals.get()

    @staticmethod
    async def eventually(condition: Callable[[], Any]) -> Any:
        """Looks again until `condition()` holds, with a deadline."""
        async with asyncio.timeout(DEADLINE):
            while not (found := condition()):
                await asyncio.sleep(0.002)
            return found

    @classmethod
    async def arrived(cls, socket: Socket) -> list[bytes]:
        """The next message on a bare socket."""
        await cls.eventually(lambda: socket.poll(0))
        return socket.recv_multipart(zmq.NOBLOCK)

    @staticmethod
    async def received(endpoint: BusEndpoint) -> tuple[str, Envelope]:
        """The next message at an endpoint."""
        async with asyncio.timeout(DEADLINE):
            await endpoint.wait_readable()
        topic, body = endpoint.receive(1)[0]
        return topic, decode(body)

    @staticmethod
    def body(source: str, topic: str = "t", **payload: Any) -> bytes:
        return encode(new_envelope(topic, source, payload))


class FakeService:
    """Answers commands on a real bus as the service does: one answer per message id, remembered. `handlers` maps a
    topic to what makes its result; `drop` holds how many answers to lose."""

    def __init__(self, bus: Bus, endpoint: BusEndpoint) -> None:
        self.bus, self.endpoint = bus, endpoint
        self.handlers: dict[str, Callable[[dict[str, Any]], Any]] = {}
        self.requests: list[tuple[str, Envelope]] = []
        self.answers: dict[str, dict[str, Any]] = {}
        self.events: dict[str, list[Envelope]] = {}
        self.drop = 0
        self.silent = False
        endpoint.on_readable(self._serve)
        self.handlers[names.EVENT_LIST] = self._list_events

    def _serve(self) -> None:
        for topic, body in self.endpoint.receive(256):
            envelope = decode(body)
            if topic not in COMMANDS:
                continue
            self.requests.append((topic, envelope))
            if self.silent:
                continue
            if envelope.message_id not in self.answers:
                self.answers[envelope.message_id] = self._answer(topic, envelope.payload)
            if self.drop:
                self.drop -= 1
                continue
            self.reply(envelope, self.answers[envelope.message_id])

    def _answer(self, topic: str, payload: dict[str, Any]) -> dict[str, Any]:
        try:
            return {"ok": True, "result": self.handlers[topic](payload)}
        except CommandError as error:
            return error.as_reply()

    def reply(self, request: Envelope, answer: dict[str, Any]) -> None:
        to = request.attributes["reply_to"]
        attributes = {"correlation_id": request.attributes.get("correlation_id", request.message_id)}
        assert self.endpoint.send(to, encode(new_envelope(to, self.endpoint.name, answer, attributes=attributes)))

    def event(self, topic: str, *, lost: bool = False, **payload: Any) -> int:
        """Publish the next event of `topic`, or only write it into the history."""
        history = self.events.setdefault(topic, [])
        attributes = {"seq": str(len(history) + 1)}
        history.append(new_envelope(topic, self.endpoint.name, payload, attributes=attributes))
        if not lost:
            assert self.endpoint.send(topic, encode(history[-1]))
        return len(history)

    def heartbeat(self) -> None:
        numbers = {topic: len(history) for topic, history in self.events.items()}
        payload = {"instance": "i", "status": "ready", "at": "", "expires_in": 1.0, "seq": numbers}
        assert self.endpoint.send(names.AVAILABILITY, self.bus.body(self.endpoint.name, names.AVAILABILITY, **payload))

    def _list_events(self, payload: dict[str, Any]) -> dict[str, Any]:
        after, limit = payload.get("after_seq", 0), payload.get("limit", 100)
        rows = [
            {
                "topic": each.message_type,
                "seq": int(each.attributes["seq"]),
                "message_id": each.message_id,
                "timestamp": each.timestamp,
                "payload": each.payload,
            }
            for each in self.events.get(payload["topic"], [])
        ]
        return {"events": [row for row in rows if row["seq"] > after][:limit]}


@pytest.fixture
async def make_bus(tmp_path: Path) -> AsyncIterator[Callable[..., Awaitable[Bus]]]:
    made: list[Bus] = []

    async def make(**options: Any) -> Bus:
        bus = Bus(tmp_path / str(len(made)), **options)
        made.append(bus)
        await bus.start()
        return bus

    yield make
    for bus in made:
        await bus.stop()


@pytest.fixture
async def bus(make_bus: Callable[..., Awaitable[Bus]]) -> Bus:
    return await make_bus()


@pytest.fixture
async def service(bus: Bus) -> FakeService:
    endpoint = await bus.ready("aico-sched", *COMMANDS)
    return FakeService(bus, endpoint)
