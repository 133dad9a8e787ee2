"""The broker over real sockets: what passes, what is refused, and that no refusal harms the next message."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
import zmq

from aico_sched.bus.access import AccessRules
from aico_sched.bus.broker import Broker, BrokerStateError, CannotBind, PortInUse
from aico_sched.bus.endpoint import BusUnreachable
from aico_sched.bus.sockets import MAX_WIRE_BYTES
from aico_sched.security.keys import CurveIdentity
from aico_sched.topics import limits, names

CREATE = names.TASK_CREATE
LIST = names.TASK_LIST.encode()


async def still_works(bus: Any) -> None:
    """A command goes from `opal` to the service."""
    service = await bus.ready("aico-sched", "scheduler.task.")
    sender = await bus.ready("opal")
    assert sender.send(CREATE, bus.body("opal", CREATE))
    topic, envelope = await bus.received(service)
    assert (topic, envelope.source) == (CREATE, "opal")


async def test_a_command_a_reply_and_an_event(bus: Any) -> None:
    service = await bus.ready("aico-sched", "scheduler.task.")
    client = await bus.ready("opal", "scheduler.reply.opal", "scheduler.event.")
    watcher = await bus.ready("bob", "scheduler.event.")
    assert client.send(CREATE, bus.body("opal"))
    assert (await bus.received(service))[0] == CREATE
    assert service.send("scheduler.reply.opal.1", bus.body("aico-sched"))
    assert service.send(names.TASK_CREATED, bus.body("aico-sched"))
    assert [(await bus.received(client))[0] for _ in range(2)] == ["scheduler.reply.opal.1", names.TASK_CREATED]
    assert (await bus.received(watcher))[0] == names.TASK_CREATED
    stats = bus.broker.stats()
    assert stats.refused == {}
    assert stats.subscribers == ("aico-sched", "bob", "opal")
    assert stats.subscriptions == 4
    assert stats.messages_in == stats.messages_out >= 3


REFUSED_MESSAGES: dict[str, tuple[str, Callable[[Any], list[bytes]], str]] = {
    "one frame": ("bob", lambda bus: [LIST], "not exactly two frames"),
    "three frames": ("bob", lambda bus: [LIST, bus.body("bob"), b""], "not exactly two frames"),
    "many frames": ("bob", lambda bus: [LIST, *[b"x"] * 5_000], "not exactly two frames"),
    "oversize body": ("bob", lambda bus: [LIST, bytes(limits.MAX_FRAME_BYTES + 1)], "too large"),
    "oversize topic": ("bob", lambda bus: [bytes(limits.MAX_TOPIC_BYTES + 1), b""], "too large"),
    "not utf-8": ("bob", lambda bus: [b"scheduler.\xff\xfe", bus.body("bob")], "topic is empty or not utf-8"),
    "empty topic": ("bob", lambda bus: [b"", bus.body("bob")], "topic is empty or not utf-8"),
    "forbidden command": ("bob", lambda bus: [CREATE.encode(), bus.body("bob")], "not allowed for the role"),
    "forged event": ("mod", lambda bus: [names.TASK_CREATED.encode(), bus.body("mod")], "not allowed for the role"),
    "forged reply": ("mod", lambda bus: [b"scheduler.reply.bob.1", bus.body("mod")], "not allowed for the role"),
    "inside": ("admin", lambda bus: [names.STOP.encode(), bus.body("admin")], "not allowed for the role"),
    "other source": (
        "bob",
        lambda bus: [LIST, bus.body("rob")],
        "source is not the name of the key",
    ),
    "not an envelope": ("bob", lambda bus: [LIST, b"\xc1garbage"], "body is not an envelope"),
}


@pytest.mark.parametrize("case", sorted(REFUSED_MESSAGES))
async def test_refused_messages_are_dropped_counted_and_reported(bus: Any, case: str) -> None:
    name, make, reason = REFUSED_MESSAGES[case]
    frames = make(bus)
    listener = await bus.ready("aico-sched", "scheduler.task.", "scheduler.event.")
    publisher = await bus.publisher(name)
    publisher.send_multipart(frames)
    got_name, action, _, got_reason = await bus.refusal()
    assert (got_name, action, got_reason) == (name, "publish", reason)
    assert sum(bus.broker.stats().refused.values()) == 1
    await still_works(bus)
    # What was refused came first, and would be here before the good one.
    assert (await bus.received(listener))[0] == CREATE


async def test_a_frame_beyond_the_wire_limit_ends_its_connection_only(bus: Any) -> None:
    sender = await bus.ready("bob")
    assert sender.send(names.TASK_LIST, bytes(MAX_WIRE_BYTES + 1))
    await bus.eventually(lambda: sender.connections == (2, 1))
    await sender.ready(10)
    await still_works(bus)


async def test_zeromq_refuses_what_has_no_key(bus: Any) -> None:
    public, secret = (half.decode() for half in zmq.curve_keypair())
    stranger = bus.endpoint("bob", identity=CurveIdentity("bob", public, secret))
    with pytest.raises(BusUnreachable, match="refused the key"):
        await stranger.ready(0.3)
    name, action, _, reason = await bus.refusal()
    assert (name, action, reason) == ("127.0.0.1", "connect", "unknown or revoked key")
    plain = bus.clients.socket(zmq.XPUB)
    plain.setsockopt(zmq.LINGER, 0)
    monitor = plain.get_monitor_socket(zmq.EVENT_DISCONNECTED | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL)
    plain.connect(bus.address.publish)
    assert await bus.arrived(monitor)
    plain.disable_monitor()
    monitor.close()
    plain.close()
    await still_works(bus)


@pytest.mark.parametrize(
    "prefix",
    [
        "",
        "s",
        "sched",
        "scheduler.",
        "scheduler.reply.",
        "scheduler.reply.rob",
        "scheduler.reply.r",
        "scheduler.task.",
        "scheduler.internal.",
        "x.",
        "scheduler.event.\udcff",
    ],
)
async def test_refused_subscriptions_receive_nothing(bus: Any, prefix: str) -> None:
    spy = bus.raw(zmq.SUB, "bob")
    spy.setsockopt(zmq.SUBSCRIBE, prefix.encode("utf-8", "surrogateescape"))
    name, action, _, _ = await bus.refusal()
    assert (name, action) == ("bob", "subscribe")
    # The events it may see come through; nothing else does, in any order.
    spy.setsockopt(zmq.SUBSCRIBE, b"scheduler.event.")
    await bus.eventually(lambda: bus.broker.stats().subscriptions == 1)
    service = await bus.ready("aico-sched")
    sender = await bus.ready("opal")
    assert sender.send(CREATE, bus.body("opal"))
    assert service.send("scheduler.reply.rob.1", bus.body("aico-sched"))
    assert service.send(names.TASK_CREATED, bus.body("aico-sched", last=True))
    assert (await bus.arrived(spy))[0] == names.TASK_CREATED.encode()


async def test_nobody_reads_another_ones_replies_however_it_asks(bus: Any) -> None:
    spy = bus.raw(zmq.SUB, "rob")
    for length in range(len("scheduler.reply.bob.0")):
        spy.setsockopt(zmq.SUBSCRIBE, b"scheduler.reply.bob.0"[: length + 1])
    spy.setsockopt(zmq.SUBSCRIBE, b"scheduler.reply.rob.")
    await bus.eventually(lambda: bus.broker.stats().subscriptions == 1)
    service = await bus.ready("aico-sched")
    for name in ("bob", "rob"):
        assert service.send(f"scheduler.reply.{name}.0", bus.body("aico-sched"))
    assert (await bus.arrived(spy))[0] == b"scheduler.reply.rob.0"


async def test_a_message_on_the_subscription_port_cannot_lend_somebody_elses_rights(bus: Any) -> None:
    """libzmq pairs later subscriptions with the wrong connection after such a message; see Exchange._violated."""
    attacker = bus.raw(zmq.XSUB, "bob")
    attacker.send(b"\x01scheduler.event.")
    await bus.eventually(lambda: bus.broker.stats().subscriptions == 1)
    # In one batch with the service's subscriptions, as often as can be.
    service = bus.endpoint("aico-sched")
    for _ in range(200):
        attacker.send(b"garbage")
        attacker.send(b"\x01scheduler.event.task.")
    for topic in ("scheduler.task.", "scheduler.execution.", "scheduler.dead."):
        service.subscribe(topic)
    async with asyncio.timeout(10):
        while (await bus.refusal())[3] != "not a subscription":
            pass
    await service.ready(10)
    sender = await bus.ready("opal")
    assert sender.send(CREATE, bus.body("opal"))
    assert (await bus.received(service))[0] == CREATE
    assert not attacker.poll(50), "the attacker is out, and got nobody's subscription"
    assert bus.broker.stats().reconnections >= 1


async def test_the_rate_limit_is_each_clients_own(make_bus: Any) -> None:
    bus = await make_bus(rate_limit=1.0, burst=50.0)
    listener = await bus.ready("aico-sched", "scheduler.task.")
    flooder, other = await bus.publisher("bob"), await bus.publisher("rob")
    for _ in range(500):
        flooder.send_multipart([LIST, bus.body("bob")])
    assert (await bus.refusal())[3] == "rate limit"
    await bus.eventually(lambda: bus.broker.stats().refused["rate"] >= 440)
    other.send_multipart([LIST, bus.body("rob")])
    seen = await bus.eventually(lambda: [t for t in (decoded(listener)) if t == "rob"])
    assert seen == ["rob"]
    assert bus.broker.stats().unreported > 400, "a flood of refusals is not a flood of reports"


def decoded(endpoint: Any) -> list[str]:
    from aico_sched.topics.envelope import decode

    return [decode(content).source for _, content in endpoint.receive(1_000)]


async def test_an_exception_in_the_authenticator_ends_nothing(bus: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    real, left = bus.ring.lookup, [2]

    def broken(public: str) -> Any:
        if left[0]:
            left[0] -= 1
            raise RuntimeError("injected")
        return real(public)

    monkeypatch.setattr(bus.ring, "lookup", broken)
    endpoint = bus.endpoint("bob")
    await endpoint.ready(10)
    assert left == [0]
    await still_works(bus)


async def test_an_exception_in_a_check_costs_one_message(bus: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    publisher = await bus.publisher("bob")
    with monkeypatch.context() as patch:
        patch.setattr(AccessRules, "may_publish", lambda *_: 1 // 0)
        publisher.send_multipart([LIST, bus.body("bob")])
        assert (await bus.refusal())[3] == "internal error"
    with monkeypatch.context() as patch:
        patch.setattr(AccessRules, "may_subscribe", lambda *_: 1 // 0)
        bus.raw(zmq.SUB, "bob").setsockopt(zmq.SUBSCRIBE, b"scheduler.event.")
        assert (await bus.refusal())[1:] == ("subscribe", "", "internal error")
    await still_works(bus)


async def test_a_slow_subscriber_loses_its_own_messages_only(make_bus: Any) -> None:
    bus = await make_bus(high_water=10)
    stalled = bus.raw(zmq.SUB, "bob")
    stalled.setsockopt(zmq.RCVHWM, 10)
    stalled.setsockopt(zmq.SUBSCRIBE, b"scheduler.event.")
    await bus.eventually(lambda: bus.broker.stats().subscriptions == 1)
    reader = await bus.ready("rob", "scheduler.event.")
    service = await bus.ready("aico-sched")
    for number in range(500):
        assert service.send(names.TASK_CREATED, bus.body("aico-sched", number=number, padding="x" * 20_000))
        assert (await bus.received(reader))[1].payload["number"] == number


# Life.


async def test_start_and_stop_any_number_of_times(bus: Any) -> None:
    with pytest.raises(BrokerStateError):
        await bus.broker.start()
    await still_works(bus)
    await bus.broker.stop()
    await bus.broker.stop()
    with pytest.raises(BrokerStateError, match="stopped"):
        await bus.broker.start()
    with pytest.raises(BrokerStateError):
        await bus.broker.reload_keys()
    assert bus.broker.stats().subscriptions == 0


async def test_a_taken_port_says_what_to_do_and_leaves_nothing_behind(bus: Any) -> None:
    context: zmq.Context[Any] = zmq.Context()
    port = int(bus.address.publish.rpartition(":")[2])
    broker = Broker(context, bus.ring, AccessRules.load(), publish_port=port)
    with pytest.raises(PortInUse, match=r"another port \(0 is any free one\), or join its bus"):
        await broker.start()
    await broker.stop()
    free = Broker(context, bus.ring, AccessRules.load())
    await free.start()
    await free.stop()
    context.term()


async def test_an_impossible_host_is_a_clear_error(bus: Any) -> None:
    context: zmq.Context[Any] = zmq.Context()
    broker = Broker(context, bus.ring, AccessRules.load(), host="203.0.113.7")
    with pytest.raises(CannotBind, match=r"203\.0\.113\.7"):
        await broker.start()
    await broker.stop()
    context.term()


async def test_several_brokers_fit_in_one_process(make_bus: Any) -> None:
    first, second = await make_bus(), await make_bus()
    await still_works(first)
    await still_works(second)
    foreign = second.ring.client("bob")
    with pytest.raises(BusUnreachable, match="refused the key"):
        await first.endpoint("bob", identity=foreign).ready(0.3)
