"""One end of the bus: readiness, and what it says when there is none."""

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import zmq

from aico_sched.bus.address import BusAddress
from aico_sched.bus.endpoint import BusEndpoint, BusUnreachable, EndpointClosed
from aico_sched.topics import names


async def test_ready_proves_both_directions_and_earlier_subscriptions(bus: Any) -> None:
    service = await bus.ready("aico-sched")
    for _ in range(20):
        listener = await bus.ready("bob", "scheduler.event.task.", "scheduler.reply.bob")
        assert service.send(names.TASK_CREATED, bus.body("aico-sched"))
        assert (await bus.received(listener))[0] == names.TASK_CREATED
        assert listener.receive() == []
        listener.close()


async def test_ready_keeps_what_arrives_meanwhile_in_order(bus: Any) -> None:
    service = await bus.ready("aico-sched")
    listener = await bus.ready("bob", "scheduler.event.")
    for number in range(600):
        assert service.send(names.TASK_CREATED, bus.body("aico-sched", number=number))
    await listener.ready(10)
    numbers = [(await bus.received(listener))[1].payload["number"] for _ in range(600)]
    assert numbers == list(range(600))


async def test_a_callback_is_called_until_all_is_read(bus: Any) -> None:
    service = await bus.ready("aico-sched")
    listener = await bus.ready("bob", "scheduler.event.")
    seen: list[str] = []
    listener.on_readable(lambda: seen.extend(topic for topic, _ in listener.receive(7)))
    for _ in range(100):
        assert service.send(names.TASK_CREATED, bus.body("aico-sched"))
    await bus.eventually(lambda: len(seen) == 100)


async def test_a_wrong_server_key_is_told_from_a_missing_server(bus: Any) -> None:
    wrong = bus.endpoint("bob", server_key=bus.ring.client("rob").public)
    with pytest.raises(BusUnreachable, match="server's public key is wrong") as caught:
        await wrong.ready(0.3)
    assert bus.address.publish in str(caught.value)
    assert not wrong.linked
    await bus.broker.stop()
    nobody = bus.endpoint("bob")
    with pytest.raises(BusUnreachable, match="nothing listens there"):
        await nobody.ready(0.3)
    assert not nobody.send(names.TASK_LIST, bus.body("bob"))


async def test_it_connects_to_a_broker_that_starts_later_and_returns_to_one_that_restarts(make_bus: Any) -> None:
    bus = await make_bus()
    bus.ring.revoke("rob")
    first = await bus.ready("bob", "scheduler.event.")
    await bus.ready("opal")
    bus.ring.revoke("opal")
    for _ in range(3):
        bus.ring.create("opal", "operator")
        await bus.broker.reload_keys()
        await bus.ready("opal")
        bus.ring.revoke("opal")
        assert await bus.broker.reload_keys()
        await first.ready(10)
    service = await bus.ready("aico-sched")
    assert service.send(names.TASK_CREATED, bus.body("aico-sched"))
    assert (await bus.received(first))[0] == names.TASK_CREATED


async def test_ready_honours_a_cancel(bus: Any) -> None:
    nobody = bus.endpoint("bob", server_key=bus.ring.client("rob").public)
    waiting = asyncio.create_task(nobody.ready(30))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting


async def test_its_life_is_forgiving_where_it_can_be(bus: Any) -> None:
    endpoint = BusEndpoint(bus.clients, bus.address, "bob", bus.ring.client("bob"), bus.ring.server().public)
    endpoint.close()
    with pytest.raises(EndpointClosed):
        endpoint.send("t", b"")
    endpoint.connect()
    with pytest.raises(EndpointClosed, match="already"):
        endpoint.connect()
    waiting = asyncio.create_task(endpoint.wait_readable())
    await asyncio.sleep(0)
    endpoint.close()
    endpoint.close()
    with pytest.raises(EndpointClosed):
        await waiting
    with pytest.raises(ValueError, match="identity"):
        BusEndpoint(bus.clients, bus.address, "rob", bus.ring.client("bob"), bus.ring.server().public)


async def test_a_full_queue_is_told_and_room_is_waited_for(bus: Any) -> None:
    sender = BusEndpoint(
        bus.clients, bus.address, "opal", bus.ring.client("opal"), bus.ring.server().public, high_water=10
    )
    sender.connect()
    try:
        await sender.ready(10)
        body = bus.body("opal", padding="x" * 200_000)
        sent = 0
        # Nothing yields to the loop, so the broker does not read, and the queues fill up.
        while sender.send(names.TASK_LIST, body):
            sent += 1
            assert sent < 10_000
        async with asyncio.timeout(10):
            while not sender.send(names.TASK_LIST, body):
                await sender.wait_sendable()
    finally:
        sender.close()


# A joined bus: a bare proxy, as AICO's own.


class Proxy:
    """XSUB and XPUB with `zmq.proxy` between them; with CURVE but no list of clients when `curve`."""

    def __init__(self, curve: bool) -> None:
        self.context: zmq.Context[Any] = zmq.Context()
        self.public, secret = zmq.curve_keypair()
        self._sockets = [self.context.socket(kind) for kind in (zmq.XSUB, zmq.XPUB)]
        endpoints = []
        for socket in self._sockets:
            socket.setsockopt(zmq.LINGER, 0)
            if curve:
                socket.setsockopt(zmq.CURVE_SERVER, 1)
                socket.setsockopt(zmq.CURVE_SECRETKEY, secret)
            socket.bind("tcp://127.0.0.1:*")
            endpoints.append(socket.getsockopt_string(zmq.LAST_ENDPOINT).rstrip("\0"))
        self.address = BusAddress.of(*endpoints)
        self.server_key = self.public.decode() if curve else None
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        try:
            zmq.proxy(*self._sockets)
        except zmq.ContextTerminated:
            for socket in self._sockets:
                socket.close()

    def stop(self) -> None:
        self.context.term()
        self._thread.join(10)


@pytest.fixture(params=[False, True], ids=["plain", "curve"])
def proxy(request: pytest.FixtureRequest) -> Iterator[Proxy]:
    made = Proxy(request.param)
    yield made
    made.stop()


async def test_a_joined_bus_is_ready_by_echo(bus: Any, proxy: Proxy) -> None:
    context: zmq.Context[Any] = zmq.Context()
    ends = [BusEndpoint(context, proxy.address, name, None, proxy.server_key) for name in ("one", "two")]
    try:
        for end in ends:
            end.connect()
            end.subscribe("news.")
        await asyncio.gather(*(end.ready(10) for end in ends))
        assert ends[0].joined
        assert ends[0].send("nobody.listens", bus.body("one"))
        assert ends[0].send("news.today", bus.body("one"))
        for end in ends:
            assert (await bus.received(end))[0] == "news.today"
    finally:
        for end in ends:
            end.close()
        context.term()


async def test_probes_on_a_joined_bus_use_its_own_codec(bus: Any, proxy: Proxy) -> None:
    context: zmq.Context[Any] = zmq.Context()
    bodies: list[bytes] = []

    def probe(topic: str, name: str) -> bytes:
        bodies.append(b"\n" + name.encode())
        return bodies[-1]

    end = BusEndpoint(context, proxy.address, "one", None, proxy.server_key, probe_body=probe)
    try:
        end.connect()
        await end.ready(10)
        assert set(bodies) == {b"\none"}
    finally:
        end.close()
        context.term()
