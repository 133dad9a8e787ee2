"""Every kind of bad command gets one refusal that names the field and goes to the right topic."""

from typing import Any

import msgpack
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from aico_sched.intake import Refused, Terms, accept
from aico_sched.security.key_names import UnknownKey
from aico_sched.topics import limits, names
from aico_sched.topics.envelope import encode, new_envelope
from aico_sched.topics.errors import ErrorCode
from aico_sched.topics.internal import Request
from aico_sched.topics.registry import COMMANDS

OWN = "scheduler.reply.alice"
TASK = {"task_id": "user.x", "schedule": "interval:5"}


def role_of(source: str) -> str:
    return {"alice": "operator"}[source]


def body(topic: str = names.TASK_CREATE, payload: Any = None, **given: Any) -> bytes:
    envelope = new_envelope(topic, "alice", TASK if payload is None else payload, message_id="m1")
    return bytes(msgpack.packb({**envelope._asdict(), **given}))


def refused(frame: bytes, topic: str = names.TASK_CREATE, *, private: bool = True) -> Refused:
    with pytest.raises(Refused) as caught:
        accept(topic, frame, role_of, Terms(private_replies=private))
    refused = caught.value
    assert len(refused.error.message) < 3_000
    return refused


def test_a_good_command_becomes_a_request_with_the_fields_that_were_given() -> None:
    attributes = {"reply_to": f"{OWN}.x", "correlation_id": "c1"}
    frame = body(payload={**TASK, "config": {"a": [1]}, "timeout": None}, attributes=attributes)
    request = accept(names.TASK_CREATE, frame, role_of, Terms(private_replies=True))
    payload = {**TASK, "config": {"a": [1]}, "timeout": None}
    assert request == Request("m1", "alice", "operator", f"{OWN}.x", "c1", "msgpack", payload)


def test_without_a_return_address_the_answer_goes_to_the_sender_s_own_topic() -> None:
    request = accept(names.TASK_CREATE, body(), role_of, Terms(private_replies=True))
    assert (request.reply_to, request.correlation_id) == (OWN, "m1")


@pytest.mark.parametrize("topic", sorted(COMMANDS))
def test_every_command_refuses_a_field_it_does_not_know(topic: str) -> None:
    found = refused(body(topic, {"colour": "red"}), topic)
    assert found.error.code is ErrorCode.INVALID_MESSAGE
    text = found.error.message
    assert "colour" in text
    assert (found.source, found.role, found.reply_to, found.correlation_id) == ("alice", "operator", OWN, "m1")


@pytest.mark.parametrize(
    ("payload", "field"),
    [
        ({**TASK, "colour": 1}, "colour"),
        ({"schedule": "interval:5"}, "task_id"),
        ({**TASK, "task_id": 7}, "task_id"),
        ({**TASK, "task_id": ""}, "task_id"),
        ({**TASK, "task_id": "no spaces"}, "task_id"),
        ({**TASK, "task_id": "a..b"}, "task_id"),
        ({**TASK, "task_id": "a.b\n"}, "task_id"),
        ({**TASK, "task_id": "../x"}, "task_id"),
        ({**TASK, "task_id": "x" * (limits.MAX_ID_CHARS + 1)}, "task_id"),
        ({**TASK, "schedule": None}, "schedule"),
        ({**TASK, "enabled": "yes"}, "enabled"),
        ({**TASK, "timeout": 0}, "timeout"),
        ({**TASK, "timeout": -1.5}, "timeout"),
        ({**TASK, "timeout": "5"}, "timeout"),
        ({**TASK, "timeout": float("inf")}, "timeout"),
        ({**TASK, "jitter": float("nan")}, "jitter"),
        ({**TASK, "overlap": "sometimes"}, "overlap"),
        ({**TASK, "retry": {"delay": "x"}}, "retry.delay"),
        ({**TASK, "retry": {"max_attempts": 0}}, "retry.max_attempts"),
        ({**TASK, "start_at": "2026-01-01T00:00:00"}, "start_at"),
        ({**TASK, "start_at": "tomorrow"}, "start_at"),
        ({**TASK, "tags": ["x", 7]}, "tags.1"),
        ({**TASK, "config": []}, "config"),
    ],
    ids=lambda value: str(value)[:60],
)
def test_a_wrong_value_is_named_by_its_path(payload: Any, field: str) -> None:
    found = refused(body(payload=payload))
    assert found.error.code is ErrorCode.INVALID_MESSAGE
    assert found.error.details["field"] == field
    assert found.error.message.startswith(f"{field}: ")
    assert found.reply_to == OWN


