"""A client that is nothing but pyzmq and msgpack, as another program's author would write it from the README.

It imports nothing of aico_sched: what it says and understands is the contract, not our code.
"""

import asyncio
import uuid
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgpack
import zmq
import zmq.asyncio
import zmq.auth

DEADLINE = 20.0


class Wire:
    """One named key on the hosted bus. `heard` holds every message that has come, as (topic, decoded body)."""

    def __init__(self, publish: str, subscribe: str, keys: Path, name: str = "admin") -> None:
        self.name = name
        self.reply_to = f"scheduler.reply.{name}.{uuid.uuid4().hex}"
        self.heard: list[tuple[str, dict[str, Any]]] = []
        self._answers: dict[str, list[dict[str, Any]]] = {}
        self._context = zmq.asyncio.Context()
        self._pub, self._sub = self._context.socket(zmq.XPUB), self._context.socket(zmq.SUB)
        server, _ = zmq.auth.load_certificate(keys / "server.key")
        public, secret = zmq.auth.load_certificate(keys / "secrets" / f"{name}.key_secret")
        for socket, address in ((self._pub, publish), (self._sub, subscribe)):
            socket.curve_serverkey, socket.curve_publickey, socket.curve_secretkey = server, public, secret
            socket.linger = 0
            socket.connect(address)
        self._sub.subscribe(f"scheduler.reply.{name}")

    async def __aenter__(self) -> Self:
        async with asyncio.timeout(DEADLINE):
            assert await self._pub.recv() == b"\x01"
            await self._live()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._context.destroy(linger=0)

    async def subscribe(self, prefix: str) -> None:
        """Hear what begins with `prefix` from now on."""
        self._sub.subscribe(prefix)
        async with asyncio.timeout(DEADLINE):
            await self._live()

    async def _live(self) -> None:
        """Until a message to oneself comes back: what was subscribed to before it is live."""
        probe = f"scheduler.reply.{self.name}.probe.{uuid.uuid4().hex}"
        while True:
            await self.send_body(probe, msgpack.packb(self.envelope(probe, {})))
            while await self._sub.poll(20):
                if (await self._receive())[0] == probe:
                    return

    def envelope(self, topic: str, payload: Any, /, **changed: Any) -> dict[str, Any]:
        """A message as the contract wants it, but for what is `changed`."""
        message_id = str(uuid.uuid4())
        return {
            "message_id": message_id,
            "timestamp": datetime.now(UTC).isoformat(),
            "source": self.name,
            "message_type": topic,
            "version": "1.0",
            "attributes": {"reply_to": self.reply_to, "correlation_id": message_id},
            "payload": payload,
        } | changed

    async def send(self, topic: str, payload: Any, /, **changed: Any) -> str:
        """Send a command; returns its correlation id."""
        envelope = self.envelope(topic, payload, **changed)
        await self.send_body(topic, msgpack.packb(envelope))
        return str(envelope["attributes"].get("correlation_id", envelope["message_id"]))

    async def send_body(self, topic: str, body: bytes) -> None:
        await self._pub.send_multipart([topic.encode(), body])

    async def ask(self, topic: str, payload: Any, /, **changed: Any) -> dict[str, Any]:
        """Send a command and return the payload of its answer."""
        return await self.answer(await self.send(topic, payload, **changed))

    async def answer(self, correlation_id: str) -> dict[str, Any]:
        """The payload of the answer to a command."""
        async with asyncio.timeout(DEADLINE):
            while not (found := self.answers(correlation_id)):
                await self._receive()
        return found[0]

    def answers(self, correlation_id: str) -> list[dict[str, Any]]:
        """All answers to a command that have come."""
        return self._answers.get(correlation_id, [])

    async def hear(self, topic: str) -> dict[str, Any]:
        """The next message of `topic`, after all that was heard before."""
        async with asyncio.timeout(DEADLINE):
            while True:
                received = await self._receive()
                if received[0] == topic:
                    return received[1]

    async def barrier(self) -> None:
        """Until everything that the service has to say to what was sent before is here."""
        for _ in range(2):
            await self.ask("scheduler.stats", {})

    async def _receive(self) -> tuple[str, dict[str, Any]]:
        topic, body = await self._sub.recv_multipart()
        message = (topic.decode(), msgpack.unpackb(body))
        self.heard.append(message)
        if message[0].startswith("scheduler.reply."):
            correlation_id = message[1]["attributes"].get("correlation_id", "")
            self._answers.setdefault(correlation_id, []).append(message[1]["payload"])
        return message
