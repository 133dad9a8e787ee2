"""Keys that are rotated while clients are connected with them."""

from typing import Any

import pytest

from aico_sched.bus.endpoint import BusEndpoint, BusUnreachable
from aico_sched.bus.key_watch import KeyWatch
from aico_sched.clock import SystemClock
from aico_sched.security.keys import CurveIdentity, KeyRing, UnknownKey
from aico_sched.topics import names

WEEK = 7 * 86_400.0


async def test_a_connected_client_does_not_notice_and_old_and_new_are_let_in(bus: Any) -> None:
    old = bus.ring.client("bob")
    connected = await bus.ready("bob", "scheduler.event.")
    service = await bus.ready("aico-sched")
    KeyRing(bus.ring.folder).rotate("bob", WEEK)
    assert not await bus.broker.reload_keys()
    assert service.send(names.TASK_CREATED, bus.body("aico-sched", number=1))
    assert (await bus.received(connected))[1].payload == {"number": 1}
    assert connected.connections == (1, 1)
    await bus.endpoint("bob", identity=old).ready(5)
    assert bus.ring.client("bob").public != old.public
    await bus.ready("bob")
    assert bus.broker.stats().reconnections == 0


async def test_when_the_overlap_is_over_the_old_key_is_refused_and_its_connection_dropped(bus: Any) -> None:
    old = await bus.ready("bob", "scheduler.event.")
    bus.ring.rotate("bob", WEEK)
    watch = KeyWatch(bus.ring.watched(), bus.broker.reload_keys, SystemClock(), bus.ring.expired)
    new = await bus.ready("bob", "scheduler.event.")
    await watch.look()
    bus.ahead = WEEK - 60
    assert not await watch.look()
    bus.ahead = WEEK + 60
    assert await watch.look()
    assert bus.broker.stats().reconnections == 1
    await new.ready(10)
    service = await bus.ready("aico-sched")
    assert service.send(names.TASK_CREATED, bus.body("aico-sched", number=1))
    assert (await bus.received(new))[1].payload == {"number": 1}
    assert old.receive() == []
    with pytest.raises(BusUnreachable, match="refused the key"):
        await old.ready(0.3)
    assert not await watch.look()


async def test_the_role_and_the_name_stay(bus: Any) -> None:
    bus.ring.rotate("bob", WEEK)
    bob = await bus.ready("bob")
    assert bob.send(names.TASK_CREATE, bus.body("bob"))
    assert await bus.refusal() == ("bob", "publish", names.TASK_CREATE, "not allowed for the role")
    assert bob.send(names.TASK_LIST, bus.body("rob"))
    assert await bus.refusal() == ("bob", "publish", names.TASK_LIST, "source is not the name of the key")


async def test_a_key_is_let_in_before_the_broker_was_told_of_it(bus: Any) -> None:
    """A client that is refused once never tries again: the moment until the watch looks must not cost it the bus."""
    other = KeyRing(bus.ring.folder)
    other.reload()
    other.rotate("bob", WEEK)
    await bus.endpoint("bob", identity=other.client("bob")).ready(5)
    await bus.endpoint("zoe", identity=other.create("zoe", "observer")).ready(5)


async def test_a_running_broker_keeps_its_own_key(bus: Any) -> None:
    known = bus.ring.server().public
    bus.ring.rotate_server()
    assert bus.ring.server().public != known
    await bus.endpoint("rob", server_key=known).ready(5)
    bus.ring.rotate("rob", 0)
    assert await bus.broker.reload_keys()
    await bus.endpoint("rob", server_key=known).ready(5)


async def test_a_client_that_is_connected_longer_than_the_overlap_shows_its_new_key(bus: Any) -> None:
    first = bus.ring.client("bob")

    def present() -> CurveIdentity | None:
        try:
            return bus.ring.client("bob")  # type: ignore[no-any-return]
        except UnknownKey:
            return None

    bob = BusEndpoint(bus.clients, bus.address, "bob", first, bus.ring.server().public, renew=present)
    service = await bus.ready("aico-sched", names.TASK_LIST)
    try:
        bob.connect()
        bob.subscribe("scheduler.event.")
        await bob.ready(10)
        for turn in range(1, 4):
            bus.ring.rotate("bob", WEEK)
            bus.ahead += WEEK + 60
            assert bus.ring.expired()
            assert await bus.broker.reload_keys()
            await bob.ready(10)
            await service.ready(10)
            assert service.send(names.TASK_CREATED, bus.body("aico-sched", number=turn))
            assert (await bus.received(bob))[1].payload == {"number": turn}
            assert bob.send(names.TASK_LIST, bus.body("bob", number=turn))
            assert (await bus.received(service))[1].payload == {"number": turn}
        bus.ring.revoke("bob")
        assert await bus.broker.reload_keys()
        with pytest.raises(BusUnreachable, match="refused the key"):
            await bob.ready(0.5)
    finally:
        bob.close()
