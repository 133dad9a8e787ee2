"""The near horizon: due order, bounds, what is put off, and which of two words counts."""

import random

from aico_sched.horizon import Horizon
from aico_sched.planning import jitter_offset
from aico_sched.topics.internal import DueRun, DueTask

FAR = 10**12


def due(task_id: str, at: int, *, revision: int = 1, priority: int = 30, **options: object) -> DueTask:
    return DueTask(task_id, revision, at, "interval:60", "UTC", 0, priority, dict(options), 0)


def horizon(limit: int = 100) -> Horizon:
    made = Horizon(limit, 10**6)
    made.until_us = FAR
    return made


def taken(made: Horizon) -> list[str]:
    found = []
    while (item := made.next_ready()) is not None:
        found.append(item.key[2:])
    return found


def test_what_is_due_comes_out_by_priority_and_then_in_due_order() -> None:
    made = horizon()
    for task_id, at, priority in (("a", 30, 30), ("b", 10, 30), ("c", 20, 80), ("d", 99, 80)):
        made.put_task(due(task_id, at, priority=priority))
    made.put_run(DueRun("e", "x", 5, 30, False))
    made.advance(50)
    assert (made.ready, made.next_due_us()) == (4, 99)
    assert taken(made) == ["c", "e", "b", "a"]


def test_jitter_moves_the_start() -> None:
    made = horizon()
    task = due("a", 1_000, jitter=100)
    made.put_task(task)
    start = 1_000 + jitter_offset("a", task.options)
    made.advance(start - 1)
    assert made.ready == 0
    made.advance(start)
    assert taken(made) == ["a"]


def test_what_is_due_after_the_end_is_left_in_the_store() -> None:
    made = horizon()
    made.until_us = 100
    made.put_task(due("a", 50))
    made.put_task(due("a", 101))
    made.put_run(DueRun("r", "x", 90, 30, False))
    made.put_run(DueRun("r", "x", 101, 30, False))
    assert len(made) == 0


def test_the_newer_word_counts() -> None:
    made = horizon()
    made.put_task(due("a", 50, revision=2))
    made.put_task(due("a", 10, revision=1))
    made.drop_task("a", 1)
    # The answer to a question asked before the slot was claimed.
    made.put_task(due("a", 40, revision=2))
    assert made.next_due_us() == 50
    made.put_task(due("a", 20, revision=3))
    assert made.next_due_us() == 20
    made.drop_task("a", 3)
    assert len(made) == 0


def test_what_is_put_off_stays_so_when_it_is_heard_of_again() -> None:
    made = horizon()
    made.put_task(due("a", 10))
    made.put_run(DueRun("r", "x", 10, 30, True))
    made.advance(10)
    while (item := made.next_ready()) is not None:
        made.hold(item)
    made.put_task(due("a", 10))
    made.put_run(DueRun("r", "x", 10, 30, True))
    made.advance(20)
    assert (made.held, made.ready, made.next_due_us()) == (2, 0, None)
    made.release()
    assert (made.held, sorted(taken(made))) == (0, ["a", "r"])


def test_it_holds_what_is_due_first_and_no_more_than_fits() -> None:
    made = horizon(limit=100)
    numbers = list(range(1_000))
    random.Random(1).shuffle(numbers)
    for number in numbers:
        made.put_task(due(f"t{number:04}", number))
        made.trim()
        assert len(made) <= 100
    assert made.until_us < 100
    kept = len(made)
    made.advance(FAR)
    assert taken(made) == [f"t{number:04}" for number in range(kept)]
    assert made.until_us >= kept - 1
    assert made.has_room


def test_what_is_put_off_takes_no_room() -> None:
    made = horizon(limit=10)
    for number in range(10):
        made.put_task(due(f"a{number}", 1))
    made.advance(1)
    while (item := made.next_ready()) is not None:
        made.hold(item)
    assert made.has_room
    for number in range(10):
        made.put_task(due(f"b{number}", 2))
    made.trim()
    assert len(made) == 20


def test_edits_without_end_do_not_grow_the_heaps() -> None:
    made = horizon()
    for revision in range(10_000):
        made.put_task(due("a", revision, revision=revision))
        made.advance(revision)
    assert len(made._heap) + len(made._ready) < 300
