"""What a key may be called, and the errors about keys. Each message says what to do."""

import re
from typing import Final

ROLES: Final = ("admin", "operator", "observer", "module", "service")

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}\Z")
_RESERVED = frozenset({"server"})


class KeyRingError(Exception):
    """Base of every error about the keys of the bus."""


class UnknownKey(KeyRingError):
    """No live key of that name."""

    def __init__(self, name: str, why: str = "") -> None:
        super().__init__(
            f"there is no key named {name!r}" + (f": {why}" if why else "; `aico-sched keys list` shows all")
        )
        self.name = name


class RevokedKey(UnknownKey):
    """The key of that name was revoked."""

    def __init__(self, name: str) -> None:
        super().__init__(name, "it was revoked; `aico-sched keys create` makes a new one")


class InvalidKeyName(KeyRingError):
    """A name or a role that a key cannot have."""

    def __init__(self, name: str, why: str) -> None:
        super().__init__(f"{name[:80]!r} cannot name a key: {why}")
        self.name = name


class KeyExists(KeyRingError):
    """There is a live key of that name already."""

    def __init__(self, name: str) -> None:
        super().__init__(f"there is a key named {name!r} already; revoke it first to make a new one")
        self.name = name


class KeyNameConflict(InvalidKeyName):
    """One name is a prefix of the other. ZeroMQ subscriptions match prefixes: the shorter could read the longer's
    replies."""

    def __init__(self, name: str, other: str) -> None:
        super().__init__(
            name, f"it and the existing {other!r} begin alike, and the shorter could read the other's replies"
        )
        self.other = other


class ProtectedKey(KeyRingError):
    """The service's own key, without which it could not speak."""

    def __init__(self, name: str) -> None:
        super().__init__(f"{name!r} is the service's own key and cannot be revoked")
        self.name = name


class InsecureKeyFile(KeyRingError):
    """A key file or folder that others may use, or that is damaged."""

    def __init__(self, path: object, why: str) -> None:
        super().__init__(f"{path}: {why}")
        self.path = path


def check_name(name: str) -> None:
    """Raises `InvalidKeyName` unless `name` is fit for a file name, a topic part and a log line."""
    if not _NAME.match(name):
        raise InvalidKeyName(name, "use 1 to 64 of a-z, 0-9, - and _, the first a letter or digit")
    if name in _RESERVED:
        raise InvalidKeyName(name, "the name is reserved")


def check_role(role: str) -> None:
    """Raises `InvalidKeyName` for a role that a client key cannot be given."""
    if role not in ROLES or role == "service":
        allowed = ", ".join(known for known in ROLES if known != "service")
        raise InvalidKeyName(role, f"a key's role is one of {allowed}")
