"""AICO's own bus as facts.md describes it: a broker that authenticates nobody, and a client that is strict.

The messages are read with a protobuf definition of their own here, so that a mistake in ours cannot hide itself.
"""

import asyncio
import random
import threading
import time
import uuid
from types import TracebackType
from typing import Any, Self

import zmq
import zmq.asyncio
from google.protobuf import (
    any_pb2,
    descriptor_pb2,
    descriptor_pool,
    json_format,
    message_factory,
    struct_pb2,
    text_format,
    timestamp_pb2,
)

HIGH_WATER = 10_000
PAUSE = 0.1
"""How long AICO's client sleeps after a message that it cannot decode (seconds)."""

DEFINITION = """
name: "aico/core/message.proto" package: "aico.core" syntax: "proto3"
dependency: "google/protobuf/any.proto" dependency: "google/protobuf/timestamp.proto"
message_type { name: "AicoMessage"
  field { name: "metadata" number: 1 label: LABEL_OPTIONAL type: TYPE_MESSAGE type_name: ".aico.core.MessageMetadata" }
  field { name: "any_payload" number: 2 label: LABEL_OPTIONAL type: TYPE_MESSAGE type_name: ".google.protobuf.Any" oneof_index: 0 }
  oneof_decl { name: "payload" } }
message_type { name: "MessageMetadata"
  field { name: "message_id" number: 1 label: LABEL_OPTIONAL type: TYPE_STRING }
  field { name: "timestamp" number: 2 label: LABEL_OPTIONAL type: TYPE_MESSAGE type_name: ".google.protobuf.Timestamp" }
  field { name: "source" number: 3 label: LABEL_OPTIONAL type: TYPE_STRING }
  field { name: "message_type" number: 4 label: LABEL_OPTIONAL type: TYPE_STRING }
  field { name: "version" number: 5 label: LABEL_OPTIONAL type: TYPE_STRING }
  field { name: "attributes" number: 6 label: LABEL_REPEATED type: TYPE_MESSAGE type_name: ".aico.core.MessageMetadata.AttributesEntry" }
  nested_type { name: "AttributesEntry" options { map_entry: true }
    field { name: "key" number: 1 label: LABEL_OPTIONAL type: TYPE_STRING }
    field { name: "value" number: 2 label: LABEL_OPTIONAL type: TYPE_STRING } } }
"""  # noqa: E501


def _aico_message() -> Any:
    """From the default pool, as AICO's generated code has it."""
    pool = descriptor_pool.Default()
    assert any_pb2.DESCRIPTOR.pool is timestamp_pb2.DESCRIPTOR.pool is pool
    pool.Add(text_format.Parse(DEFINITION, descriptor_pb2.FileDescriptorProto()))
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("aico.core.AicoMessage"))


AicoMessage = _aico_message()


class AicoBroker:
    """An XSUB/XPUB proxy in a thread of its own, with CURVE and without any authentication. It loses the part `drop`
    of all messages; `lost` counts them."""

    def __init__(self, drop: float = 0.0) -> None:
        self._drop, self.lost = drop, 0
        public, self._secret = zmq.curve_keypair()
        self.public = public.decode()
        self._context: zmq.Context[Any] = zmq.Context()
        self._control = f"inproc://control-{uuid.uuid4().hex}"
        self._steer = self._context.socket(zmq.PAIR)
        self._steer.bind(self._control)
        self._bound = threading.Event()
        self._ports = (0, 0)
        self._thread = threading.Thread(target=self._run, name="aico-broker")

    @property
    def address(self) -> str:
        return f"tcp://127.0.0.1:{self._ports[0]},{self._ports[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._bound.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._steer.send(b"TERMINATE")
        self._thread.join(10)
        self._steer.close()
        self._context.term()

    def _run(self) -> None:
        frontend, backend = self._context.socket(zmq.XSUB), self._context.socket(zmq.XPUB)
        control = self._context.socket(zmq.PAIR)
        control.connect(self._control)
        for socket in (frontend, backend):
            socket.setsockopt(zmq.LINGER, 0)
            socket.setsockopt(zmq.SNDHWM, HIGH_WATER)
            socket.setsockopt(zmq.RCVHWM, HIGH_WATER)
            socket.setsockopt(zmq.CURVE_SERVER, 1)
            socket.setsockopt(zmq.CURVE_SECRETKEY, self._secret)
        self._ports = tuple(socket.bind_to_random_port("tcp://127.0.0.1") for socket in (frontend, backend))
        self._bound.set()
        if self._drop:
            self._relay(frontend, backend, control)
        else:
            zmq.proxy_steerable(frontend, backend, None, control)
        for socket in (frontend, backend, control):
            socket.close()

    def _relay(self, frontend: Any, backend: Any, control: Any) -> None:
        draw, poller = random.Random(1), zmq.Poller()
        for socket in (frontend, backend, control):
            poller.register(socket, zmq.POLLIN)
        while control not in (ready := dict(poller.poll())):
            if backend in ready:
                frontend.send_multipart(backend.recv_multipart())
            if frontend in ready:
                message = frontend.recv_multipart()
                if draw.random() < self._drop:
                    self.lost += 1
                else:
                    backend.send_multipart(message)


