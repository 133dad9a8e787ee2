"""The broker's judgement on one message or subscription. No sockets, so that every rule can be tested alone."""

from math import inf
from typing import Final

from aico_sched.bus.access import AccessRules
from aico_sched.bus.refusal import Reason, TokenBucket
from aico_sched.bus.source import SourcePeek
from aico_sched.security.keys import KeyRing, UnknownKey
from aico_sched.topics import limits

_DECISIONS: Final = 50_000
MAX_SUBSCRIPTIONS: Final = 1_000
"""Different prefixes one client may be subscribed to; a client of ours needs two or three."""

SERVICE_ROLE: Final = "service"
_SUBSCRIBE_RATE: Final = 1_000.0


class Checks:
    """Applies `rules` to the clients of `keyring`. Decisions are remembered in a bounded table until `forget`."""

    def __init__(self, keyring: KeyRing, rules: AccessRules, peek: SourcePeek, *, rate: float, burst: float) -> None:
        self._keyring, self._rules, self._peek = keyring, rules, peek
        self._rate, self._burst = rate, burst
        self._decisions: dict[tuple[str, bytes], Reason | None] = {}
        # As many as keys that ever connected.
        self._publishing: dict[str, TokenBucket] = {}
        # Apart, so that a client at its limit still gets the subscriptions it resends when it reconnects.
        self._subscribing: dict[str, TokenBucket] = {}

    def forget(self) -> None:
        """Roles or rules may have changed."""
        self._decisions.clear()

    def publish(self, now: float, name: str, topic: bytes, body: bytes) -> Reason | None:
        """Why `name` may not publish this, or None. Sizes come before anything that reads the content."""
        if len(topic) > limits.MAX_TOPIC_BYTES or len(body) > limits.MAX_FRAME_BYTES:
            return Reason.TOO_LARGE
        bucket = self._publishing.get(name)
        if bucket is None:
            bucket = self._publishing[name] = TokenBucket(*self._allowance(name), now)
        if not bucket.take(now):
            return Reason.RATE
        key = (name, topic)
        try:
            refusal = self._decisions[key]
        except KeyError:
            refusal = self._decide(name, topic)
            if len(self._decisions) >= _DECISIONS:
                self._decisions.clear()
            self._decisions[key] = refusal
        if refusal is not None:
            return refusal
        source = self._peek(body)
        if source == name:
            return None
        return Reason.UNREADABLE if source is None else Reason.SOURCE

    def _allowance(self, name: str) -> tuple[float, float]:
        """Rate and burst. The service answers everybody else, so its own limit is theirs."""
        return (inf, inf) if self.hears_commands(name) else (self._rate, self._burst)

    def hears_commands(self, name: str) -> bool:
        """Whether `name` is the service, which alone is sent what others ask of it."""
        try:
            return self._keyring.role_of(name) == SERVICE_ROLE
        except UnknownKey:
            return False

    def subscribe(self, now: float, name: str, prefix: bytes, held: int) -> Reason | None:
        """Why `name`, which holds `held` subscriptions, may not subscribe to `prefix`, or None."""
        if len(prefix) > limits.MAX_TOPIC_BYTES:
            return Reason.TOO_LARGE
        if held >= MAX_SUBSCRIPTIONS:
            return Reason.TOO_MANY
        bucket = self._subscribing.get(name)
        if bucket is None:
            bucket = self._subscribing[name] = TokenBucket(_SUBSCRIBE_RATE, 5 * MAX_SUBSCRIPTIONS, now)
        if not bucket.take(now):
            return Reason.RATE
        try:
            role, text = self._keyring.role_of(name), prefix.decode()
        except UnknownKey:
            return Reason.UNKNOWN_KEY
        except UnicodeDecodeError:
            return Reason.TOPIC
        return None if self._rules.may_subscribe(role, name, text) else Reason.FORBIDDEN

    def _decide(self, name: str, topic: bytes) -> Reason | None:
        try:
            role, text = self._keyring.role_of(name), topic.decode()
        except UnknownKey:
            return Reason.UNKNOWN_KEY
        except UnicodeDecodeError:
            return Reason.TOPIC
        if not text:
            return Reason.TOPIC
        return None if self._rules.may_publish(role, name, text) else Reason.FORBIDDEN
