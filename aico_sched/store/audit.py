"""The audit trail in the database: the lines of a turn, linked to all lines before them."""

from collections.abc import Mapping
from typing import Any, Final

from aico_sched.audit_chain import GENESIS, TRIMMED, Line, Link, extended
from aico_sched.store.connection import Database
from aico_sched.topics.errors import CommandError, ErrorCode

HEAD: Final = "audit_head"
ANCHOR: Final = "audit_anchor"
TRIM_CHUNK: Final = 500
LINE_CHARS: Final = 2_000
WAITING_LIMIT: Final = 1_000
"""Lines that may wait for a transaction; beyond it they get one of their own."""

_DIGITS: Final = 18
SCAN: Final = 5_000
"""Lines looked at for one page, whatever it is filtered by: the event loop stands still meanwhile."""


class AuditTrail:
    """Appends to the chain. `seal` writes what was added; the caller's transaction makes it durable. A turn ends with
    `settle`, or with `undo` if it had no effect: then the lines deferred in earlier turns wait again."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._settled: list[Line] = []
        self._fresh: list[Line] = []
        self._deferred: list[Line] = []
        self._sealed = False
        self._read_ends()

    def _read_ends(self) -> None:
        head = self._database.one("get_meta", (HEAD,))
        if head is None:
            # Lines of versions before the chain stay as they are, in front of it.
            before = (self._database.one("newest_audit") or (0,))[0]
            self.head = self.anchor = Link(before, GENESIS.hex())
        else:
            self.head = Link.parse(head[0])
            self.anchor = Link.parse((self._database.one("get_meta", (ANCHOR,)) or head)[0])

    @property
    def waiting(self) -> int:
        """How many lines wait for the next transaction."""
        return (0 if self._sealed else len(self._settled)) + len(self._deferred)

    def add(self, line: Line) -> None:
        """A line of the transaction under way."""
        self._fresh.append(_plain(line))

    def defer(self, line: Line) -> None:
        """A line that may wait for the next transaction: one about what has changed nothing."""
        self._deferred.append(_plain(line))

    def seal(self, *, hurry: bool = False) -> None:
        """Write all lines there are; in a `hurry` only if there are some of this transaction, or too many."""
        if hurry and not self._fresh and self.waiting < WAITING_LIMIT:
            return
        lines = [*(() if self._sealed else self._settled), *self._deferred, *self._fresh]
        if not lines:
            return
        rows = extended(self.head, lines)
        self._database.insert("insert_audit", rows)
        first = self.head == self.anchor
        self.head = Link(rows[-1][0], rows[-1][-1].hex())
        ends = [(HEAD, self.head.format()), (ANCHOR, self.anchor.format())]
        self._database.run_many("set_meta", ends if first else ends[:1])
        self._deferred, self._fresh, self._sealed = [], [], True

    def settle(self) -> None:
        """The turn has ended, its transaction is durable if it had one."""
        if self._sealed:
            self._settled, self._sealed = [], False
        if self._deferred:
            self._settled += self._deferred
            self._deferred = []

    def undo(self) -> None:
        """The turn was rolled back."""
        self._deferred, self._fresh, self._sealed = [], [], False
        self._read_ends()

    def trim(self, keep: int, at: str) -> bool:
        """Drop a chunk of the oldest lines beyond the newest `keep`. The first one that stays is still linked: the
        hash it follows is kept, and a line of its own says so. Returns whether there may be more to drop."""
        if self.head.id - self.anchor.id < keep + TRIM_CHUNK:
            return False
        last = self._database.one("audit_hash", (self.anchor.id + TRIM_CHUNK,))
        if last is None:
            return False
        anchor = Link(self.anchor.id + TRIM_CHUNK, last[0].hex())
        self._database.run("trim_audit", (anchor.id,))
        self._database.run("set_meta", (ANCHOR, anchor.format()))
        self.anchor = anchor
        self.add(Line(at, "aico-sched", "service", TRIMMED, anchor.format(), "ok", ""))
        return self.head.id - anchor.id >= keep + TRIM_CHUNK

    def page(self, payload: Mapping[str, Any], since: str) -> dict[str, Any]:
        """`scheduler.audit.list`, with the two ends of the chain as they are now."""
        limit, oldest_first = payload.get("limit", 100), payload.get("order") == "oldest"
        cursor = _cursor(payload.get("cursor"), self.anchor.id if oldest_first else self.head.id + 1)
        filters = tuple(payload.get(name) or "" for name in ("source", "action", "target", "outcome"))
        if oldest_first:
            first = max(cursor, self._before(since) if since else 0)
            span, query = (first, first + SCAN), "list_audit_oldest"
            ended = span[1] >= self.head.id
        else:
            floor = max(self.anchor.id, self._before(since) if since else 0)
            span, query = (max(floor, cursor - 1 - SCAN), cursor), "list_audit_newest"
            ended = span[0] <= floor
        rows = self._database.run(query, (*span, since, *filters, limit + 1))
        more = len(rows) > limit
        rows = rows[:limit]
        end = rows[-1][0] if more else (span[1] if oldest_first else span[0] + 1)
        return {
            "lines": [{"id": row[0], **Line(*row[1:8])._asdict(), "hash": row[8].hex()} for row in rows],
            "next_cursor": None if ended and not more else str(end),
            "anchor": self.anchor._asdict(),
            "head": self.head._asdict(),
        }

    def _before(self, since: str) -> int:
        """The number of the last line before the time `since`: times rise with numbers, but for a clock set back."""
        low, high = self.anchor.id, self.head.id
        while low < high:
            middle = (low + high + 1) // 2
            row = self._database.one("audit_time", (middle,))
            if row is None or row[0] < since:
                low = middle
            else:
                high = middle - 1
        return low


def _cursor(text: str | None, otherwise: int) -> int:
    if text is None:
        return otherwise
    if not text.isdecimal() or len(text) > _DIGITS:
        message = "the cursor is not one that this list handed out"
        raise CommandError(ErrorCode.INVALID_MESSAGE, message, field="cursor")
    return int(text)


def _plain(line: Line) -> Line:
    """As the database gives it back: it cuts texts at NUL and cannot hold half a surrogate pair (facts.md)."""
    whole = "".join(line)
    if len(whole) <= LINE_CHARS and whole.isascii() and "\0" not in whole:
        return line
    return Line(*(_clean(text) for text in line))


def _clean(text: str) -> str:
    if len(text) > LINE_CHARS:
        text = text[: LINE_CHARS - 1] + "…"
    if text.isascii() and "\0" not in text:
        return text
    return text.replace("\0", "\\0").encode("utf-8", "backslashreplace").decode()
