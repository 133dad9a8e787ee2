"""The host's own place on its bus, beside clients that come through sockets."""

import asyncio
from pathlib import Path

import zmq

from aico_sched.bus.access import AccessRules
from aico_sched.bus.broker import Broker
from aico_sched.bus.endpoint import BusEndpoint
from aico_sched.bus.local import ROOM
from aico_sched.security.keys import KeyRing
from aico_sched.topics import names
from aico_sched.topics.envelope import encode, new_envelope


def request(topic: str) -> bytes:
    return encode(new_envelope(topic, "admin", {}))


async def test_the_host_hears_what_passed_the_checks_and_is_heard(tmp_path: Path) -> None:
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    keys = KeyRing(tmp_path / "keys")
    keys.ensure()
    broker = Broker(context, keys, AccessRules.load())
    local = broker.local_endpoint()
    heard = asyncio.Event()
    local.connect()
    local.subscribe(names.HEALTH)
    local.on_readable(heard.set)
    async with asyncio.timeout(20):
        address = await broker.start()
        client = BusEndpoint(context, address, "admin", keys.client("admin"), keys.server().public)
        client.connect()
        client.subscribe(names.ALERT)
        await client.ready()
        forbidden = encode(new_envelope(names.HEALTH, "somebody-else", {}))
        for topic, body in (
            (names.STATS, request(names.STATS)),
            (names.HEALTH, forbidden),
            (names.HEALTH, request(names.HEALTH)),
        ):
            assert client.send(topic, body)
        taken: list[str] = []
        while not taken:
            # It is told of the refusal before, too.
            await heard.wait()
            heard.clear()
            taken = [topic for topic, _ in local.receive(10)]
        assert taken == [names.HEALTH]
        assert broker.stats().refused == {"source": 1}
        assert local.send(names.ALERT, b"from the host")
        received: list[tuple[str, bytes]] = []
        while not received:
            await client.wait_readable()
            received = [message for message in client.receive(10) if message[0] == names.ALERT]
        assert received == [(names.ALERT, b"from the host")]
        client.close()
        local.close()
        await broker.stop()
    assert not local.send(names.ALERT, b"too late")
    context.term()


async def test_a_host_that_does_not_read_holds_the_publishers_back_and_loses_nothing(tmp_path: Path) -> None:
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    keys = KeyRing(tmp_path / "keys")
    keys.ensure()
    broker = Broker(context, keys, AccessRules.load(), rate_limit=1e9)
    local = broker.local_endpoint()
    local.connect()
    local.subscribe(names.HEALTH)
    sent = 2 * ROOM
    async with asyncio.timeout(60):
        address = await broker.start()
        client = BusEndpoint(context, address, "admin", keys.client("admin"), keys.server().public)
        client.connect()
        await client.ready()
        for _ in range(sent):
            while not client.send(names.HEALTH, request(names.HEALTH)):
                await client.wait_sendable()
        full = asyncio.Event()
        local.on_readable(lambda: full.set() if local.full else None)
        await full.wait()
        waiting, received, more = ROOM, 0, asyncio.Event()
        local.on_readable(more.set)
        while received < sent:
            messages = local.receive(1_000)
            assert len(messages) <= waiting
            received += len(messages)
            if not messages:
                more.clear()
                await more.wait()
        assert received == sent
        client.close()
        local.close()
        await broker.stop()
    context.term()
