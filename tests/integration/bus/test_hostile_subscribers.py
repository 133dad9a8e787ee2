"""The subscription port in the hands of somebody with a valid key and bad intentions."""

import asyncio
import random
from typing import Any

import zmq

from aico_sched.topics import names

LIST = names.EVENT_LIST


async def test_who_listens_to_events_does_not_hear_what_others_ask(bus: Any) -> None:
    watcher = await bus.ready("bob", names.EVENTS, f"{names.EVENTS}l", names.TASK_EVENTS)
    service = await bus.ready("aico-sched", LIST)
    asker = await bus.ready("opal")
    assert asker.send(LIST, bus.body("opal", LIST))
    assert (await bus.received(service))[0] == LIST
    for topic in (names.TASK_CREATED, names.ALERT, names.AVAILABILITY, names.EXECUTION_STARTED):
        assert service.send(topic, bus.body("aico-sched", topic))
    topics = [(await bus.received(watcher))[0] for _ in range(4)]
    assert topics == [names.TASK_CREATED, names.ALERT, names.AVAILABILITY, names.EXECUTION_STARTED]
    # One of two overlapping subscriptions ends; the wider one still holds.
    watcher.unsubscribe(names.TASK_EVENTS)
    await watcher.ready(10)
    assert service.send(names.TASK_CREATED, bus.body("aico-sched", names.TASK_CREATED))
    assert (await bus.received(watcher))[0] == names.TASK_CREATED
    watcher.unsubscribe(names.EVENTS)
    await watcher.ready(10)
    assert service.send(names.TASK_CREATED, bus.body("aico-sched", names.TASK_CREATED))
    await watcher.ready(10)
    assert watcher.receive() == []


async def test_a_client_that_leaves_takes_its_subscriptions_along(bus: Any) -> None:
    for _ in range(3):
        watcher = await bus.ready("bob", names.EVENTS)
        watcher.close()
        await bus.eventually(lambda: bus.broker.stats().subscriptions == 0)


async def test_garbage_on_the_subscription_port_gets_nobody_elses_messages(bus: Any) -> None:
    """Frames of every shape among the subscriptions of others. With XPUB_MANUAL ZeroMQ applies a subscription to the
    connection that it thinks the last one came from, which such frames can make another one (Exchange._violated)."""
    draw = random.Random(7)
    shapes = (
        lambda: [b"garbage"],
        lambda: [b""],
        lambda: [b"\x01scheduler.event.task.", b"more"],
        lambda: [b"x", b"\x01scheduler.reply.rob"],
        lambda: [b"\x00scheduler.event."],
        lambda: [b"\x01scheduler.event.alert"],
        lambda: [b"\x01" + draw.randbytes(draw.randrange(40))],
        lambda: [b"\x02scheduler."],
        lambda: [draw.randbytes(draw.randrange(300))],
    )
    attacker = bus.raw(zmq.XSUB, "bob")
    attacker.send(b"\x01scheduler.event.alert")
    await bus.eventually(lambda: bus.broker.stats().subscriptions == 1)
    for turn in range(8):
        for _ in range(60):
            attacker.send_multipart(draw.choice(shapes)())
        victim = bus.endpoint("rob")
        for number in range(20):
            victim.subscribe(f"scheduler.reply.rob.{turn}.{number}")
        for _ in range(60):
            attacker.send_multipart(draw.choice(shapes)())
        await victim.ready(20)
        service = await bus.ready("aico-sched", "scheduler.task.")
        for number in range(20):
            assert service.send(f"scheduler.reply.rob.{turn}.{number}", bus.body("aico-sched"))
        heard = [(await bus.received(victim))[0] for _ in range(20)]
        assert heard == [f"scheduler.reply.rob.{turn}.{number}" for number in range(20)]
        while attacker.poll(0):
            assert not attacker.recv_multipart()[0].startswith((b"scheduler.reply.", b"scheduler.task."))
        victim.close()
        service.close()
    await asyncio.sleep(0)
    assert not attacker.poll(50)
