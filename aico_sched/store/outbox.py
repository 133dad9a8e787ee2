"""The transactional outbox: an event is a row, written in the transaction of the change it tells of.

It is published after the commit, and again after a crash in between; `seq` counts per topic without gaps, so a
subscriber can tell a repeat from a loss. The rows stay for a while as the history behind `scheduler.event.list`.
"""

from typing import Any

import msgpack

from aico_sched.store.connection import Database
from aico_sched.topics.envelope import new_message_id
from aico_sched.topics.internal import EventRecord

PUBLISHED = "published_event"
TRIM_CHUNK = 500


class Outbox:
    """The events of the transaction under way, and the counters behind them. What is added belongs to the trace
    `trace`, if that is set."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._newest: int = (database.one("newest_event") or (0,))[0]
        # The counters stand in the events themselves; what trimming removed of them, in a table of their own.
        self.sequences: dict[str, int] = dict(database.run("sequences")) | dict(database.run("newest_sequences"))
        self.fresh: list[EventRecord] = []
        self.trace = ""
        self._traces: dict[str, str] = {}

    def add(self, topic: str, at: str, body: dict[str, Any]) -> None:
        """An event that happened `at` (RFC 3339); the caller's transaction decides whether it did."""
        seq = self.sequences.get(topic, 0) + 1
        self.sequences[topic] = seq
        self._newest += 1
        message_id = new_message_id()
        if self.trace:
            self._traces[message_id] = self.trace
        self.fresh.append(EventRecord(self._newest, topic, seq, message_id, at, msgpack.packb(body)))

    def take_traces(self) -> dict[str, str]:
        """The traces of events that were added since the last call, by message id."""
        traces, self._traces = self._traces, {}
        return traces

    def mark(self) -> tuple[int, int, dict[str, int]]:
        """The state to which `restore` returns."""
        return len(self.fresh), self._newest, dict(self.sequences)

    def restore(self, mark: tuple[int, int, dict[str, int]]) -> None:
        """Forget the events added since `mark`."""
        length, self._newest, self.sequences = mark
        del self.fresh[length:]

    def seal(self) -> list[EventRecord]:
        """Write the events of the transaction, as its last words, and hand them out."""
        events, self.fresh = self.fresh, []
        if events:
            self._database.insert("insert_event", events)
        return events

    def handed_out(self) -> dict[str, int]:
        """The newest number of every topic, without the events of the transaction under way: nobody has those yet."""
        numbers = dict(self.sequences)
        for event in reversed(self.fresh):
            numbers[event.topic] = event.seq - 1
        return {topic: seq for topic, seq in numbers.items() if seq}

    def published(self) -> int:
        """The id of the newest event known to be on the bus."""
        row = self._database.one("get_meta", (PUBLISHED,))
        return int(row[0]) if row else 0

    def set_published(self, event_id: int) -> None:
        """Note that everything up to `event_id` is on the bus."""
        self._database.run("set_meta", (PUBLISHED, str(event_id)))

    def unpublished(self, limit: int) -> list[EventRecord]:
        """The oldest events not known to be on the bus."""
        return [EventRecord(*row) for row in self._database.run("events_after", (self.published(), limit))]

    def of_topic(self, topic: str, after_seq: int, limit: int, *, newest: bool = False) -> list[EventRecord]:
        """Past events of a topic, oldest first; with `newest` the last `limit` of them."""
        if newest:
            rows = self._database.run("newest_events_of_topic", (topic, after_seq, limit))[::-1]
        else:
            rows = self._database.run("events_of_topic", (topic, after_seq, limit))
        return [EventRecord(*row) for row in rows]

    def trim(self, keep: int) -> bool:
        """Drop a chunk of the oldest events beyond the newest `keep`, never one that is not published yet. Returns
        whether there may be more to drop."""
        newest_dropped = min(self._newest - keep, self.published())
        if newest_dropped <= 0:
            return False
        self._database.run_many("save_sequence", list(self.sequences.items()))
        return self._database.change("trim_events", (newest_dropped, TRIM_CHUNK)) == TRIM_CHUNK
