"""The hash chain of the audit trail. Pure: the store extends it, and whoever reads the trail can check it alone.

Each line's hash is SHA-256 over the hash of the line before and this line's number and content, so that a line that is
changed, removed or put in between breaks the chain there. Somebody who can write the database can also compute a
new chain from there on to the end: a copy of the newest hash, kept elsewhere, shows that.
"""

import hashlib
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

import msgpack

GENESIS: Final = bytes(32)
"""What stands before the first line."""

TRIMMED: Final = "audit.trim"
"""The action of the line that says from where on the trail is kept; its target is the link it begins after."""


class Line(NamedTuple):
    """What a line says. `at` is RFC 3339 UTC; `outcome` is `ok` or an error code."""

    at: str
    source: str
    role: str
    action: str
    target: str
    outcome: str
    detail: str


class Link(NamedTuple):
    """A place in the chain: a line's number, and its hash in hexadecimal."""

    id: int
    hash: str

    def format(self) -> str:
        return f"{self.id}:{self.hash}"

    @classmethod
    def parse(cls, text: str) -> "Link":
        """The link in `format`'s text. Raises ValueError."""
        number, _, digest = text.partition(":")
        bytes.fromhex(digest)
        return cls(int(number), digest)


Row = tuple[int, str, str, str, str, str, str, str, bytes]
"""Number, the fields of `Line`, hash."""


def extended(after: Link, lines: Iterable[Line]) -> list[Row]:
    """The rows of `lines`, which follow the link `after`."""
    number, digest = after.id, bytes.fromhex(after.hash)
    rows: list[Row] = []
    for line in lines:
        number += 1
        digest = hashlib.sha256(digest + bytes(msgpack.packb((number, *line)))).digest()
        rows.append((number, *line, digest))
    return rows


class Broken(NamedTuple):
    """The first line where the chain does not hold."""

    id: int
    why: str


class Verifier:
    """Follows the chain from the link before its first line."""

    def __init__(self, anchor: Link) -> None:
        self.anchor, self.last = anchor, anchor
        self._trimmed: str | None = None

    def check(self, rows: Sequence[tuple[int, Line, str]]) -> Broken | None:
        """Take the next rows (number, line, hash in hexadecimal), oldest first."""
        for number, line, digest in rows:
            if number != self.last.id + 1:
                return Broken(self.last.id + 1, f"the line is missing; the next one there is {number}")
            if extended(self.last, (line,))[0][-1].hex() != digest:
                return Broken(number, "the line is not what was written, or one before it was changed")
            self.last = Link(number, digest)
            if line.action == TRIMMED:
                self._trimmed = line.target
        return None

    def finish(self, head: Link) -> Broken | None:
        """After the last row: whether the trail begins and ends where it should."""
        if self.last != head:
            return Broken(self.last.id + 1, f"the trail ends at {self.last.id}, its newest line was {head.id}")
        if self._trimmed not in (None, self.anchor.format()):
            return Broken(self.anchor.id + 1, "the trail does not begin where it was last shortened")
        if self._trimmed is None and self.anchor.hash != GENESIS.hex():
            return Broken(self.anchor.id + 1, "lines before it are gone, and no line says that it was shortened")
        return None
