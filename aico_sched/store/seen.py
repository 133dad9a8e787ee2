"""The commands that were carried out, with their first answers, so that a repeat changes nothing."""

from collections.abc import Iterable

from aico_sched.json_text import compact_plain
from aico_sched.store.connection import Database


class SeenMessages:
    """Answers by the message's id. What a turn adds is written at its end and known at once."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._fresh: dict[str, tuple[int, bytes]] = {}

    def answer(self, message_id: str) -> bytes | None:
        """The first answer to the message, or None if it is new."""
        if message_id in self._fresh:
            return self._fresh[message_id][1]
        row = self._database.one("seen_message", (message_id,))
        return None if row is None else row[0]

    def known(self, message_ids: Iterable[str]) -> set[str]:
        """Which of these are not new."""
        wanted = list(message_ids)
        stored = {row[0] for row in self._database.run("seen_messages", (compact_plain(wanted),))}
        return stored.union(self._fresh.keys() & wanted)

    def remember(self, message_id: str, at_us: int, answer: bytes) -> None:
        """Keep the answer to a message that is new."""
        self._fresh[message_id] = (at_us, answer)

    def seal(self) -> None:
        """Write what the turn has added."""
        if self._fresh:
            self._database.insert("remember_message", [(key, *value) for key, value in self._fresh.items()])
            self._fresh = {}
