"""Signatures: a message is its signer's exactly as it is, once, and for a while."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aico_sched.schedule import format_rfc3339, parse_rfc3339
from aico_sched.security.key_names import InsecureKeyFile, KeyExists, ProtectedKey, RevokedKey, UnknownKey
from aico_sched.security.replay import ReplayGuard
from aico_sched.security.signatures import Authenticator, Unanswered, is_signed_by
from aico_sched.security.signing_keys import SigningRing, load_public, load_signer
from aico_sched.topics import codecs
from aico_sched.topics.envelope import Envelope, Received, new_envelope
from aico_sched.topics.errors import CommandError, ErrorCode

TOPIC = "scheduler.task.create"
CODECS = ["msgpack", "aico"]


@pytest.fixture
def ring(tmp_path: Path) -> SigningRing:
    made = SigningRing(tmp_path / "signing")
    made.ensure()
    made.create("bob", "module")
    return made


def message(**changes: Any) -> Envelope:
    attributes = {"reply_to": "scheduler.reply.bob.1", "correlation_id": "c"}
    return new_envelope(TOPIC, "bob", {"task_id": "user.a", "n": 1}, attributes=attributes)._replace(**changes)


def sent(ring: SigningRing, envelope: Envelope, codec: str, name: str = "bob") -> Received:
    return codecs.read(codecs.write(TOPIC, envelope, codec, sign=ring.signer(name)))


def door(ring: SigningRing, now_us: int, unsigned_role: str | None = None, **guard: Any) -> Authenticator:
    return Authenticator(ring, ReplayGuard(60, **guard), lambda: now_us, unsigned_role)


@pytest.mark.parametrize("codec", CODECS)
def test_a_signed_command_has_its_signers_role(ring: SigningRing, codec: str) -> None:
    envelope = message()
    received = sent(ring, envelope, codec)
    assert received.envelope.payload == envelope.payload
    assert door(ring, parse_rfc3339(envelope.timestamp))(TOPIC, received) == "module"


FORGED = {
    "topic": lambda r: ("scheduler.task.delete", r),
    "message_id": lambda r: (TOPIC, changed(r, message_id="other")),
    "timestamp": lambda r: (TOPIC, changed(r, timestamp="2030-01-01T00:00:00.000000Z")),
    "source": lambda r: (TOPIC, changed(r, source="admin")),
    "reply_to": lambda r: (TOPIC, attribute(r, reply_to="scheduler.reply.bob.2")),
    "an attribute more": lambda r: (TOPIC, attribute(r, x="y")),
    "payload": lambda r: (TOPIC, r._replace(packed=r.packed + b" ")),
    "no payload bytes": lambda r: (TOPIC, r._replace(packed=None)),
    "signature": lambda r: (TOPIC, attribute(r, signature="AAAA")),
    "no base64": lambda r: (TOPIC, attribute(r, signature="*ü*")),
    "empty": lambda r: (TOPIC, attribute(r, signature="")),
}


def changed(received: Received, **fields: Any) -> Received:
    return received._replace(envelope=received.envelope._replace(**fields))


def attribute(received: Received, **more: str) -> Received:
    return changed(received, attributes={**received.envelope.attributes, **more})


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("part", FORGED)
def test_whatever_is_changed_the_signature_does_not_fit(ring: SigningRing, codec: str, part: str) -> None:
    envelope = message()
    topic, received = FORGED[part](sent(ring, envelope, codec))  # type: ignore[no-untyped-call]
    with pytest.raises(CommandError) as caught:
        door(ring, parse_rfc3339(envelope.timestamp))(topic, received)
    assert caught.value.code is ErrorCode.PERMISSION_DENIED


def test_anothers_key_does_not_speak_for_bob(ring: SigningRing) -> None:
    envelope = message()
    with pytest.raises(CommandError, match="does not fit"):
        door(ring, parse_rfc3339(envelope.timestamp))(TOPIC, sent(ring, envelope, "aico", "admin"))


@pytest.mark.parametrize("seconds", [-61, 61])
def test_what_is_not_fresh_is_refused(ring: SigningRing, seconds: int) -> None:
    envelope = message()
    with pytest.raises(CommandError, match="is a clock wrong"):
        door(ring, parse_rfc3339(envelope.timestamp) + seconds * 1_000_000)(TOPIC, sent(ring, envelope, "aico"))


def test_a_repeat_is_refused_and_not_answered_but_a_new_signature_of_the_same_command_counts(ring: SigningRing) -> None:
    envelope = message()
    at = parse_rfc3339(envelope.timestamp)
    ask = door(ring, at)
    received = sent(ring, envelope, "aico")
    ask(TOPIC, received)
    with pytest.raises(Unanswered):
        ask(TOPIC, received)
    again = envelope._replace(timestamp=format_rfc3339(at + 1))
    assert ask(TOPIC, sent(ring, again, "aico")) == "module"


def test_without_a_signature_one_is_what_the_settings_say_and_never_somebody_with_a_key(ring: SigningRing) -> None:
    plain = codecs.read(codecs.write(TOPIC, message(source="stranger"), "aico"))
    with pytest.raises(CommandError, match="must be signed"):
        door(ring, 0)(TOPIC, plain)
    assert door(ring, 0, "observer")(TOPIC, plain) == "observer"
    with pytest.raises(CommandError, match="bob has a signing key"):
        door(ring, 0, "observer")(TOPIC, codecs.read(codecs.write(TOPIC, message(), "aico")))


def test_the_memory_of_signatures_is_bounded_and_refuses_rather_than_forgets(ring: SigningRing) -> None:
    now = 1_800_000_000_000_000
    guard = ReplayGuard(60, capacity=3)
    assert [guard.remember(now, str(number)) for number in range(4)] == [True, True, True, False]
    assert guard.has_seen(now + 120_000_000, "0")
    assert not guard.has_seen(now + 120_000_001, "0")
    assert len(guard) == 0
    full = door(ring, now, capacity=0)
    stamp = message(timestamp="2027-01-15T08:00:00.000000Z")
    with pytest.raises(CommandError) as caught:
        full(TOPIC, sent(ring, stamp, "aico"))
    assert caught.value.code is ErrorCode.RATE_LIMITED


@given(st.lists(st.tuples(st.integers(0, 200), st.integers(-60, 60)), max_size=40))
def test_nothing_fresh_is_ever_forgotten(arrivals: list[tuple[int, int]]) -> None:
    guard = ReplayGuard(60)
    now = 10**15
    known: list[tuple[int, str]] = []
    for number, (pause, offset) in enumerate(arrivals):
        now += pause * 1_000_000
        for at, token in known:
            if guard.is_fresh(now, at):
                assert guard.has_seen(now, token)
        known.append((now + offset * 1_000_000, str(number)))
        assert guard.remember(now, str(number))


def test_the_folder_and_its_files_are_private_and_a_revoked_name_may_be_made_anew(ring: SigningRing) -> None:
    for path in ring.folder.rglob("*"):
        assert path.stat().st_mode & 0o077 == 0, path
    with pytest.raises(KeyExists):
        ring.create("bob", "module")
    old = ring.public("bob")
    ring.revoke("bob")
    with pytest.raises(RevokedKey):
        ring.role_of("bob")
    with pytest.raises(UnknownKey):
        ring.signer("bob")
    assert [(key.name, key.revoked) for key in ring.list()] == [("admin", False), ("aico-sched", False), ("bob", True)]
    signer = load_signer(ring.create("bob", "operator"))
    assert ring.role_of("bob") == "operator"
    received = codecs.read(codecs.write(TOPIC, message(), "aico", sign=signer))
    assert is_signed_by(ring.public("bob"), TOPIC, received)
    assert not is_signed_by(old, TOPIC, received)
    assert is_signed_by(load_public(ring.folder / "public" / "bob.json"), TOPIC, received)
    with pytest.raises(ProtectedKey):
        ring.revoke("aico-sched")
    assert "secret" not in repr(ring)


def test_a_file_that_others_can_read_or_that_is_damaged_is_refused(ring: SigningRing) -> None:
    path = ring.folder / "public" / "bob.json"
    path.chmod(0o644)
    with pytest.raises(InsecureKeyFile, match="chmod 600"):
        ring.reload()
    path.chmod(0o600)
    for content in ("{", "[]", '{"name": "rob"}', '{"name": "bob", "public": "xx"}', '{"name": "bob"}'):
        path.write_text(content)
        with pytest.raises(InsecureKeyFile, match=r"bob\.json"):
            ring.reload()
    assert ring.role_of("bob") == "module", "the old index stays in force"


def test_a_crash_between_the_two_files_of_a_key_heals(ring: SigningRing) -> None:
    secret = (ring.folder / "secrets" / "admin.json").read_text()
    (ring.folder / "public" / "admin.json").unlink()
    ring.ensure()
    assert (ring.folder / "secrets" / "admin.json").read_text() == secret
    assert ring.role_of("admin") == "admin"
