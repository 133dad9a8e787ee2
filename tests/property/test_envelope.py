"""Whatever an envelope holds comes back, and whatever the bytes are, decoding gives an envelope or `Unreadable`."""

from typing import Any

import msgpack
from hypothesis import example, given
from hypothesis import strategies as st

from aico_sched.topics import limits
from aico_sched.topics.envelope import Envelope, Unreadable, check_portable, decode, encode, encode_packed

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
ident = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=limits.MAX_ID_CHARS)
scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False)
    | text
    | st.binary(max_size=20)
)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(text, inner, max_size=4), max_leaves=20
)
envelopes = st.builds(
    Envelope,
    message_id=ident,
    timestamp=ident,
    source=ident,
    message_type=ident,
    version=ident,
    attributes=st.dictionaries(text, text, max_size=limits.MAX_ATTRIBUTES),
    payload=st.dictionaries(text, values, max_size=5),
)


def depth(value: Any) -> int:
    if isinstance(value, dict):
        return 1 + max(map(depth, value.values()), default=0)
    if isinstance(value, list):
        return 1 + max(map(depth, value), default=0)
    return 0


@given(envelopes)
def test_an_envelope_survives_its_way(envelope: Envelope) -> None:
    body = encode(envelope)
    assert body == encode_packed(envelope, msgpack.packb(envelope.payload))
    assert decode(body) == envelope if depth(envelope.payload) < limits.MAX_NESTING else True


@given(values, st.integers(0, 8))
def test_portable_is_what_can_stand_that_deep_in_an_envelope(value: Any, levels: int) -> None:
    fits = depth(value) <= levels
    try:
        check_portable(value, levels)
    except ValueError:
        assert not fits
    else:
        assert fits
        payload: Any = value
        for _ in range(limits.MAX_NESTING - 1 - levels):
            payload = {"k": payload}
        body = encode(Envelope("m", "t", "s", "x", "1.0", {}, payload if isinstance(payload, dict) else {"k": 1}))
        decode(body)


def check_bytes(body: bytes) -> None:
    try:
        envelope = decode(body)
    except Unreadable as error:
        assert error.message
        assert len(error.message) < 2_000
    else:
        assert decode(encode(envelope)) == envelope or "nan" in repr(envelope)


@given(st.binary(max_size=200))
@example(b"")
@example(b"\x91" * 3_000)
@example(b"\xdd\xff\xff\xff\xff")
@example(b"\xdf\xff\xff\xff\xff")
@example(b"\xc6\xff\xff\xff\xff")
def test_any_bytes_are_an_envelope_or_unreadable(body: bytes) -> None:
    check_bytes(body)


@given(envelopes, st.data())
def test_a_damaged_envelope_is_an_envelope_or_unreadable(envelope: Envelope, data: st.DataObject) -> None:
    body = bytearray(encode(envelope))
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(body) - 1))
        change = data.draw(st.sampled_from(["flip", "cut", "insert"]))
        if change == "flip":
            body[place] = data.draw(st.integers(0, 255))
        elif change == "cut":
            del body[place : place + data.draw(st.integers(1, 8))]
        else:
            body[place:place] = data.draw(st.binary(min_size=1, max_size=8))
        if not body:
            break
    check_bytes(bytes(body))


@given(st.dictionaries(st.sampled_from(Envelope._fields) | text, values, max_size=9))
def test_any_map_is_an_envelope_or_unreadable(fields: dict[str, Any]) -> None:
    check_bytes(msgpack.packb(fields))