class AicoClient:
    """Decodes strictly, its first matching prefix wins, its callbacks run one at a time, and a message that it cannot
    decode costs it a pause. `undecodable` counts those."""

    def __init__(self, broker: AicoBroker, name: str, *prefixes: str) -> None:
        self.name, self.prefixes = name, prefixes
        self.heard: list[tuple[str, Any]] = []
        self.undecodable = 0
        self.reply_topic = f"scheduler.reply.{name}.{uuid.uuid4().hex}"
        self._context: zmq.asyncio.Context = zmq.asyncio.Context()
        self._pub, self._sub = self._context.socket(zmq.PUB), self._context.socket(zmq.SUB)
        _, publish, subscribe = broker.address.replace(",", ":").rsplit(":", 2)
        for socket, port in ((self._pub, publish), (self._sub, subscribe)):
            public, secret = zmq.curve_keypair()
            socket.curve_serverkey = broker.public.encode()
            socket.curve_publickey, socket.curve_secretkey = public, secret
            socket.setsockopt(zmq.LINGER, 0)
            socket.connect(f"tcp://127.0.0.1:{port}")
        for prefix in (*prefixes, self.reply_topic):
            self._sub.subscribe(prefix)
        self._changed = asyncio.Event()
        self._reading: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._reading = asyncio.create_task(self._read())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._reading is not None
        self._reading.cancel()
        await asyncio.gather(self._reading, return_exceptions=True)
        self._context.destroy(linger=0)

    async def _read(self) -> None:
        while True:
            frames = await self._sub.recv_multipart()
            try:
                topic, body = frames
                message = AicoMessage()
                message.ParseFromString(body)
                assert message.metadata.message_id
            except Exception:
                self.undecodable += 1
                await asyncio.sleep(PAUSE)
                continue
            self.heard.append((topic.decode(), message))
            self._changed.set()

    def body(
        self, topic: str, payload: dict[str, Any], message_id: str | None = None, **attributes: str
    ) -> tuple[str, bytes]:
        """A message as AICO's `MessageBusClient` makes it, and its id."""
        message = AicoMessage()
        metadata = message.metadata
        metadata.message_id = message_id or str(uuid.uuid4())
        metadata.timestamp.FromNanoseconds(time.time_ns() // 1_000 * 1_000)
        metadata.source, metadata.message_type, metadata.version = self.name, topic, "1.0"
        for key, value in attributes.items():
            metadata.attributes[key] = value
        struct = struct_pb2.Struct()
        json_format.ParseDict(payload, struct)
        message.any_payload.Pack(struct)
        return metadata.message_id, message.SerializeToString()

    async def publish(self, topic: str, body: bytes) -> None:
        await self._pub.send_multipart([topic.encode(), body])

    async def ask(self, topic: str, payload: dict[str, Any], **attributes: str) -> dict[str, Any]:
        """Send a command until it is answered, as a publisher that may still be connecting has to."""
        correlation_id = str(uuid.uuid4())
        message_id, body = self.body(
            topic, payload, correlation_id=correlation_id, reply_to=self.reply_topic, **attributes
        )
        assert message_id

        def answered() -> bool:
            return bool(self.answers(correlation_id))

        for _ in range(40):
            await self.publish(topic, body)
            if await self.until(answered, 0.5):
                return self.answers(correlation_id)[0]
        raise AssertionError(f"no answer to {topic}")

    def answers(self, correlation_id: str) -> list[dict[str, Any]]:
        return [
            payload_of(message)
            for topic, message in self.heard
            if topic == self.reply_topic and message.metadata.attributes["correlation_id"] == correlation_id
        ]

    def of(self, topic: str) -> list[dict[str, Any]]:
        return [payload_of(message) for heard, message in self.heard if heard == topic]

    async def until(self, condition: Any, seconds: float = 20.0) -> bool:
        """Until `condition()` holds; looked at with each message."""
        try:
            async with asyncio.timeout(seconds):
                while not condition():
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            return False
        return True


def payload_of(message: Any) -> dict[str, Any]:
    struct = struct_pb2.Struct()
    assert message.any_payload.Unpack(struct)
    found: dict[str, Any] = json_format.MessageToDict(struct)
    return found
