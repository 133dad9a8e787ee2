"""AICO's codec: what goes in comes out, within what a Struct can say; anything else is refused by name."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aico_sched.topics import aico, codecs, limits
from aico_sched.topics.commands import TaskCreate
from aico_sched.topics.envelope import Envelope, Unreadable, new_envelope
from aico_sched.topics.errors import ErrorCode
from tests.integration.support.aico import AicoMessage

TEXT = st.text(max_size=20)
SCALARS = st.none() | st.booleans() | TEXT | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False)
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4))


def envelope(payload: dict[str, Any], **attributes: str) -> Envelope:
    return new_envelope("scheduler.task.create", "bob", payload, attributes=attributes)


@given(st.dictionaries(TEXT, VALUES, max_size=5))
def test_what_json_can_say_comes_back_equal(payload: dict[str, Any]) -> None:
    sent = envelope(payload, reply_to="r", correlation_id="c")
    received = codecs.read(codecs.write("t", sent, "aico"))
    assert received == (sent, "aico", received.packed)
    assert received.packed == aico.pack(payload)


@given(st.integers(-(2**53), 2**53))
def test_a_whole_number_is_an_int_again_and_fits_a_float_too(number: int) -> None:
    payload = aico.read(aico.encode(envelope({"n": number, "f": float(number)}))).envelope.payload
    assert type(payload["n"]) is type(payload["f"]) is int
    assert payload == {"n": number, "f": number}
    task = TaskCreate.model_validate({"task_id": "user.a", "schedule": "@daily", "timeout": 5, "priority": 7})
    assert isinstance(task.timeout, float)


def test_what_a_double_cannot_hold_travels_as_text() -> None:
    payload = aico.read(aico.encode(envelope({"big": 2**60, "raw": b"\0\xff"}))).envelope.payload
    assert payload == {"big": str(2**60), "raw": "AP8="}
    with pytest.raises(TypeError):
        aico.pack({"x": object()})


def test_the_codecs_are_told_apart_and_an_event_packed_as_msgpack_is_carried_by_both() -> None:
    sent = envelope({"n": 1})
    for codec, first in (("msgpack", 0x87), ("aico", 0x0A)):
        body = codecs.write("t", sent._replace(payload={}), codec, packed=b"\x81\xa1n\x01")
        assert body[0] == first
        assert codecs.codec_of(body) == codec
        assert codecs.decode(body) == sent


def test_it_is_what_aicos_own_definition_reads() -> None:
    message = AicoMessage()
    message.ParseFromString(aico.encode(envelope({"n": 1}, reply_to="r")))
    assert message.metadata.message_type == "scheduler.task.create"
    assert dict(message.metadata.attributes) == {"reply_to": "r"}
    assert message.metadata.timestamp.seconds > 1_700_000_000
    assert message.any_payload.type_url == "type.googleapis.com/google.protobuf.Struct"


def nested(levels: int) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for _ in range(levels):
        value = {"x": value}
    return value


@pytest.mark.parametrize(
    ("payload", "words"),
    [
        (nested(limits.MAX_NESTING), "nests deeper"),
        ({"x": [[]] * (limits.MAX_ITEMS + 1)}, "list of more"),
        ({str(n): 1 for n in range(limits.MAX_ITEMS + 1)}, "map of more"),
        ({"x": "y" * (limits.MAX_STRING_BYTES + 1)}, "text of more"),
        ({"x": "ü" * (limits.MAX_STRING_BYTES // 2 + 1)}, "text of more"),
    ],
)
def test_the_contracts_limits_hold_here_too(payload: dict[str, Any], words: str) -> None:
    with pytest.raises(Unreadable, match=words) as caught:
        aico.read(aico.encode(envelope(payload, reply_to="r")))
    assert caught.value.partial["source"] == "bob"
    assert caught.value.partial["attributes"] == {"reply_to": "r"}
    assert aico.read(aico.encode(envelope(nested(limits.MAX_NESTING - 2)))).envelope.payload


def test_too_large_a_frame_is_not_decoded_and_its_sender_can_be_told() -> None:
    body = aico.encode(envelope({str(n): "x" * 60_000 for n in range(5)}, reply_to="r"))
    with pytest.raises(Unreadable) as caught:
        codecs.read(body)
    assert caught.value.code is ErrorCode.TOO_LARGE
    assert caught.value.partial["source"] == "bob"


def test_other_payloads_and_damaged_ones() -> None:
    message = AicoMessage()
    message.ParseFromString(aico.encode(envelope({})))
    message.any_payload.type_url = "type.googleapis.com/google.protobuf.Duration"
    with pytest.raises(Unreadable, match=r"must be a google\.protobuf\.Struct"):
        aico.read(message.SerializeToString())
    message.any_payload.type_url = "type.googleapis.com/google.protobuf.Struct"
    message.any_payload.value = b"\x0a\xff\xff\xff"
    with pytest.raises(Unreadable, match="no Struct"):
        aico.read(message.SerializeToString())
    message.ClearField("any_payload")
    assert aico.read(message.SerializeToString()).envelope.payload == {}
    message.ClearField("metadata")
    with pytest.raises(Unreadable, match="message_id"):
        aico.read(message.SerializeToString() + b"\x0a\x00")


@pytest.mark.parametrize(("seconds", "nanos"), [(10**15, 0), (-(10**15), 0), (0, -1), (0, 2_000_000_000)])
def test_a_time_that_is_none(seconds: int, nanos: int) -> None:
    message = AicoMessage()
    message.ParseFromString(aico.encode(envelope({})))
    message.metadata.timestamp.seconds, message.metadata.timestamp.nanos = seconds, nanos
    with pytest.raises(Unreadable, match="timestamp"):
        aico.read(message.SerializeToString())


@given(st.binary(max_size=200))
def test_the_broker_reads_the_same_sender_as_the_service(tail: bytes) -> None:
    body = aico.encode(envelope({"x": 1})) + tail
    try:
        source = aico.read(body).envelope.source
    except Unreadable:
        return
    assert aico.source_of(body) == source