@pytest.mark.parametrize("value", [float("nan"), float("inf"), b"bytes", {"x": b"bytes"}])
def test_a_configuration_holds_only_what_json_can_say(value: Any) -> None:
    found = refused(body(payload={**TASK, "config": {"x": value}}))
    assert found.error.details["field"].startswith("config.x")


def test_all_that_is_wrong_is_listed_each_once() -> None:
    found = refused(body(payload={"a": 1, "b": 2, "c": 3}))
    assert found.error.message.count("also wrong: ") == 1
    for field in ("task_id", "schedule", "a", "b", "c"):
        assert field in found.error.message


def test_long_names_make_a_short_refusal() -> None:
    found = refused(body(payload={f"{number}" + "x" * 3_000: 1 for number in range(50)}))
    assert len(msgpack.packb(found.error.as_reply())) < 4_000


def test_the_refused_command_names_its_task_for_the_audit_trail() -> None:
    assert refused(body(payload={**TASK, "enabled": 7})).target == "user.x"
    assert refused(body(payload={"task_id": "x" * 5_000})).target == "x" * limits.MAX_ID_CHARS


@pytest.mark.parametrize(
    ("topic", "field"),
    [("scheduler.task.created", "topic"), ("scheduler.internal.stop", "topic"), ("scheduler.reply.x", "topic")],
)
def test_an_unknown_topic_is_told_the_known_ones(topic: str, field: str) -> None:
    found = refused(body(topic), topic)
    assert found.error.details["field"] == field
    assert names.TASK_CREATE in found.error.message
    assert found.reply_to == OWN


def test_no_internal_topic_is_a_command() -> None:
    assert not [topic for topic in COMMANDS if topic.startswith(names.INTERNAL)]


def test_the_message_type_must_be_the_topic() -> None:
    found = refused(body(names.TASK_DELETE), names.TASK_CREATE)
    assert found.error.details["field"] == "message_type"


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"colour": 1}, "colour"),
        ({"version": 1}, "version"),
        ({"timestamp": ""}, "timestamp"),
        ({"attributes": {"a": 1}}, "attributes"),
        ({"payload": [1]}, "payload"),
        ({"message_id": None}, "message_id"),
    ],
)
def test_a_bad_envelope_is_answered_where_it_says_who_sent_it(given: dict[str, Any], field: str) -> None:
    found = refused(body(**given))
    assert found.error.code is ErrorCode.INVALID_MESSAGE
    assert found.error.details["field"] == field
    assert (found.source, found.reply_to) == ("alice", OWN)
    assert found.correlation_id == ("" if field == "message_id" else "m1")


def test_a_bad_envelope_is_answered_on_the_topic_it_asks_for_if_that_is_the_sender_s() -> None:
    attributes = {"reply_to": f"{OWN}.secret", "correlation_id": "c1"}
    found = refused(body(colour=1, attributes=attributes))
    assert (found.reply_to, found.correlation_id) == (f"{OWN}.secret", "c1")
    found = refused(body(colour=1, attributes={"reply_to": "scheduler.reply.bob"}))
    assert found.reply_to == OWN


@pytest.mark.parametrize(
    "frame",
    [b"", b"hello", b"\xff" * 50, msgpack.packb([1, 2]), body(source=7), body(source=""), body(source="x" * 200)],
    ids=range(7),
)
def test_nobody_is_answered_where_nobody_is_named(frame: bytes) -> None:
    found = refused(frame)
    assert found.error.code is ErrorCode.INVALID_MESSAGE
    assert (found.source, found.reply_to) == ("", "")


def test_a_huge_body_is_too_large() -> None:
    found = refused(b"\x87" + b"x" * limits.MAX_FRAME_BYTES)
    assert found.error.code is ErrorCode.TOO_LARGE
    assert found.reply_to == ""


def test_a_deep_body_is_invalid() -> None:
    value: Any = 1
    for _ in range(limits.MAX_NESTING):
        value = {"k": value}
    found = refused(body(payload={**TASK, "config": value}))
    assert (found.error.code, found.error.details["field"]) == (ErrorCode.INVALID_MESSAGE, "payload")


@pytest.mark.parametrize("reply_to", ["scheduler.reply.bob", "scheduler.reply.alicexyz", "scheduler.reply.", "other"])
def test_on_the_hosted_bus_an_answer_goes_only_to_the_sender(reply_to: str) -> None:
    found = refused(body(attributes={"reply_to": reply_to}))
    assert found.error.code is ErrorCode.PERMISSION_DENIED
    assert found.error.details["field"] == "attributes.reply_to"
    assert found.reply_to == OWN


