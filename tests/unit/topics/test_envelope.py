"""The envelope on the wire: what is accepted, what is refused, and what the sender is told."""

from typing import Any

import msgpack
import pytest

from aico_sched.topics import limits
from aico_sched.topics.envelope import (
    Envelope,
    Unreadable,
    check_portable,
    decode,
    encode,
    encode_packed,
    new_envelope,
)
from aico_sched.topics.errors import ErrorCode


def raw(**given: Any) -> dict[str, Any]:
    envelope = new_envelope("scheduler.stats", "alice", {}, message_id="m1")
    return {**envelope._asdict(), **given}


def refused(body: Any) -> Unreadable:
    with pytest.raises(Unreadable) as caught:
        decode(body if isinstance(body, bytes) else msgpack.packb(body))
    return caught.value


def test_a_new_envelope_is_stamped_and_has_an_id_of_its_own() -> None:
    one, two = (new_envelope("scheduler.stats", "alice", {"a": 1}) for _ in range(2))
    assert one.message_id != two.message_id
    assert one.timestamp.endswith("Z")
    assert len(one.timestamp) == len("2026-01-01T00:00:00.000000Z")
    assert decode(encode(one)) == one


def test_a_packed_payload_travels_as_it_is() -> None:
    envelope = new_envelope("scheduler.stats", "alice", {}, attributes={"seq": "7"})
    payload = {"a": [1, None, 2.5, b"x"], "b": {"c": "d"}}
    body = encode_packed(envelope, msgpack.packb(payload))
    assert decode(body) == envelope._replace(payload=payload)
    assert body == encode(envelope._replace(payload=payload))


def test_the_body_may_be_a_memoryview() -> None:
    assert decode(memoryview(encode(Envelope(**raw())))).message_id == "m1"


@pytest.mark.parametrize("field", ["message_id", "timestamp", "source", "message_type", "version"])
@pytest.mark.parametrize("value", ["", 7, None, "x" * (limits.MAX_ID_CHARS + 1), b"bytes", ["list"]])
def test_a_bad_metadata_field_is_named(field: str, value: Any) -> None:
    error = refused(raw(**{field: value}))
    assert error.code is ErrorCode.INVALID_MESSAGE
    assert error.details["field"] == field
    assert field in error.message


@pytest.mark.parametrize("field", sorted(raw()))
def test_a_missing_field_is_named(field: str) -> None:
    body = raw()
    del body[field]
    error = refused(body)
    assert error.details["field"] == field
    assert error.message == f"the envelope lacks {field}"


def test_an_unknown_field_is_named() -> None:
    error = refused(raw(colour="red"))
    assert error.details["field"] == "colour"
    assert error.partial["source"] == "alice"


def test_many_long_unknown_fields_make_a_short_message() -> None:
    error = refused(raw(**{f"{number:03}" + "x" * 1_000: 1 for number in range(100)}))
    assert len(error.message) < 1_000
    assert error.message.endswith(" and 95 more")
    assert len(error.details["field"]) <= limits.MAX_NAME_CHARS


@pytest.mark.parametrize(
    "attributes",
    [None, [], {"a": 1}, {"a": None}, {"a": b"x"}, {f"k{number}": "v" for number in range(limits.MAX_ATTRIBUTES + 1)}],
)
def test_bad_attributes_are_named(attributes: Any) -> None:
    assert refused(raw(attributes=attributes)).details["field"] == "attributes"


def nested(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = {"k": value}
    return value


def test_nesting_is_limited_the_envelope_being_the_first_level() -> None:
    assert decode(msgpack.packb(raw(payload=nested(limits.MAX_NESTING - 1))))
    error = refused(raw(payload=nested(limits.MAX_NESTING)))
    assert error.details["field"] == "payload"
    assert refused(raw(payload=nested(500))).details["field"] == "payload"


@pytest.mark.parametrize("payload", [None, [], "text", 7, {b"bytes": 1}, {"x": {b"bytes": 1}}])
def test_a_payload_is_a_map_with_names(payload: Any) -> None:
    assert refused(raw(payload=payload)).details["field"] == "payload"


@pytest.mark.parametrize(
    "payload",
    [
        {"x": "y" * (limits.MAX_STRING_BYTES + 1)},
        {"x": b"y" * (limits.MAX_STRING_BYTES + 1)},
        {"x": [0] * (limits.MAX_ITEMS + 1)},
        {f"{number}": 0 for number in range(limits.MAX_ITEMS + 1)},
        {"x": msgpack.ExtType(5, b"data")},
        {"x": msgpack.Timestamp(1)},
        {1: "a key that is no text"},
    ],
    ids=range(7),
)
def test_lengths_and_types_are_limited_while_the_body_is_decoded(payload: Any) -> None:
    error = refused(raw(payload=payload))
    assert error.code is ErrorCode.INVALID_MESSAGE
    assert error.message


def test_what_is_just_within_the_limits_is_accepted() -> None:
    payload = {"s": "y" * limits.MAX_STRING_BYTES, "l": [0] * limits.MAX_ITEMS}
    assert decode(encode(Envelope(**raw(payload=payload)))).payload == payload


def test_a_frame_too_long_is_refused_without_being_decoded() -> None:
    error = refused(b"\xc1" * (limits.MAX_FRAME_BYTES + 1))
    assert error.code is ErrorCode.TOO_LARGE
    assert error.partial == {}
    assert refused(b"\xc1" * limits.MAX_FRAME_BYTES).code is ErrorCode.INVALID_MESSAGE


def test_the_same_key_twice_is_refused() -> None:
    body = encode(Envelope(**raw()))
    doubled = b"\x88" + body[1:] + msgpack.packb("source") + msgpack.packb("mallory")
    assert "same key twice" in refused(doubled).message


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\x0a\x05hello",
        b"{}",
        b"\xff" * 10,
        b"\x87",
        msgpack.packb({}) + b"\x00",
        b"\x91" * 5_000,
        b"\xa2\xff\xfe",
    ],
    ids=range(8),
)
def test_what_is_no_msgpack_is_refused(body: bytes) -> None:
    error = refused(body)
    assert error.code is ErrorCode.INVALID_MESSAGE
    assert len(error.message) < 500


@pytest.mark.parametrize("body", [None, 7, "text", [1], True])
def test_a_body_that_is_no_map_is_refused(body: Any) -> None:
    assert "must be a map" in refused(body).message


@pytest.mark.parametrize("value", [{"a": [1, "x", None, True, 1.5]}, {}, [], 7, "text"])
def test_what_every_reader_can_decode_is_portable(value: Any) -> None:
    check_portable(value, 3)


@pytest.mark.parametrize(
    "value",
    [[[[1]]], 2**64, "\udcff", {1: 2}, [0] * (limits.MAX_ITEMS + 1), "x" * (limits.MAX_STRING_BYTES + 1), object()],
    ids=range(7),
)
def test_what_some_reader_could_not_decode_is_not_portable(value: Any) -> None:
    with pytest.raises((ValueError, TypeError, OverflowError)):
        check_portable(value, 2)
