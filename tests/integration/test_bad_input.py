"""What no client of ours would send: each gets exactly one clear refusal, a line in the audit trail, and changes
nothing; the service goes on as if nothing had been."""

import asyncio
from collections.abc import Callable
from typing import Any

import msgpack
import pytest

from aico_sched.topics import limits, names
from tests.integration.support.running import Running
from tests.integration.support.wire import Wire

GOOD = {"task_id": "user.b", "schedule": "interval:86400", "task_class": "demo.echo"}
CREATE = names.TASK_CREATE


def nested(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = {"x": value}
    return value


async def provoke(run: Running, wire: Wire, topic: str, body: bytes, correlation_id: str) -> dict[str, Any]:
    """Publish `body`, and return the one refusal it gets, after checking that it left nothing behind but its line in
    the audit trail, and that the next good command works."""
    content, lines, heard = run.content(), len(run.audit()), len(wire.heard)
    await wire.send_body(topic, body)
    await wire.barrier()
    answers = [
        said["payload"]
        for reply_topic, said in wire.heard[heard:]
        if reply_topic.startswith(f"scheduler.reply.{wire.name}")
        and said["source"] != wire.name
        and said["attributes"].get("correlation_id", "") == correlation_id
    ]
    assert len(answers) == 1, f"{len(answers)} answers"
    answer = answers[0]
    assert answer.keys() == {"ok", "error"}
    assert answer["ok"] is False, answer
    error: dict[str, Any] = answer["error"]
    assert error.keys() == {"code", "message", "retryable", "details"}
    assert 0 < len(error["message"]) < 2_000
    trail = [
        (line["source"], line["action"], line["outcome"], line["detail"])
        for line in run.audit()[lines:]
        if line["outcome"] != "ok"
    ]
    assert trail == [(wire.name, topic, error["code"], error["message"][:500])]
    assert run.content() == content
    assert (await wire.ask(names.TASK_STATUS, {"task_id": "user.a"}))["ok"] is True
    return error


async def all_refused(run: Running, wire: Wire, messages: dict[str, tuple[dict[str, Any], str]]) -> None:
    """Each of these envelopes is refused as `invalid_message`, and the field that is wrong is named."""
    await run.client.create("user.a", "interval:86400", task_class="demo.echo")
    wrong = {}
    for label, (envelope, field) in messages.items():
        attributes = envelope["attributes"] if isinstance(envelope["attributes"], dict) else {}
        message_id = envelope["message_id"] if isinstance(envelope["message_id"], str) else ""
        correlation_id = attributes.get("correlation_id", message_id)
        try:
            error = await provoke(run, wire, CREATE, msgpack.packb(envelope), correlation_id)
            assert error["code"] == "invalid_message"
            named = error["details"]["field"]
            assert named == field or named.startswith(f"{field}."), error
            assert field.partition(".")[0] in error["message"]
        except AssertionError as failure:
            wrong[label] = str(failure).partition("\n")[0]
    assert wrong == {}


WRONG_PAYLOADS = [
    ({**GOOD, "task_idd": 1}, "task_idd"),
    ({**GOOD, "enabled": "yes"}, "enabled"),
    ({**GOOD, "enabled": 1}, "enabled"),
    ({**GOOD, "timeout": "5"}, "timeout"),
    ({**GOOD, "timeout": True}, "timeout"),
    ({**GOOD, "timeout": 0}, "timeout"),
    ({**GOOD, "timeout": float("nan")}, "timeout"),
    ({**GOOD, "jitter": float("inf")}, "jitter"),
    ({**GOOD, "jitter": -1}, "jitter"),
    ({**GOOD, "retry": {"delay": float("nan")}}, "retry.delay"),
    ({**GOOD, "retry": {"delays": 1}}, "retry.delays"),
    ({**GOOD, "retry": []}, "retry"),
    ({**GOOD, "priority": 2**63}, "priority"),
    ({**GOOD, "max_runs": 1.5}, "max_runs"),
    ({**GOOD, "tags": "one"}, "tags"),
    ({**GOOD, "tags": [1]}, "tags.0"),
    ({**GOOD, "tags": ["x"] * 40}, "tags"),
    ({**GOOD, "config": []}, "config"),
    ({**GOOD, "config": {"x": float("nan")}}, "config"),
    ({**GOOD, "config": {"x": b"\xff\xfe"}}, "config"),
    ({**GOOD, "overlap": "sometimes"}, "overlap"),
    ({**GOOD, "start_at": "2026-01-01T00:00:00"}, "start_at"),
    ({**GOOD, "task_id": ""}, "task_id"),
    ({**GOOD, "task_id": "user..b"}, "task_id"),
    ({**GOOD, "task_id": "../etc/passwd"}, "task_id"),
    ({**GOOD, "task_id": "user.b\n"}, "task_id"),
    ({**GOOD, "task_id": "user." + "b" * 200}, "task_id"),
    ({**GOOD, "task_id": None}, "task_id"),
    ({**GOOD, "task_id": 5}, "task_id"),
    ({**GOOD, "schedule": ""}, "schedule"),
    ({**GOOD, "schedule": "*" * 300}, "schedule"),
    ({**GOOD, "description": "x" * 3_000}, "description"),
    ({"task_id": "user.b"}, "schedule"),
    ({}, "task_id"),
]


async def test_a_field_that_is_wrong_is_named(run: Running, wire: Wire) -> None:
    messages = {str(payload)[:200]: (wire.envelope(CREATE, payload), field) for payload, field in WRONG_PAYLOADS}
    assert len(messages) == len(WRONG_PAYLOADS)
    await all_refused(run, wire, messages)


@pytest.mark.parametrize("number", [12345, 12345.5, "12345"])
async def test_a_time_is_never_a_number(run: Running, wire: Wire, number: Any) -> None:
    await all_refused(run, wire, {"number": (wire.envelope(CREATE, {**GOOD, "start_at": number}), "start_at")})


WRONG_ENVELOPES = [
    ({"payload": [1]}, "payload"),
    ({"payload": None}, "payload"),
    ({"payload": nested(40)}, "payload"),
    ({"message_type": names.TASK_DELETE}, "message_type"),
    ({"message_type": 5}, "message_type"),
    ({"message_id": ""}, "message_id"),
    ({"message_id": 5}, "message_id"),
    ({"message_id": "x" * 200}, "message_id"),
    ({"timestamp": 12.5}, "timestamp"),
    ({"version": None}, "version"),
    ({"attributes": ["x"]}, "attributes"),
    ({"attributes": {"correlation_id": "c", "n": 5}}, "attributes"),
    ({"attributes": {f"a{n}": "" for n in range(100)}}, "attributes"),
]


async def test_an_envelope_that_is_wrong_is_answered_where_its_sender_listens(run: Running, wire: Wire) -> None:
    messages = {
        str(changed)[:200]: (wire.envelope(CREATE, GOOD) | changed, field) for changed, field in WRONG_ENVELOPES
    }
    lacking = wire.envelope(CREATE, GOOD)
    del lacking["timestamp"]
    await all_refused(run, wire, {**messages, "no timestamp": (lacking, "timestamp")})


def packed_twice(wire: Wire) -> tuple[bytes, str]:
    """A message whose payload names a key twice: two readers could each believe a different one."""
    envelope = wire.envelope(CREATE, {})
    twice = b"\x82" + 2 * (msgpack.packb("task_id") + msgpack.packb("user.b"))
    parts = (
        msgpack.packb(key) + (twice if key == "payload" else msgpack.packb(value)) for key, value in envelope.items()
    )
    return b"\x87" + b"".join(parts), envelope["message_id"]


def with_config(wire: Wire, value: Any) -> tuple[bytes, str]:
    envelope = wire.envelope(CREATE, {**GOOD, "config": {"x": value}})
    return msgpack.packb(envelope), envelope["message_id"]


def with_more(wire: Wire) -> tuple[bytes, str]:
    envelope = wire.envelope(CREATE, GOOD, extra=1)
    return msgpack.packb(envelope), envelope["message_id"]


def cut_short(wire: Wire) -> tuple[bytes, str]:
    envelope = wire.envelope(CREATE, GOOD)
    return msgpack.packb(envelope)[:-7], envelope["message_id"]


def with_a_tail(wire: Wire) -> tuple[bytes, str]:
    envelope = wire.envelope(CREATE, GOOD)
    return msgpack.packb(envelope) + b"\x00", envelope["message_id"]


UNREADABLE: list[tuple[Callable[[Wire], tuple[bytes, str]], str]] = [
    (lambda wire: (b"", ""), "invalid_message"),
    (lambda wire: (b'{"json": true}', ""), "invalid_message"),
    (lambda wire: (b"\xc1\xc1\xc1", ""), "invalid_message"),
    (lambda wire: (msgpack.packb("just text"), ""), "invalid_message"),
    (lambda wire: (msgpack.packb([1, 2, 3]), ""), "invalid_message"),
    (lambda wire: (msgpack.packb({}), ""), "invalid_message"),
    (cut_short, "invalid_message"),
    (with_a_tail, "invalid_message"),
    (lambda wire: (b"\x91" * 100_000, ""), "invalid_message"),
    (with_more, "invalid_message"),
    (packed_twice, "invalid_message"),
    (lambda wire: with_config(wire, msgpack.ExtType(5, b"x")), "invalid_message"),
    (lambda wire: with_config(wire, {1: 2}), "invalid_message"),
    (lambda wire: with_config(wire, "y" * 100_000), "invalid_message"),
    (lambda wire: with_config(wire, ["y" * 30_000] * 10), "too_large"),
]


async def test_a_body_that_cannot_be_read_is_refused_to_its_sender(run: Running, wire: Wire) -> None:
    await run.client.create("user.a", "interval:86400", task_class="demo.echo")
    wrong = {}
    for number, (make, code) in enumerate(UNREADABLE):
        body, correlation_id = make(wire)
        try:
            found = (await provoke(run, wire, CREATE, body, correlation_id))["code"]
        except AssertionError as failure:
            found = str(failure).partition("\n")[0]
        if found != code:
            wrong[number, body[:40]] = found
    assert wrong == {}


@pytest.mark.parametrize(
    "topic", ["scheduler.task.created", "scheduler.task.create.x", "scheduler.nonsense", "scheduler.task.listing"]
)
async def test_a_topic_that_is_no_command_is_refused(run: Running, wire: Wire, topic: str) -> None:
    await run.client.create("user.a", "interval:86400", task_class="demo.echo")
    envelope = wire.envelope(topic, {})
    error = await provoke(run, wire, topic, msgpack.packb(envelope), envelope["message_id"])
    assert (error["code"], error["details"]["field"]) == ("invalid_message", "topic")
    assert names.TASK_CREATE in error["message"]


@pytest.mark.parametrize("topic", [names.SLOTS_CLAIM, names.STOP, names.TASK_CREATED, "scheduler.reply.admin2"])
async def test_what_only_the_service_may_say_is_kept_off_the_bus(run: Running, wire: Wire, topic: str) -> None:
    await wire.subscribe(names.EVENTS)
    await wire.send_body(topic, msgpack.packb(wire.envelope(topic, {"task_id": "user.b"})))
    await wire.barrier()
    assert [heard for heard, _ in wire.heard if heard == topic] == []
    assert (await run.client.health()).status == "healthy"


async def test_a_sender_cannot_speak_for_another(start: Any, wire_to: Any) -> None:
    run = await start(roles={"mallory": "module"})
    mallory = await wire_to(run, "mallory")
    await mallory.send(CREATE, GOOD, source="admin")
    assert (await mallory.ask(names.TASK_LIST, {"prefix": "user."}))["result"]["tasks"] == []


async def test_an_answer_goes_only_to_its_asker(start: Any, wire_to: Any) -> None:
    run = await start(roles={"mallory": "module"})
    mallory, admin = await wire_to(run, "mallory"), await wire_to(run)
    attributes = {"reply_to": f"scheduler.reply.admin.{'0' * 32}", "correlation_id": "c1"}
    await mallory.send(names.TASK_LIST, {}, attributes=attributes)
    answer = await mallory.answer("c1")
    await admin.barrier()
    assert (answer["error"]["code"], answer["error"]["details"]["field"]) == (
        "permission_denied",
        "attributes.reply_to",
    )
    assert admin.answers("c1") == []
    assert [line["source"] for line in run.audit() if line["outcome"] == "permission_denied"] == ["mallory"]


async def test_a_thousand_broken_messages_do_not_hold_up_the_next_good_one(start: Any, wire_to: Any) -> None:
    """More than the mailboxes hold; no heartbeat comes to wake anybody up."""
    run = await start(scheduler__heartbeat_interval=3600)
    wire = await wire_to(run)
    async with asyncio.timeout(30):
        for number in range(2_000):
            await wire.send(CREATE, {**GOOD, "timeout": number % 7 - 7}, message_id=f"m{number}", attributes={})
        assert (await wire.ask(CREATE, GOOD))["ok"] is True
        await wire.barrier()
    assert all(len(wire.answers(f"m{number}")) == 1 for number in range(2_000))
    stats = await run.client.stats()
    assert all(actor["restarts"] == actor["dropped"] == 0 for actor in stats.actors.values())


async def test_lists_of_the_longest_allowed_size_are_read(run: Running, wire: Wire) -> None:
    """Just inside the limits; what is beyond is refused above."""
    config = {"list": [0] * limits.MAX_ITEMS, "text": "x" * (limits.MAX_STRING_BYTES - 1), "deep": nested(10)}
    answer = await wire.ask(CREATE, {**GOOD, "config": config})
    assert answer["result"]["config"] == config
