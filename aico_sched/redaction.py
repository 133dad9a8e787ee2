"""Secrets in what the service shows: a task's configuration is kept whole, and shown without them. Pure."""

import re
from collections.abc import Mapping
from itertools import pairwise
from typing import Any, Final

from aico_sched.json_text import decoded

HIDDEN: Final = "********"
"""What is shown in a secret's place. Sent back in an update it means "as it is"."""

_SECRET = re.compile(
    r"pass(word|wd|phrase)?|secret|token|credentials?|authorization|cookie|bearer|private|(api|access|auth|signing)_?key",
    re.IGNORECASE,
)


def is_secret(name: str) -> bool:
    """Whether a configuration key of this name holds a secret: one of its words says so (`api_key`, `smtpPassword`)."""
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).replace("-", "_")
    return any(_SECRET.fullmatch(part) for part in _runs(words.split("_")))


def _runs(words: list[str]) -> list[str]:
    """Each word, and each two that stand together."""
    return [*words, *(f"{one}_{two}" for one, two in pairwise(words))]


def redacted(value: Any) -> Any:
    """A copy in which every value under a secret's name is `HIDDEN`; what is empty shows that it is."""
    if isinstance(value, Mapping):
        return {
            key: HIDDEN if is_secret(str(key)) and entry not in (None, "", [], {}) else redacted(entry)
            for key, entry in value.items()
        }
    if isinstance(value, list):
        return [redacted(entry) for entry in value]
    return value


def shown(text: str) -> Any:
    """What a configuration kept as JSON text says, without its secrets. Most have none, and cost one look more."""
    value = decoded(text)
    return redacted(value) if _SECRET.search(text) else value


def restored(given: Any, kept: Any) -> Any:
    """A copy of `given` in which `HIDDEN` is again what `kept` has in that place; `HIDDEN` itself where it has
    nothing there."""
    if isinstance(given, Mapping):
        old = kept if isinstance(kept, Mapping) else {}
        return {
            key: old.get(key, HIDDEN) if entry == HIDDEN else restored(entry, old.get(key))
            for key, entry in given.items()
        }
    if isinstance(given, list):
        rows = kept if isinstance(kept, list) else []
        return [restored(entry, rows[place] if place < len(rows) else None) for place, entry in enumerate(given)]
    return given
