"""Events leave through the outbox: none is lost when the process dies between a commit and its publishing."""

from pathlib import Path

from aico_sched.security.database_key import database_key
from aico_sched.store.connection import Database
from aico_sched.store.outbox import Outbox
from aico_sched.topics import names


def open_outbox(folder: Path) -> tuple[Database, Outbox]:
    database = Database.open(folder / "s.db", database_key(folder / "key", {}))
    return database, Outbox(database)


def add(database: Database, outbox: Outbox, topic: str, count: int) -> None:
    database.begin()
    for number in range(count):
        outbox.add(topic, "2026-01-01T00:00:00.000000Z", {"number": number})
    outbox.seal()
    database.commit()


def test_what_was_not_published_is_handed_out_again_after_a_crash(tmp_path: Path) -> None:
    database, outbox = open_outbox(tmp_path)
    add(database, outbox, names.TASK_CREATED, 5)
    outbox.set_published(3)
    database.close()
    database, outbox = open_outbox(tmp_path)
    assert [(event.event_id, event.seq) for event in outbox.unpublished(10)] == [(4, 4), (5, 5)]
    add(database, outbox, names.TASK_CREATED, 1)
    assert [event.seq for event in outbox.of_topic(names.TASK_CREATED, 4, 10)] == [5, 6]
    database.close()


def test_numbers_go_on_after_their_events_were_trimmed(tmp_path: Path) -> None:
    database, outbox = open_outbox(tmp_path)
    add(database, outbox, names.TASK_CREATED, 3)
    add(database, outbox, names.TASK_DELETED, 2)
    outbox.set_published(5)
    assert outbox.trim(keep=1) is False
    assert [event.event_id for event in outbox.unpublished(10)] == []
    assert outbox.of_topic(names.TASK_CREATED, 0, 10) == []
    database.close()
    database, outbox = open_outbox(tmp_path)
    assert outbox.sequences == {names.TASK_CREATED: 3, names.TASK_DELETED: 2}
    database.close()


def test_what_is_not_published_is_not_trimmed(tmp_path: Path) -> None:
    database, outbox = open_outbox(tmp_path)
    add(database, outbox, names.TASK_CREATED, 900)
    outbox.set_published(600)
    assert outbox.trim(keep=1) is True
    assert outbox.trim(keep=1) is False
    assert [event.event_id for event in outbox.unpublished(1)] == [601]
    database.close()


def test_a_heartbeat_names_no_event_that_nobody_has_been_given(tmp_path: Path) -> None:
    """It would overtake the event, and a reader who has just come would take the event for one before its time."""
    database, outbox = open_outbox(tmp_path)
    add(database, outbox, names.TASK_CREATED, 3)
    database.begin()
    for topic in (names.TASK_CREATED, names.TASK_CREATED, names.TASK_DELETED):
        outbox.add(topic, "2026-01-01T00:00:00.000000Z", {})
    assert outbox.handed_out() == {names.TASK_CREATED: 3}
    outbox.seal()
    assert outbox.handed_out() == {names.TASK_CREATED: 5, names.TASK_DELETED: 1}
    database.rollback()
    database.close()
