"""Ed25519 signatures on messages, for a bus where nobody is authenticated (a joined one).

Signed is `FORMAT`, then the topic, message_id, timestamp, source, every attribute but the signature itself (sorted,
name then value), and the payload's very bytes as they travel; each as its length in four bytes, the highest first, and
its UTF-8. The timestamp is RFC 3339 UTC as the receiver reads it: with six digits and `Z`. The attributes are covered
because `reply_to` says where an answer goes, and `seq` which event it is.
"""

import base64
import binascii
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, Protocol

from aico_sched.schedule import ScheduleError, parse_rfc3339
from aico_sched.security.key_names import KeyRingError
from aico_sched.security.replay import ReplayGuard
from aico_sched.topics.envelope import SIGNATURE, Envelope, Received
from aico_sched.topics.errors import CommandError, ErrorCode

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

FORMAT: Final = b"aico-sched-1"


class Unanswered(CommandError):
    """A refusal that is written down, but not sent: the message may be a copy of one that is being answered."""


def signed_text(topic: str, envelope: Envelope, packed: bytes) -> bytes:
    """What a signature of this message is over."""
    texts = [topic, envelope.message_id, envelope.timestamp, envelope.source]
    for name in sorted(envelope.attributes.keys() - {SIGNATURE}):
        texts += (name, envelope.attributes[name])
    parts = [FORMAT, *(text.encode() for text in texts), packed]
    return b"".join(len(part).to_bytes(4, "big") + part for part in parts)


class Signer:
    """Signs what `name` says; a `topics.codecs.Sign`."""

    def __init__(self, name: str, key: "Ed25519PrivateKey") -> None:
        self.name, self._key = name, key

    def __call__(self, topic: str, envelope: Envelope, packed: bytes) -> str:
        return base64.b64encode(self._key.sign(signed_text(topic, envelope, packed))).decode("ascii")


def is_signed_by(key: "Ed25519PublicKey", topic: str, received: Received) -> bool:
    """Whether a message, received on `topic`, carries a signature of `key` over exactly what it says."""
    from cryptography.exceptions import InvalidSignature

    text = received.envelope.attributes.get(SIGNATURE, "")
    if received.packed is None or not text:
        return False
    try:
        key.verify(base64.b64decode(text, validate=True), signed_text(topic, received.envelope, received.packed))
    except (InvalidSignature, binascii.Error, ValueError):
        return False
    return True


class Signers(Protocol):
    """Whose signatures count (`signing_keys.SigningRing`). Both raise `UnknownKey`."""

    def role_of(self, name: str) -> str: ...
    def public(self, name: str) -> "Ed25519PublicKey": ...


class Authenticator:
    """Tells the role of who sent a command. `now_us` is the wall clock; a signature's time may differ from it by the
    guard's window. `unsigned_role` is what senders that do not sign may be, None: they are refused."""

    def __init__(
        self, signers: Signers, guard: ReplayGuard, now_us: Callable[[], int], unsigned_role: str | None
    ) -> None:
        self._signers, self._guard, self._now_us, self._unsigned_role = signers, guard, now_us, unsigned_role

    def __call__(self, topic: str, received: Received) -> str:
        """The sender's role. Raises `CommandError`: `permission_denied`, or `rate_limited` when too many signatures
        are remembered."""
        envelope = received.envelope
        if SIGNATURE not in envelope.attributes:
            return self._unsigned(envelope.source)
        try:
            role, key = self._signers.role_of(envelope.source), self._signers.public(envelope.source)
        except KeyRingError as error:
            raise _denied(f"{envelope.source} has no signing key that is valid here", "source") from error
        if not is_signed_by(key, topic, received):
            raise _denied("the signature does not fit the message", f"attributes.{SIGNATURE}")
        self._guard_against_repeats(envelope)
        return role

    def _unsigned(self, source: str) -> str:
        if self._unsigned_role is None:
            raise _denied("commands on this bus must be signed", f"attributes.{SIGNATURE}")
        try:
            self._signers.role_of(source)
        except KeyRingError:
            return self._unsigned_role
        # Who has a key cannot be spoken for without it.
        raise _denied(f"{source} has a signing key and must sign", f"attributes.{SIGNATURE}")

    def _guard_against_repeats(self, envelope: Envelope) -> None:
        try:
            at_us = parse_rfc3339(envelope.timestamp)
        except ScheduleError as error:
            raise _denied("the timestamp is not RFC 3339", "timestamp") from error
        now_us = self._now_us()
        if not self._guard.is_fresh(now_us, at_us):
            seconds = abs(now_us - at_us) / 1_000_000
            raise _denied(
                f"the message was signed {seconds:.0f} s before or after now, more than {self._guard.window:g} s; "
                "is a clock wrong?",
                "timestamp",
            )
        signature = envelope.attributes[SIGNATURE]
        if self._guard.has_seen(now_us, signature):
            raise Unanswered(ErrorCode.PERMISSION_DENIED, "the message is a repeat of one that came before")
        if not self._guard.remember(now_us, signature):
            raise CommandError(ErrorCode.RATE_LIMITED, "too many signed commands at once; try again later")


def _denied(message: str, field: str) -> CommandError:
    return CommandError(ErrorCode.PERMISSION_DENIED, message, field=field)