@pytest.mark.parametrize("reply_to", ["scheduler.reply.alice.1", "conversation/replies", "a.b.c"])
def test_on_a_joined_bus_an_answer_may_go_to_other_topics(reply_to: str) -> None:
    frame = body(attributes={"reply_to": reply_to})
    assert accept(names.TASK_CREATE, frame, role_of, Terms(private_replies=False)).reply_to == reply_to


@pytest.mark.parametrize(
    "reply_to", [names.TASK_CREATE, names.ALERT, "scheduler", "scheduler.", names.STOP, "scheduler.reply.bob"]
)
def test_the_scheduler_is_not_made_to_publish_commands_events_or_answers_to_others(reply_to: str) -> None:
    found = refused(body(attributes={"reply_to": reply_to}), private=False)
    assert found.error.code is ErrorCode.PERMISSION_DENIED
    assert found.reply_to == OWN


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ({"reply_to": ""}, (OWN, "m1")),
        ({"reply_to": "x" * 300}, (OWN, "m1")),
        ({"correlation_id": ""}, (OWN, "m1")),
        ({"correlation_id": "c" * 200}, (OWN, "m1")),
    ],
)
def test_an_unusable_return_address_is_replaced(attributes: dict[str, str], expected: tuple[str, str]) -> None:
    request = accept(names.TASK_CREATE, body(attributes=attributes), role_of, Terms(private_replies=True))
    assert (request.reply_to, request.correlation_id) == expected


@pytest.mark.parametrize("error", [UnknownKey("alice"), KeyError("alice")])
def test_a_sender_whose_key_was_revoked_meanwhile_is_refused(error: Exception) -> None:
    def gone(source: str) -> str:
        raise error

    with pytest.raises(Refused) as caught:
        accept(names.TASK_CREATE, body(), gone, Terms(private_replies=True))
    assert caught.value.error.code is ErrorCode.PERMISSION_DENIED
    assert caught.value.error.details["field"] == "source"
    assert (caught.value.source, caught.value.role, caught.value.reply_to) == ("alice", "", OWN)


def check(topic: str, frame: bytes) -> None:
    try:
        request = accept(topic, frame, lambda source: "observer", Terms(private_replies=True))
    except Refused as error:
        assert len(msgpack.packb(error.error.as_reply())) < 8_000
        assert error.reply_to == "" or error.reply_to.startswith(names.REPLY)
    else:
        msgpack.packb(request)
        COMMANDS[topic].payload.model_validate(request.payload)


topics = st.sampled_from(sorted(COMMANDS))
json = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats()
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
    | st.binary(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abcxyz", max_size=5), inner, max_size=3),
    max_leaves=8,
)
FIELDS = sorted({name for command in COMMANDS.values() for name in command.payload.model_fields})


@settings(deadline=None)
@given(topics, st.binary(max_size=100))
@example(names.TASK_CREATE, b"\xc1")
def test_any_bytes_are_a_request_or_a_refusal(topic: str, frame: bytes) -> None:
    check(topic, frame)


@settings(deadline=None)
@given(topics, st.dictionaries(st.sampled_from(FIELDS), json, max_size=4))
def test_any_payload_is_a_request_or_a_refusal(topic: str, payload: dict[str, Any]) -> None:
    check(topic, encode(new_envelope(topic, "alice", payload)))


GOOD: dict[str, dict[str, Any]] = {
    names.TASK_CREATE: {**TASK, "config": {"a": 1}, "retry": {"delay": 1.0}, "tags": ["x"]},
    names.TASK_UPDATE: {"task_id": "user.x", "end_at": "2026-01-01T00:00:00Z"},
    names.TASK_TRIGGER: {"task_id": "user.x"},
    names.EXECUTION_LIST: {"limit": 5, "since": "2026-01-01T00:00:00Z"},
    names.SCHEDULE_EXPLAIN: {"schedule": "* * * * *", "count": 3},
}


@settings(deadline=None)
@given(st.sampled_from(sorted(GOOD)), st.data())
def test_a_damaged_command_is_a_request_or_a_refusal(topic: str, data: st.DataObject) -> None:
    frame = bytearray(encode(new_envelope(topic, "alice", GOOD[topic])))
    for _ in range(data.draw(st.integers(1, 3))):
        frame[data.draw(st.integers(0, len(frame) - 1))] = data.draw(st.integers(0, 255))
    check(topic, bytes(frame))
