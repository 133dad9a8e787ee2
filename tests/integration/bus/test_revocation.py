"""Keys that come and go while the bus runs."""

import asyncio
from typing import Any

import pytest
import zmq

from aico_sched.bus.endpoint import BusUnreachable
from aico_sched.security.keys import KeyRing
from aico_sched.topics import names


@pytest.mark.parametrize("same_ring", [True, False])
async def test_a_connected_client_that_is_revoked_receives_nothing_more(bus: Any, same_ring: bool) -> None:
    revoked = await bus.ready("bob", "scheduler.event.")
    honest = await bus.ready("rob", "scheduler.event.")
    service = await bus.ready("aico-sched")
    assert service.send(names.TASK_CREATED, bus.body("aico-sched", number=0))
    for endpoint in (revoked, honest):
        assert (await bus.received(endpoint))[1].payload == {"number": 0}
    (bus.ring if same_ring else KeyRing(bus.ring.folder)).revoke("bob")
    assert await bus.broker.reload_keys()
    await asyncio.gather(honest.ready(10), service.ready(10))
    for number in range(1, 50):
        assert service.send(names.TASK_CREATED, bus.body("aico-sched", number=number))
        assert (await bus.received(honest))[1].payload == {"number": number}
    assert revoked.receive() == []
    with pytest.raises(BusUnreachable, match="refused the key"):
        await revoked.ready(0.3)
    assert not revoked.send(names.TASK_LIST, bus.body("bob"))
    assert bus.broker.stats().subscribers == ("rob",)


async def test_not_a_message_reaches_it_after_the_reload_returned(bus: Any) -> None:
    """Bare sockets, a publisher that never pauses: what arrives later was sent before."""
    spy = bus.raw(zmq.SUB, "bob")
    spy.setsockopt(zmq.SUBSCRIBE, b"scheduler.event.")
    await bus.eventually(lambda: bus.broker.stats().subscriptions == 1)
    service = await bus.publisher("aico-sched")
    for _ in range(100):
        service.send_multipart([names.TASK_CREATED.encode(), bus.body("aico-sched", after=False)])
    bus.ring.revoke("bob")
    assert await bus.broker.reload_keys()
    for _ in range(100):
        service.send_multipart([names.TASK_CREATED.encode(), bus.body("aico-sched", after=True)])
    honest = await bus.ready("rob", "scheduler.event.")
    service.send_multipart([names.TASK_CREATED.encode(), bus.body("aico-sched", after=True)])
    await bus.received(honest)
    late = []
    while spy.poll(0):
        late.append(spy.recv_multipart())
    assert not [frames for frames in late if b"\xa5after\xc3" in frames[1]]


async def test_a_new_key_disturbs_nobody(bus: Any) -> None:
    honest = await bus.ready("rob", "scheduler.event.")
    KeyRing(bus.ring.folder).create("zoe", "observer")
    assert not await bus.broker.reload_keys()
    await bus.ready("zoe")
    assert honest.linked
    assert bus.broker.stats().reconnections == 0


async def test_revoking_a_key_that_never_connected_disturbs_nobody(bus: Any) -> None:
    await bus.ready("rob")
    bus.ring.revoke("bob")
    assert not await bus.broker.reload_keys()
    assert bus.broker.stats().reconnections == 0


async def test_a_revoked_name_made_anew_has_its_new_role(bus: Any) -> None:
    old = await bus.ready("bob")
    bus.ring.revoke("bob")
    bus.ring.create("bob", "operator")
    assert await bus.broker.reload_keys()
    service = await bus.ready("aico-sched", "scheduler.task.")
    new = await bus.ready("bob")
    assert new.send(names.TASK_CREATE, bus.body("bob"))
    assert (await bus.received(service))[0] == names.TASK_CREATE
    with pytest.raises(BusUnreachable, match="refused the key"):
        await old.ready(0.2)


async def test_a_reload_of_a_damaged_folder_changes_nothing(bus: Any) -> None:
    endpoint = await bus.ready("rob")
    (bus.ring.folder / "clients" / "bob.key").write_text("damaged")
    with pytest.raises(Exception, match=r"bob\.key"):
        await bus.broker.reload_keys()
    assert endpoint.linked
    await bus.ready("opal")


async def test_stopping_during_a_reload_ends_both(bus: Any) -> None:
    await bus.ready("bob")
    bus.ring.revoke("bob")
    reload = asyncio.create_task(bus.broker.reload_keys())
    await asyncio.sleep(0)
    await bus.broker.stop()
    async with asyncio.timeout(5):
        await reload
